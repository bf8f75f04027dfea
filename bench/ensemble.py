"""Predictions of 64 members of 8-64-64-4 in one call of `Ensemble.predict`, by turns with 64 of `Model.predict`.

    python bench/ensemble.py [--members 64] [--layers 8-64-64-4] [--rows 1 8 128 20000] [--threads 1 2] [--rounds 20]

Rows are float32, or uint8 with ``input_scale=1/255`` (``--bytes``), whose conversion the members share. Every call
writes to arrays that are there. The outputs are compared to the bit before anything is timed. Medians of single calls
count, of `predict_mean` as well, and the time from one core to another and back is printed, since two near cores are
faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop
from stoop import _latency

LONGEST = 0.05  # seconds of a round for each kind of call, but at least one call


def make_models(members: int, widths: list[int], scale: float) -> list[stoop.Model]:
    """Return networks of these widths with relu between their layers."""
    layers = [*(stoop.Dense(width, "relu") for width in widths[1:-1]), stoop.Dense(widths[-1])]
    return [stoop.Model(layers, widths[0], seed, input_scale=scale) for seed in range(members)]


def timed(call: Callable[[], Any]) -> list[float]:
    """Return the microseconds of each call of a round."""
    times: list[float] = []
    while not times or sum(times) < LONGEST * 1e6:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def calls_of(models: list[stoop.Model], x: npt.NDArray[Any]) -> dict[str, Callable[[], Any]]:
    """Return what is compared, once it was seen to give the same bits."""
    ensemble = stoop.Ensemble(models)
    out = np.empty((len(models), len(x), ensemble.output_dim), ensemble.dtype)
    own = np.empty_like(out)

    def one_by_one() -> None:
        for model, its in zip(models, own):
            model.predict(x, out=its)

    one_by_one()
    if ensemble.predict(x).tobytes() != own.tobytes():
        raise ValueError(f"the outputs for {len(x)} rows differ")
    return {
        "members one by one": one_by_one,
        "Ensemble.predict": lambda: ensemble.predict(x, out=out),
        "Ensemble.predict_mean": lambda: ensemble.predict_mean(x),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the medians for each number of threads and rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--layers", default="8-64-64-4", metavar="WIDTHS")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 128, 20_000])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, stoop.get_num_threads()}))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--bytes", action="store_true")
    options = parser.parse_args(arguments)
    widths = [int(width) for width in options.layers.split("-")]
    models = make_models(options.members, widths, 1 / 255 if options.bytes else 1.0)
    rng = np.random.default_rng(0)
    times: dict[tuple[int, int, str], list[float]] = {}
    latencies: list[float | None] = []
    for rows in options.rows:
        shape = rows, widths[0]
        x = rng.integers(0, 256, shape, np.uint8) if options.bytes else rng.standard_normal(shape, np.float32)
        calls = calls_of(models, x)
        for number in range(options.rounds + 1):  # the first round warms up
            latencies.append(_latency.measure())
            for threads in options.threads:
                stoop.set_num_threads(threads)
                for name, call in calls.items():
                    found = timed(call)
                    if number:
                        times.setdefault((threads, rows, name), []).extend(found)
    for (threads, rows, name), found in times.items():
        median = statistics.median(found)
        ratio = statistics.median(times[threads, rows, "members one by one"]) / median
        print(f"threads {threads}, rows {rows}: {name:22} median {median:11.1f} us ({ratio:.2f} times)")
    known = [latency for latency in latencies if latency is not None]
    if known:
        print(f"from core to core and back: {min(known):.0f} to {max(known):.0f} ns")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
