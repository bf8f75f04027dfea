"""Compares training speed with other libraries: `python bench/peers/run.py --help`.

Every engine first proves that it trains. Then the engines take turns in rounds, so that a disturbance of the machine
hits all of them alike; a figure is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from engine import ENGINES
from report import REFERENCE, Case, Report, machine_line, steering_environment
from worker import EngineError, UnsupportedError, Worker
from workloads import WORKLOADS, Workload

RESULTS = Path(__file__).resolve().parent.parent / "results"
SETTLE_SECONDS = 0.05  # threads of the engine before have gone to sleep by then


def main() -> int:
    options = _parse_arguments()
    environment = steering_environment()
    _limit_threads(options.threads)
    started = datetime.now(timezone.utc)
    cases: list[Case] = []
    peaks: list[float] = []
    for name in options.workloads:
        cases += _compare(WORKLOADS[name], options, peaks)
    report = Report(
        date=started.strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine_line(),
        environment=environment,
        threads=options.threads,
        fma_peak=max(peaks, default=None),
        cases=cases,
    )
    path = options.json or RESULTS / f"peers-{started:%Y%m%d-%H%M%S}.json"
    report.write(path)
    print(report.markdown())
    print(f"\nraw samples: {os.path.relpath(path)}")
    return int(any(case.status == "failed" for case in cases))


def _parse_arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description="Training speed of stoop and other libraries, side by side.")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME",
                        help=f"any of: {', '.join(WORKLOADS)} (default: all)")  # fmt: skip
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="NAME",
                        help=f"any of: {', '.join(ENGINES)} (default: all)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=cores, help="threads of every engine (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0,
                        help="time to measure each engine on each workload (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=7, help="samples of each engine (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the results (default: bench/results, dated)")
    options = parser.parse_args()
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads {options.threads}: 1 to {cores} usable cores expected")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds: positive numbers expected")
    return options


def _limit_threads(threads: int) -> None:
    """Same CPUs and same thread count for all workers, which inherit both; set before they load any library."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "STOOP_NUM_THREADS"):
        os.environ[variable] = str(threads)


def _compare(workload: Workload, options: argparse.Namespace, peaks: list[float]) -> list[Case]:
    """One case per engine; appends what was measured of the FMA peak to `peaks`."""
    workers: dict[str, Worker] = {}
    cases: list[Case] = []
    try:
        for engine in options.engines:
            workers[engine] = Worker(engine, workload, options.threads)
            case = _prepare(workers[engine], workload, engine, options.seconds / options.rounds)
            cases.append(case)
            if case.status == "skipped" and engine == REFERENCE:
                cases[-1].reason += "; workload skipped"  # nothing to compare with
                return cases
        _measure(workload, workers, [case for case in cases if case.status == "measured"], options.rounds, peaks)
    finally:
        for worker in workers.values():
            worker.close()
    return cases


def _prepare(worker: Worker, workload: Workload, engine: str, sample_seconds: float) -> Case:
    try:
        preparation = worker.prepare()
    except UnsupportedError as error:
        _progress(f"{workload.name}, {engine}: skipped, {error}")
        return Case(workload.name, engine, "skipped", str(error))
    except EngineError as error:
        _progress(f"{workload.name}, {engine}: FAILED, {error}")
        return Case(workload.name, engine, "failed", str(error))
    _progress(f"{workload.name}, {engine}: loss {preparation.constant_loss:.3g} -> {preparation.trained_loss:.3g}")
    return Case(
        workload.name,
        engine,
        "measured",
        version=preparation.version,
        constant_loss=preparation.constant_loss,
        trained_loss=preparation.trained_loss,
        epochs_per_sample=max(1, round(sample_seconds / preparation.epoch_seconds)),
    )


def _measure(
    workload: Workload, workers: dict[str, Worker], cases: list[Case], rounds: int, peaks: list[float]
) -> None:
    for round_number in range(rounds):
        shift = round_number % max(1, len(cases))  # no engine always runs behind the same neighbour
        for case in cases[shift:] + cases[:shift]:
            if case.status != "measured":
                continue
            time.sleep(SETTLE_SECONDS)
            worker = workers[case.engine]
            try:
                if (peak := worker.fma_peak()) is not None:
                    peaks.append(peak)
                seconds = worker.sample(case.epochs_per_sample)
            except EngineError as error:
                case.status, case.reason = "failed", str(error)
                _progress(f"{workload.name}, {case.engine}: FAILED, {error}")
                continue
            case.microseconds.append(1e6 * seconds / (case.epochs_per_sample * workload.steps_per_epoch))


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
