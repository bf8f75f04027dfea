"""What loops of one's own cost: `step(rows=)` beside `step`, and an update of a DQN beside PyTorch.

    python bench/custom_loop.py [--rounds 40] [--units 64] [--threads 1]

Both ways of each pair take turns, and the median of the differences or ratios counts. `step(rows=)` gathers 64 rows
from a buffer of 100,000; `step` gets them gathered. At most 2 us more pass. An update of a DQN gathers a batch of 64
from a replay buffer, predicts the values of the next states by the target network, and trains the network
(4-units-units-2) on the one action that was taken. PyTorch does it as its own tutorial does; 10 times as fast passes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

import stoop

BATCH, BUFFER, CALLS = 64, 100_000, 400
GAMMA, RATE = 0.99, 1e-3


def make_buffer() -> dict[str, Any]:
    """Return transitions that nobody has made: only their shapes count."""
    rng = np.random.default_rng(0)
    return {
        "states": rng.standard_normal((BUFFER, 4), dtype=np.float32),
        "next": rng.standard_normal((BUFFER, 4), dtype=np.float32),
        "actions": rng.integers(2, size=BUFFER),
        "rewards": np.ones(BUFFER, np.float32),
        "goes_on": (rng.random(BUFFER) < 0.95).astype(np.float32),
    }


def drawn() -> Iterator[Any]:
    """Yield the rows of batch after batch."""
    rng = np.random.default_rng(1)
    while True:
        yield from rng.integers(BUFFER, size=(1000, BATCH))


def make_model(units: int) -> stoop.Model:
    """Return the network of the DQN."""
    layers = [stoop.Dense(units, activation="relu"), stoop.Dense(units, activation="relu"), stoop.Dense(2)]
    return stoop.Model(layers, input_dim=4)


def stoop_update(units: int) -> Callable[[Any], None]:
    """Return an update of a DQN on these rows of the buffer."""
    buffer = make_buffer()
    model = make_model(units)
    target = model.copy()
    trainer = stoop.Trainer(model, loss="mse", optimizer=stoop.optimizers.Adam(RATE))
    values = np.empty((BATCH, 2), np.float32)
    each = np.arange(BATCH)

    def update(rows: Any) -> None:
        target.predict(buffer["next"].take(rows, axis=0), out=values)
        wanted = buffer["rewards"][rows] + GAMMA * buffer["goes_on"][rows] * values.max(axis=1)
        taken = each, buffer["actions"][rows]
        outputs = trainer.forward(buffer["states"].take(rows, axis=0))
        gradient = np.zeros_like(outputs)
        gradient[taken] = np.minimum(np.maximum(outputs[taken] - wanted, -1.0), 1.0) / BATCH
        trainer.backward(gradient)
        trainer.apply()

    return update


def pytorch_update(units: int, threads: int) -> Callable[[Any], None]:
    """Return the same in PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    buffer = {name: torch.from_numpy(value) for name, value in make_buffer().items()}
    network, target = (
        nn.Sequential(nn.Linear(4, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2))
        for _ in range(2)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def update(rows: Any) -> None:
        rows = torch.from_numpy(rows)
        with torch.no_grad():
            values = target(buffer["next"][rows]).amax(dim=1)
            wanted = buffer["rewards"][rows] + GAMMA * buffer["goes_on"][rows] * values
        taken = network(buffer["states"][rows]).gather(1, buffer["actions"][rows][:, None])[:, 0]
        loss = nn.functional.smooth_l1_loss(taken, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def step_either_way(units: int) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    """Return a step on rows of the buffer, and one on the same rows gathered before."""
    X = make_buffer()["states"]
    y = np.random.default_rng(2).standard_normal((BUFFER, 2), dtype=np.float32)
    trainers = [stoop.Trainer(make_model(units), loss="mse") for _ in range(2)]
    batches = [(X[rows], y[rows]) for rows, _ in zip(drawn(), range(CALLS), strict=False)]
    place = iter(())

    def by_rows(rows: Any) -> None:
        trainers[0].step(X, y, rows=rows)

    def gathered(_: Any) -> None:
        nonlocal place
        batch = next(place, None)
        if batch is None:
            place = iter(batches)
            batch = next(place)
        trainers[1].step(*batch)

    return by_rows, gathered


def microseconds(call: Callable[[Any], None], rows: list[Any]) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    for batch in rows:
        call(batch)
    return (time.perf_counter() - start) / len(rows) * 1e6


def by_turns(one: Callable[[Any], None], other: Callable[[Any], None], rounds: int) -> list[tuple[float, float]]:
    """Return the times of both, round by round; the first rounds warm up."""
    source = drawn()
    rows = [next(source) for _ in range(CALLS)]
    return [(microseconds(one, rows), microseconds(other, rows)) for _ in range(rounds + 5)][5:]


def main() -> int:
    """Print the times, the difference and the ratio; 1 if one of them does not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    stoop.set_num_threads(options.threads)
    rounds = by_turns(*step_either_way(options.units), options.rounds)
    more = statistics.median(one - other for one, other in rounds)
    of_rows, of_batch = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"step(rows=) {of_rows:.1f} us, step {of_batch:.1f} us: {more:.1f} us more")
    passes = more <= 2.0
    update = stoop_update(options.units)
    with suppress(ImportError):
        rounds = by_turns(update, pytorch_update(options.units, options.threads), options.rounds)
        ratio = statistics.median(other / one for one, other in rounds)
        ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"an update of a DQN {ours:.1f} us, in PyTorch {theirs:.1f} us: {ratio:.1f} times")
        return int(not passes or ratio < 10.0)
    print(f"an update of a DQN {microseconds(update, [next(drawn())] * 5000):.1f} us; PyTorch is not installed")
    return int(not passes)


if __name__ == "__main__":
    raise SystemExit(main())
