"""The ``stoop`` command; ``python -m stoop`` is the same."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stoop import __version__
from stoop._console import say
from stoop.config import show_config


class _BenchDefaults(NamedTuple):
    seconds: float
    rounds: int
    minutes: float | None


_SHORT = _BenchDefaults(seconds=1.0, rounds=3, minutes=2.0)  # for the table of one's own machine
_FULL = _BenchDefaults(seconds=5.0, rounds=7, minutes=None)  # for figures to quote


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error, 130 after Ctrl-C.

    Without a command it prints the help.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        parser.print_help()
        return 0
    try:
        if options.command == "info":
            show_config()
        elif options.command == "bench":
            return _bench(options)
        else:
            from stoop import demo

            demo.run(options.data, options.epochs, options.out)
    except BrokenPipeError:  # the reader of the output has closed it; Python would complain once more at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, ImportError) as error:
        say(f"stoop: {error}", "stderr")
        return 1
    except KeyboardInterrupt:
        say("stoop: interrupted", "stderr")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stoop",
        description="Fast training of dense neural networks on a CPU.",
        epilog="`stoop COMMAND --help` lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"stoop {__version__}", help="show the version and exit")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    info = commands.add_parser("info", help="show version, instruction set, threads and BLAS")
    info.description = "What Stoop runs on: version, compiler, instruction set, threads, BLAS. Add it to a bug report."
    demo = commands.add_parser("demo", help="train a classifier of handwritten digits and show the result")
    demo.description = (
        "Train a classifier of handwritten digits (those of scikit-learn, or IDX files), print how well and how fast, "
        "and write the learning curve, the confusion matrix and the model."
    )
    demo.add_argument("--data", type=Path, metavar="DIR", help="folder of IDX files in the layout of MNIST")
    demo.add_argument("--epochs", type=_positive_integer, metavar="N", help="passes over the training data")
    demo.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where to write (default: %(default)s)"
    )
    _add_bench(commands.add_parser("bench", help="time training steps beside other libraries"))
    for command in commands.choices.values():
        command.set_defaults(parser=command)  # whose usage an option that it does not know shows
    return parser


def _add_bench(parser: argparse.ArgumentParser) -> None:
    from stoop.bench.engine import ENGINES
    from stoop.bench.workloads import WORKLOADS

    parser.description = "Training speed of stoop and of the other libraries that are installed, side by side."
    parser.add_argument(
        "--workloads", nargs="+", choices=list(WORKLOADS), metavar="NAME",
        help=f"any of: {', '.join(WORKLOADS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), metavar="NAME",
        help=f"any of: {', '.join(ENGINES)} (default: those installed; pytorch-compile only with --full)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=_positive_integer, metavar="N", help="threads of every engine (default: the usable cores)"
    )
    parser.add_argument(
        "--seconds", type=_positive_number, metavar="S",
        help=f"time to measure each engine on each workload (default: {_SHORT.seconds}, full: {_FULL.seconds})",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=_positive_integer, metavar="N",
        help=f"samples of each engine, at most (default: {_SHORT.rounds}, full: {_FULL.rounds})",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=_positive_number, metavar="M",
        help=f"limit of the whole run (default: {_SHORT.minutes}, full: none)",
    )  # fmt: skip
    parser.add_argument("--full", action="store_true", help="epochs of full length, every engine, no limit of time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the raw samples")
    parser.add_argument(
        "--plot", type=Path, metavar="FOLDER",
        help="where to draw one PNG per workload and, of several, an overview (SVG, for light and dark pages)",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="sources", type=Path, nargs="+", metavar="FILE",
        help="measure nothing: show, and with --plot draw, what a run wrote with --json; several files: compare them",
    )  # fmt: skip
    parser.add_argument(
        "--mixed", action="store_true",
        help="compare or draw together what was measured under different conditions (machine, threads, near or far "
        "cores, versions), which is refused otherwise",
    )  # fmt: skip


def _bench(options: argparse.Namespace) -> int:
    from stoop import _core
    from stoop.bench.engine import ENGINES
    from stoop.bench.run import Settings, run, show
    from stoop.bench.workloads import WORKLOADS

    if options.sources is not None:
        measuring = ("workloads", "engines", "threads", "seconds", "rounds", "minutes", "full", "json")
        if given := [f"--{name}" for name in measuring if getattr(options, name)]:
            options.parser.error(f"--from measures nothing, so it cannot go with {', '.join(given)}")
        if options.plot is not None and len(options.sources) > 1:
            options.parser.error("--plot draws one run, so it cannot go with several files after --from")
        return show(options.sources, options.plot, options.mixed)
    defaults = _FULL if options.full else _SHORT
    settings = Settings(
        workloads=tuple(dict.fromkeys(options.workloads or WORKLOADS)),
        engines=tuple(dict.fromkeys(options.engines or ENGINES)),
        named=options.engines is not None,
        threads=options.threads or _core.usable_cores(),
        seconds=options.seconds or defaults.seconds,
        rounds=options.rounds or defaults.rounds,
        minutes=options.minutes or defaults.minutes,
        full=options.full,
        json=options.json,
        plot=options.plot,
        mixed=options.mixed,
    )
    return run(settings)


def _positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
