"""The ``stoop`` command; ``python -m stoop`` is the same."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stoop.config import show_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "info":
            show_config()
        else:
            from stoop import demo

            demo.run(options.data, options.epochs, options.out)
    except (OSError, ValueError, ImportError) as error:
        print(f"stoop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stoop: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoop", description="Fast training of dense neural networks on a CPU.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("info", help="show version, instruction set, threads and BLAS")
    demo = commands.add_parser("demo", help="train a classifier of handwritten digits and show the result")
    demo.add_argument("--data", type=Path, metavar="DIR", help="folder of IDX files in the layout of MNIST")
    demo.add_argument("--epochs", type=_positive_integer, metavar="N", help="passes over the training data")
    demo.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where to write (default: %(default)s)"
    )
    return parser


def _positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)
