"""What several test modules share: the cases that are crossed, error measures, running Python in a fresh process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

DTYPES = ("float32", "float64")
LOSSES = ("softmax_cross_entropy", "mse")  # one of classes and one of values; all of them are in cases.py


def make_data(
    loss: str, samples: int, features: int, outputs: int, dtype: str = "float32", seed: int = 0
) -> tuple[npt.NDArray, npt.NDArray]:
    """Normal inputs and targets of the kind the loss takes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples, features)).astype(dtype)
    if loss == "mse":
        return X, rng.standard_normal((samples, outputs)).astype(dtype)
    return X, rng.integers(outputs, size=samples)


def relative_error(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """norm(actual - expected) / norm(expected), in float64."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return float(np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-300))


def assert_parameters_close(
    actual: Mapping[str, npt.NDArray], expected: Mapping[str, npt.NDArray], tolerance: float
) -> None:
    assert list(actual) == sorted(expected, key=lambda name: (int(name.split(".")[0]), name.endswith("bias")))
    for name, value in actual.items():
        assert relative_error(value, expected[name]) < tolerance, name


def bits(model: Any) -> dict[str, bytes]:
    """The parameters as bytes: equal exactly when every bit is."""
    return {name: value.tobytes() for name, value in model.parameters().items()}


# ---- errors ----

# [where] what was given; what was expected; what to do.
MESSAGE = re.compile(r"\[[^\]]+\] .+; .+; .+[.?]", re.DOTALL)


@contextmanager
def refused(
    exception: type[Exception] | tuple[type[Exception], ...], *patterns: str
) -> Iterator[pytest.ExceptionInfo[Any]]:
    """The block raises `exception` with a message of the common form in which every pattern is found."""
    with pytest.raises(exception) as caught:
        yield caught
    message = str(caught.value)
    assert MESSAGE.fullmatch(message), message
    for pattern in patterns:
        assert re.search(pattern, message, re.IGNORECASE), f"{pattern!r} not in {message!r}"


@contextmanager
def unchanged(trainer: Any) -> Iterator[None]:
    """The block leaves the parameters and the counts of the trainer as they are, to the bit."""
    before = bits(trainer.model), trainer.steps, trainer.epoch
    yield
    assert (bits(trainer.model), trainer.steps, trainer.epoch) == before


# ---- fresh processes ----


def run_python(
    *arguments: str | Path, timeout: float = 60, cwd: Path | None = None, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs this Python with the given arguments, without inherited STOOP_* variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STOOP_")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        env=inherited | environment,
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    if check:
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
