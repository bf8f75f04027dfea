"""`stoop.sklearn` beside scikit-learn's MLP: the same data, the same arguments; time to fit and to predict, and scores.

    python bench/sklearn_mlp.py [--rounds 5] [--data digits ...] [--dtype float64] [--json out.json]
    python bench/sklearn_mlp.py --scores [--seeds 10] [--data wine ...] [--json out.json]

The first form measures time. Each engine has a process of its own: Stoop with its default number of threads, and
scikit-learn once with one thread of its BLAS and once with two, of which the faster counts. They take turns, a figure
is the median of the rounds, and ratios are formed within a round. Before, each fits for two epochs, which do not count.
An engine that waits uses no CPU. Every estimator is set up anew in each round; its seed is the number of the round.

The second form prints test scores over the seeds, with the standard error of the difference, for all of the arguments
in `sklearn_tasks.py`; and for lbfgs the loss that both reach from the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sklearn_tasks as tasks

# Data sets and arguments that are timed: small tables, then larger ones.
TIMED = [
    ("wine", "adam"),
    ("wine", "lbfgs"),
    ("breast cancer", "adam"),
    ("diabetes", "adam"),
    ("digits", "adam"),
    ("digits", "sgd"),
    ("digits", "adam, early stopping"),
    ("digits", "lbfgs"),
    ("letters, easy", "adam"),
    ("covertype-like", "adam"),
]
ENGINES = {
    "stoop": ("stoop", None),
    "scikit-learn, 1 thread": ("sklearn", 1),
    "scikit-learn, 2 threads": ("sklearn", 2),
}
PAUSE = 0.2  # seconds before each engine: threads of the last one fall asleep
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


# ---- the process of an engine ----


def seconds_of(call: Any) -> float:
    """Return the seconds of a call: of many in a row where it is short."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    calls = max(1, min(1000, int(0.05 / max(first, 1e-7))))
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def work(library: str, dtype: str) -> None:
    """Answer requests, a line of JSON each: [name of the data, name of the arguments, seed, whether it counts]."""
    data: dict[str, tasks.Split] = {}
    for line in sys.stdin:
        name, arguments, seed, counts = json.loads(line)
        if name not in data:
            data = {name: tasks.split(name, 0, dtype)}
        given = tasks.ARGUMENTS[arguments]
        if not counts:
            given = {**given, "max_iter": 2}
        mlp = tasks.estimator(library, name, seed, given)
        answer = asdict(tasks.fit(mlp, data[name]))
        if counts:
            X = data[name].X
            answer["predict one"] = seconds_of(lambda: mlp.predict(X[:1]))  # noqa: B023 - called at once
            answer["predict all"] = seconds_of(lambda: mlp.predict(X))  # noqa: B023
        print(json.dumps(answer), flush=True)


class Engine:
    """A process that fits when it is asked."""

    def __init__(self, library: str, threads: int | None, dtype: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
        if threads is not None:
            environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        command = [sys.executable, __file__, "--worker", library, "--dtype", dtype]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, *request: Any) -> dict[str, float]:
        """Return what `work` answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# ---- time ----


Rounds = dict[str, list[dict[str, float]]]


def measure(engines: dict[str, Engine], name: str, arguments: str, rounds: int) -> Rounds:
    """Return what each engine answers in each round."""
    for engine in engines.values():
        engine.ask(name, arguments, 0, False)
    found: Rounds = {label: [] for label in engines}
    for seed in range(rounds):
        for label, engine in engines.items():
            time.sleep(PAUSE)
            found[label].append(engine.ask(name, arguments, seed, True))
    return found


def median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in rounds)


def ratio(found: Rounds, key: str) -> tuple[str, float]:
    """Return the faster setting of scikit-learn, and how many times as long as Stoop it takes."""
    best = min((label for label in found if label != "stoop"), key=lambda label: median(found[label], key))
    pairs = zip(found[best], found["stoop"])
    return best, statistics.median(theirs[key] / ours[key] for theirs, ours in pairs)


def show_time(name: str, arguments: str, found: Rounds) -> None:
    """Print a row of the table."""
    best, times = ratio(found, "seconds")
    ours, theirs = found["stoop"], found[best]
    epochs = f"{median(ours, 'epochs'):.0f} / {median(theirs, 'epochs'):.0f}"
    per_epoch = statistics.median(
        (b["seconds"] / b["epochs"]) / (a["seconds"] / a["epochs"]) for a, b in zip(ours, theirs)
    )
    score = " / ".join(f"{statistics.mean(one['score'] for one in each):.4f}" for each in (ours, theirs))
    predictions = []
    for key, unit, scale in (("predict one", "us", 1e6), ("predict all", "ms", 1e3)):
        fastest, _ = ratio(found, key)
        predictions.append(f"{median(ours, key) * scale:.2f} / {median(found[fastest], key) * scale:.2f} {unit}")
    cells = [
        f"{name}: {arguments}",
        f"{median(ours, 'seconds'):.3f} / {median(theirs, 'seconds'):.3f} s",
        f"{times:.1f}",
        best.rsplit(", ", 1)[-1],
        epochs,
        f"{per_epoch:.1f}",
        score,
        *predictions,
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def time_all(names: list[str], rounds: int, dtype: str) -> dict[str, Any]:
    """Print the table of times; return all that was measured."""
    from stoop import _latency

    latency = _latency.measure()
    distance = "core to core unknown" if latency is None else f"core to core and back {latency:.0f} ns"
    print(f"{dtype}, {rounds} rounds; {distance}; each pair is Stoop / scikit-learn")
    head = ["data: arguments", "fit", "ratio", "its best", "epochs", "ratio per epoch", "score", "one row", "all rows"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    engines = {label: Engine(library, threads, dtype) for label, (library, threads) in ENGINES.items()}
    results: dict[str, Any] = {"core_latency": latency}
    for name, arguments in TIMED:
        if name in names:
            found = measure(engines, name, arguments, rounds)
            results[f"{name}: {arguments}"] = found
            show_time(name, arguments, found)
    for engine in engines.values():
        engine.close()
    return results


# ---- scores ----


def score_all(names: list[str], seeds: int) -> dict[str, Any]:
    """Print the table of scores; return them."""
    print(f"{seeds} seeds; accuracy, or R2 of diabetes; the error is that of the mean difference")
    print("| data | arguments | Stoop | scikit-learn | difference | standard error |\n|---|---|--:|--:|--:|--:|")
    results: dict[str, Any] = {}
    for name in names:
        for arguments, given in tasks.ARGUMENTS.items():
            found = tasks.compare(name, given, seeds)
            results[f"{name}: {arguments}"] = {"stoop": found.ours.tolist(), "sklearn": found.theirs.tolist()}
            worse = " *" if found.difference < -found.error else ""
            print(
                f"| {name} | {arguments} | {found.ours.mean():.4f} | {found.theirs.mean():.4f} | "
                f"{found.difference:+.4f}{worse} | {found.error:.4f} |",
                flush=True,
            )
    return results


def main() -> None:
    """Print a table of times, or of scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=tasks.DATA, default=list(tasks.DATA))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--scores", action="store_true", help="test scores instead of times")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=("stoop", "sklearn"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.dtype)
        return
    if options.scores:
        results = score_all([name for name in options.data if name != "covertype-like"], options.seeds)
    else:
        results = time_all(options.data, options.rounds, options.dtype)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
