"""``stoop info``: what Stoop runs on."""

import argparse

from stoop.config import show_config


def add(parser: argparse.ArgumentParser) -> None:
    """Add the description."""
    parser.description = (
        "What Stoop runs on: version, compiler, instruction set, threads, BLAS. Add it to a bug report."
    )


def run(_: argparse.Namespace) -> int:
    """Show it."""
    show_config()
    return 0
