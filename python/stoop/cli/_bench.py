"""``stoop bench``: training steps beside other libraries."""

import argparse
from pathlib import Path
from typing import NamedTuple

from stoop.cli._options import positive_integer, positive_number


class _Defaults(NamedTuple):
    seconds: float
    rounds: int
    minutes: float | None


_SHORT = _Defaults(seconds=1.0, rounds=3, minutes=2.0)  # for the table of one's own machine
_FULL = _Defaults(seconds=5.0, rounds=7, minutes=None)  # for figures to quote


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
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
        "--threads", type=positive_integer, metavar="N", help="threads of every engine (default: the usable cores)"
    )
    parser.add_argument(
        "--seconds", type=positive_number, metavar="S",
        help=f"time to measure each engine on each workload (default: {_SHORT.seconds}, full: {_FULL.seconds})",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=positive_integer, metavar="N",
        help=f"samples of each engine, at most (default: {_SHORT.rounds}, full: {_FULL.rounds})",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=positive_number, metavar="M",
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


def run(options: argparse.Namespace) -> int:
    """Measure, or show what was measured."""
    from stoop import _core
    from stoop.bench import run as bench
    from stoop.bench.engine import ENGINES
    from stoop.bench.workloads import WORKLOADS

    if options.sources is not None:
        measuring = ("workloads", "engines", "threads", "seconds", "rounds", "minutes", "full", "json")
        if given := [f"--{name}" for name in measuring if getattr(options, name)]:
            options.parser.error(f"--from measures nothing, so it cannot go with {', '.join(given)}")
        if options.plot is not None and len(options.sources) > 1:
            options.parser.error("--plot draws one run, so it cannot go with several files after --from")
        return bench.show(options.sources, options.plot, options.mixed)
    defaults = _FULL if options.full else _SHORT
    settings = bench.Settings(
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
    return bench.run(settings)
