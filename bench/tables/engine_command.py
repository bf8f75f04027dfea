"""The command line as an engine: `stoop train` of a CSV file, then `stoop predict` of another."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from engines import Request

from stoop.cli import main

TARGET = "the target"
JOINED = ("--max-categories", "100")  # of a column; the rare ones become one


class Command:
    """`stoop train` with its defaults; there is no limit of time."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def fit(self, X: Any, y: Any) -> Command:
        """Write the rows and train."""
        if not self.request.regression:
            self.classes_ = np.unique(y)
        with tempfile.TemporaryDirectory() as folder:
            table, model = (Path(folder) / name for name in ("train.csv", "model.safetensors"))
            X.assign(**{TARGET: y}).to_csv(table, index=False)
            seed = ("--seed", str(self.request.seed))
            _run("train", str(table), "--target", TARGET, "--test-size", "0", *JOINED, *seed, "-o", str(model))
            self.model = model.read_bytes()
        return self

    def predict(self, X: Any) -> Any:
        """Return values."""
        return self._predict(X).iloc[:, 0].to_numpy(np.float64)

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities: the columns after that of the class, one for each."""
        return self._predict(X, "--proba").iloc[:, 1:].to_numpy(np.float64)

    def _predict(self, X: Any, *options: str) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            model, table, out = (Path(folder) / name for name in ("model.safetensors", "rows.csv", "out.csv"))
            model.write_bytes(self.model)
            X.to_csv(table, index=False)
            _run("predict", str(model), str(table), "--unknown", "ignore", "-o", str(out), *options)
            return pd.read_csv(out)


def _run(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main(list(arguments))
    if status:
        raise SystemExit(errors.getvalue())
