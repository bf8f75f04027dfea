"""Predicts how training steps scale over the threads of one machine, beyond those that this machine has.

For each network, `stoop_team_scaling` walks the plan as a team of so many threads would, on one thread, and measures
every share. A step then takes the longest share of each phase, the lines of cache that come from other cores, and the
barriers. The costs of these are measured with two threads by `stoop_bench`; see docs/scaling.md.

    make bench-program && python bench/team_scaling.py --json build/teams.json
    python bench/team_scaling.py --from before.json after.json    # measures nothing: shows two runs beside each other
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from stoop.bench.engine_stoop import StoopEngine
from stoop.bench.workloads import WORKLOADS, Workload

BUILD = Path(__file__).resolve().parents[1] / "build" / "make" / "bench" / "cpp"
THREADS = (1, 2, 4, 8, 12, 16, 32, 64, 128)
GROUP = 16  # shares that count themselves on one line of cache, see Crew::ends_phase
FAR = 3.5  # times as long as near takes a line between cores that share no cache


def _network(name: str, widths: tuple[int, ...], batch: int, loss: Any = "softmax_cross_entropy") -> Workload:
    return Workload(name, widths, batch, 8, "relu", loss, "adam", 1e-3)


NETWORKS = {
    **WORKLOADS,
    **{
        network.name: network
        for network in (
            _network("33-77-41-5, 50", (33, 77, 41, 5), 50),
            *(_network(f"10-{w}-{w}-10, 128", (10, w, w, 10), 128) for w in (16, 46, 64, 128, 256)),
            _network("autoencoder", (784, 400, 30, 400, 784), 128, "mse"),
            _network("3000-1000-1, 333", (3000, 1000, 1), 333, "mse"),
        )
    },
}


def measure_costs() -> dict[str, float]:
    """Return what two threads pay, in nanoseconds: a meeting, and a line that the other one has written."""
    command = [BUILD / "stoop_bench", "--benchmark_filter=^team/([mcs]|lines/product/32768)", "--benchmark_format=json"]
    for _ in range(5):
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found = {case["name"].split("/", 1)[1]: case for case in json.loads(run.stdout)["benchmarks"]}
        failed = [case["error_message"] for case in found.values() if case.get("error_occurred")]
        if not failed:
            break
    else:
        raise RuntimeError(f"{failed[0]}; run again on a quiet machine")
    return {
        "meeting": found["meeting"]["ns"],
        "claim": found["claim"]["ns_a_share"],
        "steal": found["steal"]["ns_a_share"],
        "line": found["lines/product/32768"]["ns_a_line"],
    }


def measure(network: Workload) -> dict[str, Any]:
    """Return what `stoop_team_scaling` says of a network."""
    engine = StoopEngine(network, np.empty(0), np.empty(0), 1)
    configs = [engine._model._core.config(), engine._trainer._core.config()]
    command = [str(BUILD / "stoop_team_scaling"), *configs, str(network.batch_size), *map(str, THREADS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def barrier_ns(threads: int, meeting: float, group: int = GROUP) -> float:
    """Return the time of a barrier, from that of two threads.

    At a meeting of two threads a line moves three times: each thread counts itself, then one reads that the phase is
    over. With more threads those of a group count themselves one after the other, then the groups do.
    """
    if threads == 1:
        return 0.0
    groups = -(-threads // group)
    return meeting / 3 * (-(-threads // groups) + (groups if groups > 1 else 0) + 1)


def step_us(
    result: dict[str, Any], threads: int, costs: dict[str, float], slow: float = 1.0, line: float | None = None
) -> float:
    """Return the predicted time of a step; `slow` is how much longer a line takes than in `costs`."""
    phases = result["teams"][str(threads)]
    lines = sum(phase["foreign_lines"] for phase in phases) * (line_ns(result, costs) if line is None else line)
    barriers = len(phases) * barrier_ns(threads, costs["meeting"], int(costs.get("group", GROUP)))
    return sum(phase["longest"] for phase in phases) + slow * (lines + barriers) / 1000


def bounds_us(result: dict[str, Any], threads: int, costs: dict[str, float]) -> tuple[float, float]:
    """Return the time of a step if fetching lines from other cores is hidden by computing, and if none of it is."""
    phases = result["teams"][str(threads)]
    hidden = sum(phase["longest"] for phase in phases) + len(phases) * barrier_ns(threads, costs["meeting"]) / 1000
    return hidden, hidden + sum(phase["foreign_lines"] for phase in phases) * costs["line"] / 1000


def line_ns(result: dict[str, Any], costs: dict[str, float]) -> float:
    """Return how long a line delays a step of this network, from its time on two threads: large products hide it."""
    hidden, _ = bounds_us(result, 2, costs)
    lines = sum(phase["foreign_lines"] for phase in result["teams"]["2"])
    return min(max((result["measured"][1] - hidden) / lines * 1000, 0.0), costs["line"])


def table(results: dict[str, Any], costs: dict[str, float]) -> str:
    """Return the speed-up over one thread, with near cores and with far ones, by network and threads."""
    shown = [n for n in THREADS if n > 1]
    text = ["| network | us, 1 thread | " + " | ".join(map(str, shown)) + " |", "|---|" + "--:|" * (len(shown) + 1)]
    for name, result in results.items():
        one = step_us(result, 1, costs)
        times = [(step_us(result, n, costs), step_us(result, n, costs, FAR)) for n in shown]
        cells = [f"{one / near:.1f} / {one / far:.1f}" for near, far in times]
        text.append(f"| {name} | {one:,.1f} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def check(results: dict[str, Any], costs: dict[str, float]) -> str:
    """Return what was predicted for one and two threads beside what was measured."""
    text = ["| network | 1 thread, us | predicted | 2 threads, us | predicted | ns of a line |", "|---|" + "--:|" * 5]
    for name, result in results.items():
        one, two = result["measured"]
        least, most = bounds_us(result, 2, costs)
        text.append(
            f"| {name} | {one:,.1f} | {step_us(result, 1, costs):,.1f} | {two:,.1f} | {least:,.1f} to {most:,.1f} "
            f"| {line_ns(result, costs):.1f} |"
        )
    return "\n".join(text)


def beside(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the predicted steps of two runs, in microseconds, and their ratio, where it is not 1."""
    shown = [n for n in THREADS if n > 1]
    text = ["| network | " + " | ".join(map(str, shown)) + " |", "|---|" + "--:|" * len(shown)]
    for name in before["results"]:
        results = [run["results"][name] for run in (before, after)]
        costs = [run["costs"] for run in (before, after)]
        line = sum(map(line_ns, results, costs)) / 2
        cells = []
        for n in shown:
            a, b = (step_us(result, n, cost, line=line) for result, cost in zip(results, costs, strict=True))
            cells.append(f"{a:,.0f} / {b:,.0f} ({a / b:.2f})")
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def starving(results: dict[str, Any], least: float = 0.05) -> str:
    """Return the phases that lose the most by uneven shares: those that cost a step `least` of its time or more."""
    text = ["| network | threads | phase | longest share, us | mean | idle |", "|---|--:|---|--:|--:|--:|"]
    for name, result in results.items():
        for threads in (8, 12, 32, 128):
            phases = result["teams"][str(threads)]
            whole = sum(phase["longest"] for phase in phases)
            for phase in phases:
                lost = phase["longest"] - phase["mean"]
                if lost < least * whole or phase["counted_longest"] < 1.05 * phase["counted_mean"]:
                    continue
                text.append(
                    f"| {name} | {threads} | {', '.join(phase['steps'])[:100]} | {phase['longest']:.1f} "
                    f"| {phase['mean']:.1f} | {phase['idle']} |"
                )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS], default=[*NETWORKS], help="default: all")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--from", dest="runs", type=Path, nargs="+", help="shows what earlier runs have written")
    parser.add_argument("--starving", action="store_true", help="lists the phases with uneven shares")
    options = parser.parse_args()
    if options.runs:
        runs = [json.loads(path.read_text()) for path in options.runs]
    else:
        costs = measure_costs()
        runs = [{"costs": costs, "results": {name: measure(NETWORKS[name]) for name in options.networks}}]
        if options.json:
            options.json.write_text(json.dumps(runs[0]))
    newest = runs[-1]
    print("ns of two threads:", ", ".join(f"{name} {ns:.1f}" for name, ns in newest["costs"].items()))
    print("\n" + check(newest["results"], newest["costs"]))
    print("\nspeed-up over one thread, near / far cores\n\n" + table(newest["results"], newest["costs"]))
    if len(runs) > 1:
        print("\nbefore / after, us (times faster)\n\n" + beside(runs[0], runs[-1]))
    if options.starving:
        print("\n" + starving(newest["results"]))


if __name__ == "__main__":
    main()
