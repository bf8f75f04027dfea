"""The time of a call of `Model.predict` from Python, for few rows and many.

    python bench/predict.py [--layers 784-512-256-10] [--rows 1 2 8 64 128] [--threads 1 2] [--rounds 20] [--out]
        [--predictor]

Hidden layers have relu, rows are float32 and lie in one array of the caller. The outputs are compared with NumPy's in
float64 before anything is timed. All sizes take turns, 100 calls a round; the median and the best of the single calls
count. With --out the outputs go into an array of the caller. With --predictor a `stoop.Predictor` is timed, one for
each number of threads. `stoop_bench --benchmark_filter=^predict` times the same from C++.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import numpy.typing as npt

import stoop

CALLS = 100  # of a round
TOLERANCE = 1e-4  # of the largest output: sums of a thousand products in float32
BIAS = stoop.initializers.normal(0.1)


def widths_of(text: str) -> list[int]:
    """Return the widths in 784-512-10, at least two."""
    widths = [int(part) if part.isdecimal() else 0 for part in text.split("-")]
    if len(widths) < 2 or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a network such as 784-512-256-10")
    return widths


def make_model(widths: list[int]) -> stoop.Model:
    """Return a network of these widths with relu between its layers, its biases not 0."""
    layers = [stoop.Dense(width, "relu", bias_init=BIAS) for width in widths[1:-1]]
    return stoop.Model([*layers, stoop.Dense(widths[-1], bias_init=BIAS)], input_dim=widths[0])


def timed(model: stoop.Model, threads: int, predictor: bool) -> stoop.Model | stoop.Predictor:
    """Return what is timed with so many threads, which a predictor is laid out for."""
    stoop.set_num_threads(threads)
    return stoop.Predictor(model) if predictor else model


def check(model: stoop.Model, x: npt.NDArray[Any], asked: stoop.Model | stoop.Predictor | None = None) -> None:
    """Raise ValueError unless the outputs, of `asked` or the model, are those of a plain computation in float64."""
    parameters = list(model.parameters().values())
    expected = x.astype(np.float64)
    for number, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        expected = (np.maximum(expected, 0) if number else expected) @ weight.astype(np.float64) + bias
    error = float(np.abs((asked or model).predict(x) - expected).max() / np.abs(expected).max())
    if not error <= TOLERANCE:
        raise ValueError(f"the outputs for {len(x)} rows are wrong by {error:.1e} of the largest")


def measure(model: stoop.Model | stoop.Predictor, x: npt.NDArray[Any], out: npt.NDArray[Any] | None) -> list[float]:
    """Return the microseconds of each call of a round."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.predict(x, out=out)
        times.append((time.perf_counter() - start) * 1e6)
    return times


def main(arguments: list[str] | None = None) -> int:
    """Print median and best call for each number of threads and rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=widths_of, default=widths_of("784-512-256-10"), metavar="WIDTHS")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 8, 64, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, stoop.get_num_threads()}))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", action="store_true", help="write into an array of the caller")
    parser.add_argument("--predictor", action="store_true", help="time a stoop.Predictor")
    options = parser.parse_args(arguments)
    model = make_model(options.layers)
    rng = np.random.default_rng(0)
    inputs = {rows: rng.standard_normal((rows, options.layers[0]), dtype=np.float32) for rows in options.rows}
    out = {rows: np.empty((rows, options.layers[-1]), np.float32) if options.out else None for rows in options.rows}
    models = {threads: timed(model, threads, options.predictor) for threads in options.threads}
    times: dict[tuple[int, int], list[float]] = {}
    for number in range(options.rounds + 1):  # the first round warms up
        for threads in options.threads:
            stoop.set_num_threads(threads)
            for rows, x in inputs.items():
                if number == 0:
                    check(model, x, models[threads])
                calls = measure(models[threads], x, out[rows])
                if number > 0:
                    times.setdefault((threads, rows), []).extend(calls)
    for (threads, rows), calls in times.items():
        print(f"threads {threads}, rows {rows}: median {statistics.median(calls):.2f} us, best {min(calls):.2f} us")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
