"""Several records of `stoop bench --json` beside each other, and what makes two of them different kinds of run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stoop._errors import message
from stoop.bench.report import Report, table

MIXED = "--mixed"


def differences(reports: Mapping[str, Report]) -> list[str]:
    """Return a sentence for each condition that is not the same in all of these runs.

    The conditions are the machine, the number of threads, the distance of the cores, the version of each engine (that
    of Stoop names its instruction set), and the variables of the environment that steer an engine.
    """
    sentences = []
    for condition, of_each in _conditions(reports):
        if len(set(of_each.values())) > 1:
            sentences.append(f"{condition}: " + ", ".join(f"{name}: {value}" for name, value in of_each.items()))
    return sentences


def _conditions(reports: Mapping[str, Report]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each condition with its value in every run."""
    yield "the machines differ", {name: report.machine for name, report in reports.items()}
    yield "the numbers of threads differ", {name: f"{report.threads}" for name, report in reports.items()}
    yield (
        "the distances of the cores differ",
        {name: " and ".join(report.distances()) or "one thread" for name, report in reports.items()},
    )
    engines = dict.fromkeys(case.engine for report in reports.values() for case in report.measured)
    for engine in engines:
        versions = {
            name: " and ".join(sorted({case.version for case in report.measured if case.engine == engine}))
            for name, report in reports.items()
        }
        yield f"the versions of {engine} differ", {name: version for name, version in versions.items() if version}
    yield (
        "the environments differ",
        {name: " ".join(f"{k}={v}" for k, v in report.environment.items()) or "-" for name, report in reports.items()},
    )


def check_one_kind(reports: Mapping[str, Report], mixed: bool) -> list[str]:
    """Return what differs between the runs.

    Raises
    ------
    ValueError
        If something does, unless `mixed`.
    """
    found = differences(reports)
    if found and not mixed:
        hint = f"measure them anew under the same conditions, or add {MIXED} to compare them as they are"
        raise ValueError(message("bench", "; ".join(found), "expected runs of one kind", hint))
    return found


def markdown(reports: Mapping[str, Report], mixed: bool) -> str:
    """Return the medians of each run in a column of its own, and how they relate to those of the first run.

    Raises
    ------
    ValueError
        If the runs are of different kinds, unless `mixed`.
    """
    found = check_one_kind(reports, mixed)
    lines = [f"{name}: {report.machine_line()}" for name, report in reports.items()]
    lines += [f"warning: {name}: {warning}" for name, report in reports.items() for warning in report.warnings()]
    lines += [f"warning: not runs of one kind, {sentence}" for sentence in found]
    first, *others = reports
    header = ["workload", "engine", *(f"us, {name}" for name in reports), *(f"{name} / {first}" for name in others)]
    cases = {name: {(case.workload, case.engine): case for case in report.measured} for name, report in reports.items()}
    rows = []
    for key in dict.fromkeys(key for of_run in cases.values() for key in of_run):
        medians = [of_run[key].median if key in of_run else None for of_run in cases.values()]
        base = medians[0]
        times = ["-" if time is None else f"{time:,.1f}" for time in medians]
        ratios = ["-" if time is None or base is None else f"{time / base:.2f}" for time in medians[1:]]
        rows.append([*key, *times, *ratios])
    return "\n".join([*lines, "", *table(header, rows)])
