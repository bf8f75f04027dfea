"""``stoop demo``: digits."""

import argparse
from pathlib import Path

from stoop.cli._options import positive_integer


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Train a classifier of handwritten digits (those of scikit-learn, or IDX files), print how well and how fast, "
        "and write the learning curve, the confusion matrix and the model."
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of IDX files in the layout of MNIST")
    parser.add_argument("--epochs", type=positive_integer, metavar="N", help="passes over the training data")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where to write (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Train, test and draw."""
    from stoop import demo

    demo.run(options.data, options.epochs, options.out)
    return 0
