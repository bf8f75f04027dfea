"""The peak memory of training, in times the memory of the parameters, beside PyTorch's.

    python bench/memory.py [--network 2048-6000-6000-10] [--batch 256]

Each line is a process of its own: the peak of its resident memory after three updates (Stoop: epochs of three) less
that after the import and the making of the data. PyTorch is measured where it is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CODE = """
import resource, sys, os
import numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
sizes, batch, kind = [int(n) for n in sys.argv[1].split('-')], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(0)
X = rng.standard_normal((3 * batch, sizes[0]), dtype=np.float32)
y = rng.integers(0, sizes[-1], 3 * batch).astype(np.int32)
count = sum((a + 1) * b for a, b in zip(sizes, sizes[1:]))
if kind == 'pytorch':
    import torch
    layers = []
    X, y = torch.from_numpy(X), torch.from_numpy(y).long()
    before = peak()
    for a, b in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters())
    for start in range(0, len(X), batch):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(X[start:start + batch]), y[start:start + batch])
        loss.backward()
        optimizer.step()
else:
    import stoop
    before = peak()
    layers = [stoop.Dense(n, activation='relu') for n in sizes[1:-1]] + [stoop.Dense(sizes[-1])]
    model = stoop.Model(layers, input_dim=sizes[0])
    trainer = stoop.Trainer(model, rollback=kind != 'without rollback')
    callbacks = [stoop.callbacks.EarlyStopping('loss')] if kind == 'restore best' else []
    trainer.fit(X, y, epochs=3, batch_size=batch, verbose=0, callbacks=callbacks)
print((peak() - before) / (4 * count))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="2048-6000-6000-10")
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    print(f"{arguments.network}, Adam, batches of {arguments.batch}: peak memory / memory of the parameters")
    for kind in ("plain", "restore best", "without rollback", "pytorch"):
        command = [sys.executable, "-c", CODE, arguments.network, str(arguments.batch), kind]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            print(f"{kind:18} {float(done.stdout):.2f}")
        else:
            print(f"{kind:18} not measured: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
