"""The script that times `predict`: what it reads, checks and prints."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import REPOSITORY

spec = importlib.util.spec_from_file_location("bench_predict", REPOSITORY / "bench" / "predict.py")
assert spec is not None
assert spec.loader is not None
predict: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(predict)


@pytest.mark.parametrize("more", [[], ["--out", "--predictor"]])
def test_a_line_for_each_size(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    before = stoop.get_num_threads()
    try:
        arguments = ["--layers", "6-5-4-3", "--rows", "1", "7", "--threads", "1", "--rounds", "1", *more]
        assert predict.main(arguments) == 0
    finally:
        stoop.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["threads 1, rows 1", "threads 1, rows 7"]
    for line in lines:
        median, best = (float(part.split()[1]) for part in line.split(": ")[1].split(", "))
        assert 0 < best <= median


def test_wrong_outputs_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = predict.make_model([6, 5, 4, 3])
    x = np.random.default_rng(0).standard_normal((3, 6), dtype=np.float32)
    predict.check(model, x)
    outputs = model.predict(x)
    outputs[1, 2] *= 1.01
    monkeypatch.setattr(stoop.Model, "predict", lambda *_: outputs)
    with pytest.raises(ValueError, match="wrong by"):
        predict.check(model, x)
    predict.check(model, x, stoop.Predictor(model))


@pytest.mark.parametrize("text", ["784", "784-", "8-x-4", "8-0-4", ""])
def test_networks(text: str) -> None:
    assert predict.widths_of("784-512-10") == [784, 512, 10]
    with pytest.raises(argparse.ArgumentTypeError, match="784-512-256-10"):
        predict.widths_of(text)
