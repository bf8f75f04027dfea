"""The ``stoop`` command; ``python -m stoop`` is the same."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TextIO

from stoop import __version__
from stoop._console import say
from stoop.cli import _bench, _demo, _diagnose, _info, _predict, _search, _train

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "train": (_train, "train a network with a table"),
    "predict": (_predict, "predict the rows of a table"),
    "diagnose": (_diagnose, "say what is wrong with a network, and what to do next"),
    "search": (_search, "train many networks with a table and keep the best"),
    "info": (_info, "show version, instruction set, threads and BLAS"),
    "demo": (_demo, "train a classifier of handwritten digits and show the result"),
    "bench": (_bench, "time training steps beside other libraries"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error of data or files, 130 after Ctrl-C.

    Options that cannot be used end the process with status 2. Without a command it prints the help.
    """
    command_line = parser()
    options, unknown = command_line.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        command_line.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return int(_COMMANDS[options.command][0].run(options))
    except BrokenPipeError:  # the reader of the output has closed it; Python would complain once more at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        say("stoop: [memory] there is not enough; expected some more; give fewer units or rows.", "stderr")
        return 1
    except (OSError, ValueError, ImportError, RuntimeError, ArithmeticError) as error:
        say(f"stoop: {error}", "stderr")
        return 1
    except KeyboardInterrupt:
        say("stoop: interrupted", "stderr")
        return 130


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del filename, lineno, file, line
    if issubclass(category, UserWarning):  # others are for developers
        say(f"stoop: warning: {message}", "stderr")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="stoop",
        description="Fast training of dense neural networks on a CPU.",
        epilog="`stoop COMMAND --help` lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"stoop {__version__}", help="show the version and exit")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        module.add(command)
        command.set_defaults(parser=command)  # whose usage an option that it does not know shows
    return parser
