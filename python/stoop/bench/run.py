"""The rounds of the comparison: `stoop bench --help`.

Every engine first proves that it trains. Then the engines take turns in rounds, so that a disturbance of the machine
hits all of them alike; a figure is the median over the rounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import inf
from pathlib import Path

from stoop import _core
from stoop._console import say
from stoop._errors import message
from stoop.bench import compare
from stoop.bench.engine import packages_to_install
from stoop.bench.machine import Machine, same_for_all
from stoop.bench.report import Case, Report, environment_warnings, machine_line, steering_environment
from stoop.bench.worker import EngineError, OutOfTimeError, UnsupportedError, Worker
from stoop.bench.workloads import WORKLOADS, Workload

SETTLE_SECONDS = 0.05  # threads of the engine before have gone to sleep by then
CLOSING_SECONDS = 5.0  # to end the workers, report and draw
OUT_OF_TIME = "out of time (--minutes)"
# Left out unless asked for, and why.
ON_REQUEST = {
    "pytorch-compile": "it compiles for minutes",
    "stoop-bf16": "it rounds to bfloat16",
    "pytorch-bf16": "it rounds to bfloat16",
}

_Visit = Callable[[str, dict[str, list[Case]]], None]  # to a workload, with the cases of all


@dataclass(frozen=True)
class Settings:
    """The options of the command line."""

    workloads: Sequence[str]
    engines: Sequence[str]
    named: bool  # the engines were given by name: one that is not installed is an error
    threads: int
    seconds: float  # to measure each engine on each workload
    rounds: int
    minutes: float | None  # for everything
    full: bool  # epochs of full length, every engine
    json: Path | None = None
    plot: Path | None = None
    mixed: bool = False  # draw samples with near and with far cores together


def run(settings: Settings) -> int:
    """Measure, print the table, write what was asked for; the exit status: 1 if an engine failed."""
    _check(settings)
    absent = {engine: reason for engine in settings.engines if (reason := _why_absent(engine, settings))}
    environment = steering_environment()
    for warning in environment_warnings(environment):
        _progress(f"warning: {warning}")
    started = datetime.now(timezone.utc)
    with same_for_all(settings.threads):
        comparison = _Comparison(settings, [engine for engine in settings.engines if engine not in absent])
        cases = comparison.run()
    report = Report(
        date=started.strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine_line(),
        environment=environment,
        threads=settings.threads,
        fma_peak=comparison.machine.fma_peak,
        memory_bandwidth=comparison.machine.memory_bandwidth,
        busy_cores=comparison.machine.busy_cores,
        protocol=_protocol(settings),
        absent=absent | comparison.absent,
        cases=cases,
        core_latency=comparison.machine.core_latency,
    )
    say(report.markdown())
    _write(report, settings)
    return report.status


def show(sources: Sequence[Path], plot: Path | None, mixed: bool) -> int:
    """Print the table of a run that a file records, and draw it; of several files, a table that compares them.

    The exit status is 1 if an engine failed in one of the runs.
    """
    if plot is not None:
        _check_plot(plot)
    reports = {os.path.relpath(source): Report.read(source) for source in sources}
    report, *others = reports.values()
    say(compare.markdown(reports, mixed) if others else report.markdown())
    if plot is not None:
        _draw(report, plot, mixed)
    return max(report.status for report in reports.values())


class _Comparison:
    """The workers, which stay from one workload to the next, and the time that is left."""

    def __init__(self, settings: Settings, engines: Sequence[str]) -> None:
        self._settings, self._engines = settings, engines
        self._end = inf if settings.minutes is None else time.monotonic() + 60 * settings.minutes - CLOSING_SECONDS
        self._last = self._end  # of the run; _end becomes that of a workload
        self._workers: dict[str, Worker] = {}
        self.machine = Machine(settings.threads)
        self.absent: dict[str, str] = {}  # engine -> why it cannot be run at all
        self._versions: dict[str, str] = {}
        self._current = ""  # the workload that the workers are at

    def run(self) -> list[Case]:
        """Measure everything.

        In limited time the first round of every workload comes before the second one of any, and each workload gets an
        equal share of the time that is left. Then what was built has to stay; else it goes with its workload.
        """
        found: dict[str, list[Case]] = {}
        names = list(self._settings.workloads)
        try:
            self._start()
            if self._settings.minutes is None:
                for name in names:
                    self._first_round(name, found)
                    self._more_rounds(name, found)
            else:
                self._share_out(names, found, self._first_round)
                self._share_out(names, found, self._more_rounds)
        finally:
            for worker in self._workers.values():
                worker.close()
        self.machine.measure_latency()
        return [case for name in names for case in found[name]]

    def _share_out(self, names: list[str], found: dict[str, list[Case]], visit: _Visit) -> None:
        last = self._end
        for number, name in enumerate(names):
            now = time.monotonic()
            self._end = now + (last - now) / (len(names) - number)
            visit(name, found)
        self._end = last

    def _start(self) -> None:
        """All libraries load at the same time."""
        for engine in self._engines:
            self._workers[engine] = Worker(engine, self._settings.threads)
        self._engines = [engine for engine in self._engines if self._is_there(engine)]

    def _is_there(self, engine: str) -> bool:
        try:
            self._versions[engine] = self._workers[engine].version(self._end - time.monotonic())
        except (UnsupportedError, EngineError, OutOfTimeError) as error:
            self.absent[engine] = str(error)
            self._workers.pop(engine).close()
            _progress(f"{engine}: skipped, {error}")
            return False
        return True

    def _workload(self, name: str) -> Workload:
        return WORKLOADS[name] if self._settings.full else WORKLOADS[name].shortened()

    def _first_round(self, name: str, found: dict[str, list[Case]]) -> None:
        """One case per engine, sampled as soon as the engine is prepared: what is late costs no earlier figure."""
        self.machine.measure()
        workload, cases = self._workload(name), found.setdefault(name, [])
        self._current = name
        for number, engine in enumerate(self._engines):
            left = self._end - time.monotonic()
            # A slow engine may take twice its share, for others take less than theirs.
            case = self._prepare(workload, engine, left * min(1.0, 2.0 / (len(self._engines) - number)))
            cases.append(case)
            if case.status == "measured":
                self._sample(case, workload, self._end)

    def _more_rounds(self, name: str, found: dict[str, list[Case]]) -> None:
        """The other rounds. None begins that would not fit; one that has begun may end late, for a worker that is ended
        for it would lose what it has built for all workloads.
        """
        workload, cases = self._workload(name), [case for case in found[name] if case.status == "measured"]
        epoch = {case.engine: 1e-6 * case.microseconds[0] * workload.steps_per_epoch for case in cases}
        one_round = sum(case.epochs_per_sample * epoch[case.engine] + SETTLE_SECONDS for case in cases)
        if self._settings.rounds == 1 or time.monotonic() + sum(epoch.values()) + one_round > self._end:
            return
        cases = [case for case in cases if name == self._current or self._resume(case, workload)]
        self._current = name
        for number in range(1, self._settings.rounds):
            began = time.monotonic()
            if began + one_round > self._end:
                break
            self.machine.measure()
            shift = number % max(1, len(cases))  # no engine always runs after the same one
            for case in cases[shift:] + cases[:shift]:
                if case.status == "measured" and case.engine in self._workers:
                    self._sample(case, workload, self._last)
            one_round = time.monotonic() - began

    def _resume(self, case: Case, workload: Workload) -> bool:
        """Go back to what was built for this workload; whether that is done."""
        try:
            self._worker(case.engine).resume(workload, self._last - time.monotonic())
        except (UnsupportedError, EngineError, OutOfTimeError) as error:
            self._give_up(case, error)
            return False
        return True

    def _worker(self, engine: str) -> Worker:
        if engine not in self._workers:  # had to be ended
            self._workers[engine] = Worker(engine, self._settings.threads)
        return self._workers[engine]

    def _prepare(self, workload: Workload, engine: str, timeout: float) -> Case:
        """Return a case without samples."""
        case = Case(workload.name, engine, "measured", version=self._versions[engine])
        try:
            found = self._worker(engine).prepare(workload, self._settings.minutes is not None, timeout)
        except UnsupportedError as error:
            case.status, case.reason = "skipped", str(error)
            _progress(f"{workload.name}, {engine}: skipped, {error}")
            return case
        except (EngineError, OutOfTimeError) as error:
            self._give_up(case, error)
            return case
        _progress(f"{workload.name}, {engine}: loss {found.constant_loss:.3g} -> {found.trained_loss:.3g}")
        case.constant_loss, case.trained_loss = found.constant_loss, found.trained_loss
        sample_seconds = self._settings.seconds / self._settings.rounds
        case.epochs_per_sample = max(1, round(sample_seconds / found.epoch_seconds))
        return case

    def _sample(self, case: Case, workload: Workload, end: float) -> None:
        time.sleep(SETTLE_SECONDS)
        latency = self.machine.measure_latency()
        try:
            left = end - time.monotonic()
            seconds = self._workers[case.engine].sample(case.epochs_per_sample, left)
        except (EngineError, OutOfTimeError) as error:
            self._give_up(case, error)
        else:
            case.microseconds.append(1e6 * seconds / (case.epochs_per_sample * workload.steps_per_epoch))
            case.core_latency.append(latency)

    def _give_up(self, case: Case, error: Exception) -> None:
        """Note why there are no (more) samples; the next workload starts with a fresh worker."""
        if isinstance(error, OutOfTimeError) and self._end < inf:
            if not case.microseconds:
                case.status, case.reason = "skipped", OUT_OF_TIME
        else:
            case.status, case.reason = "failed", str(error)
        _progress(f"{case.workload}, {case.engine}: {case.status}, {case.reason or OUT_OF_TIME}")
        if worker := self._workers.pop(case.engine, None):
            worker.close()


def _check(settings: Settings) -> None:
    usable = _core.usable_cores()
    if settings.threads > usable:
        given, expected = f"--threads is {settings.threads}", f"expected 1 to {usable} usable cores"
        raise ValueError(message("bench", given, expected, "leave it out to use all"))
    missing = {package for engine in settings.engines for package in packages_to_install(engine)}
    if settings.named and missing:
        given = f"not installed: {', '.join(sorted(missing))}"
        hint = f"pip install {' '.join(sorted(missing))}"
        raise ImportError(message("bench", given, "expected the libraries of all --engines", hint))
    # These checks would otherwise fail after the measurements.
    if settings.json is not None:
        _check_file(settings.json)
    if settings.plot is not None:
        _check_plot(settings.plot)


def _check_file(path: Path) -> None:
    if path.is_dir():
        given, hint = f"--json is the folder {path}", f"name a file in it, such as {path / 'bench.json'}"
        raise ValueError(message("bench", given, "expected a file to write", hint))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        given = f"--json is {path}, which cannot be written ({error.strerror})"
        raise ValueError(message("bench", given, "expected a file to write", "name another one")) from error


def _check_plot(path: Path) -> None:
    from stoop.bench import plot

    plot.check_matplotlib()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        given = f"--plot is {path}, which cannot be made a folder ({error.strerror})"
        raise ValueError(message("bench", given, "expected a folder to write to", "name another one")) from error


def _why_absent(engine: str, settings: Settings) -> str | None:
    if packages := packages_to_install(engine):
        return f"not installed (pip install {' '.join(packages)})"
    if engine in ON_REQUEST and not (settings.named or settings.full):
        return f"not in the default set, {ON_REQUEST[engine]} (--engines {engine} or --full)"
    return None


def _protocol(settings: Settings) -> str:
    epochs = "epochs of full length" if settings.full else "epochs shortened to a few tenths of a second"
    end = "" if settings.minutes is None else f", within {settings.minutes:g} minutes in all"
    return (
        f"for each engine on each workload: {settings.seconds:g} s or more in at most {settings.rounds} samples, "
        f"{epochs}{end}"
    )


def _write(report: Report, settings: Settings) -> None:
    if settings.json is not None:
        report.write(settings.json)
        say(f"\nraw samples: {os.path.relpath(settings.json)}")
    if settings.plot is not None:
        _draw(report, settings.plot, settings.mixed)


def _draw(report: Report, folder: Path, mixed: bool) -> None:
    from stoop.bench import plot

    paths = plot.draw(report, folder, mixed=mixed)
    say(f"plots: {', '.join(os.path.relpath(path) for path in paths)}")


def _progress(text: str) -> None:
    say(text, "stderr")
