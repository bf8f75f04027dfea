"""Train and predict with the stoop that is installed, and print what came of it: one JSON object.

It needs NumPy and nothing else, so it runs wherever a wheel is installed: in an empty environment, under an emulator,
where releases are made.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from typing import Any

import numpy as np

import stoop


def digest(*arrays: np.ndarray) -> str:
    """Return a text that differs where a bit differs."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def train_and_predict(dtype: str) -> dict[str, Any]:
    """Return what some epochs on three rings give: the digest of parameters and outputs, and outputs of some rows."""
    rng = np.random.default_rng(0)
    X = rng.random((512, 2), dtype=np.float32) * 2 - 1
    y = np.digitize((X * X).sum(axis=1), [0.3, 0.8])
    layers = [stoop.Dense(32, activation="gelu"), stoop.BatchNorm(), stoop.Dropout(0.1), stoop.Dense(3)]
    model = stoop.Model(layers, input_dim=2, dtype=dtype)
    optimizer = stoop.optimizers.Adam(stoop.schedules.Cosine(0.02, 80))
    trainer = stoop.Trainer(model, optimizer=optimizer, num_threads=2, l2=1e-4)
    trainer.fit(X, y, epochs=20, batch_size=64, verbose=0)
    accuracy = float((model.predict_classes(X) == y).mean())
    if accuracy < 0.8:
        sys.exit(f"three rings were not learnt: accuracy {accuracy:.2f}")
    # Not the probabilities: their exponential is NumPy's, whose bits depend on the processor.
    outputs = model.predict(X)
    return {"bits": digest(*model.parameters().values(), outputs), "outputs": outputs[:8].ravel().tolist()}


def main() -> None:
    """Print the processor's kernels, the versions and the bits."""
    config = stoop.show_config("dicts")
    result = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "stoop": stoop.__version__,
        "file": stoop.__file__,
        "isa": stoop._core.active_isa(),
        "available": list(stoop._core.available_isas()),
        "blas": config["blas"]["loaded"],
        "float32": train_and_predict("float32"),
        "float64": train_and_predict("float64"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
