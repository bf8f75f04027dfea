"""Ensembles: predictions with the bits of each member, means of probabilities and spreads, threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import stoop
from helpers import DTYPES, refused, run_python

FEATURES, OUTPUTS = 6, 3
# Layers that differ, and inputs that are scaled in two ways.
LAYERS: list[list[Any]] = [
    [stoop.Dense(17, activation="tanh"), stoop.BatchNorm(), stoop.Dense(OUTPUTS)],
    [stoop.Dense(OUTPUTS)],
    [stoop.Dense(33, activation="relu"), stoop.Dropout(0.5), stoop.LayerNorm(), stoop.Dense(OUTPUTS)],
    [stoop.Dense(8), stoop.Residual([stoop.Dense(8), stoop.SiLU()]), stoop.Dense(OUTPUTS)],
    [stoop.Dense(64, activation="relu"), stoop.Dense(64, activation="relu"), stoop.Dense(OUTPUTS)],
]
SCALES = (1.0, 1 / 255, 1.0, 1 / 255, 0.5)


def models_of(dtype: str = "float32", count: int = len(LAYERS), **settings: Any) -> list[stoop.Model]:
    models = [
        stoop.Model(LAYERS[i], FEATURES, seed=i, dtype=dtype, input_scale=SCALES[i], **settings) for i in range(count)
    ]
    for i, model in enumerate(models):
        rng = np.random.default_rng(i)
        for value in model.buffers().values():
            value[...] = rng.uniform(0.5, 2.0, value.shape)
    return models


def heads_of(outputs: int, output: str | None, dtype: str = "float64", **settings: Any) -> list[stoop.Model]:
    """Models with as many outputs, of large logits."""
    models = [
        stoop.Model([stoop.Dense(9, "tanh"), stoop.Dense(outputs)], FEATURES, i, dtype, output=output, **settings)
        for i in range(4)
    ]
    for model in models:
        model.parameters()["1.weight"][...] *= 5
    return models


def samples(rows: int, kind: str = "float32", seed: int = 0) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    if kind == "uint8":
        return rng.integers(0, 256, (rows, FEATURES), np.uint8)
    return rng.normal(size=(rows, FEATURES)).astype(kind)


# ---- predict ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_bits_of_each_member(dtype: str, kind: str, threads: int) -> None:
    models = models_of(dtype)
    ensemble = stoop.Ensemble(models)
    with stoop.num_threads(threads):
        for rows in (1, 3, 8, 9, 130, 1000):
            x = samples(rows, kind)
            outputs = ensemble.predict(x)
            assert outputs.shape == (len(models), rows, OUTPUTS)
            assert outputs.dtype == np.dtype(dtype)
            for model, own in zip(models, outputs, strict=True):
                assert own.tobytes() == model.predict(x).tobytes(), (rows, model)


@pytest.mark.parametrize("rows", [1, 2000])
def test_work_that_is_worth_a_team(rows: int) -> None:
    models = [stoop.Model([stoop.Dense(700, "relu"), stoop.Dense(2)], 500, i) for i in range(5)]
    x = np.random.default_rng(0).normal(size=(rows, 500))
    with stoop.num_threads(3):
        for _ in range(3):  # the later calls find a team that is awake
            outputs = stoop.Ensemble(models).predict(x)
            assert [own.tobytes() for own in outputs] == [model.predict(x).tobytes() for model in models]


def test_one_member_and_lists() -> None:
    [model] = models_of(count=1)
    x = samples(4)
    assert stoop.Ensemble([model]).predict(x.tolist()).tobytes() == model.predict(x)[None].tobytes()
    assert stoop.Ensemble([model])(x[:, ::-1]).tobytes() == model.predict(x[:, ::-1])[None].tobytes()


def test_a_mapped_file(tmp_path: Path) -> None:
    x = samples(3000)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ensemble = stoop.Ensemble(models_of())
    assert ensemble.predict(mapped).tobytes() == ensemble.predict(x).tobytes()
    assert ensemble.predict_mean(mapped).tobytes() == ensemble.predict_mean(x).tobytes()
    x[2100, 2] = np.nan
    np.save(tmp_path / "bad.npy", x)
    for predict in (ensemble.predict, ensemble.predict_mean, ensemble.predict_proba):
        with refused(ValueError, "Ensemble", "row 2100"):
            predict(np.load(tmp_path / "bad.npy", mmap_mode="r"))


def test_outputs_go_where_the_caller_wants_them() -> None:
    ensemble, x = stoop.Ensemble(models_of()), samples(20)
    expected = ensemble.predict(x)
    members = len(ensemble)
    whole = np.full((members + 1, 30, OUTPUTS + 2), 7, np.float32)
    by_sample = np.empty((20, members, OUTPUTS), np.float32)
    for out in (np.empty_like(expected), whole[1:, 5:25, 1:-1], by_sample.transpose(1, 0, 2)):
        assert ensemble.predict(x, out=out) is out
        assert out.tobytes() == expected.tobytes()
    assert (whole[0] == 7).all()
    assert (whole[:, :, [0, -1]] == 7).all()
    assert (whole[:, [*range(5), *range(25, 30)]] == 7).all()


def test_an_out_that_does_not_fit() -> None:
    models = models_of()
    ensemble, x = stoop.Ensemble(models), samples(4)
    good = np.empty((len(models), 4, OUTPUTS), np.float32)
    with refused(TypeError, "float64", "expected an array of float32"):
        ensemble.predict(x, out=good.astype(np.float64))
    with refused(ValueError, "shape", r"expected \(5, 4, 3\)"):
        ensemble.predict(x, out=good[:4])
    with refused(ValueError, "not contiguous"):
        ensemble.predict(x, out=np.empty((5, OUTPUTS, 4), np.float32).transpose(0, 2, 1))
    with refused(ValueError, "not contiguous"):
        ensemble.predict(x, out=np.broadcast_to(good[0], good.shape))
    good.flags.writeable = False
    with refused(ValueError, "read-only"):
        ensemble.predict(x, out=good)
    memory = np.zeros(5 * 4 * OUTPUTS + 24, np.float32)
    with refused(ValueError, "shares memory"):
        ensemble.predict(memory[-24 - 1 : -1].reshape(4, 6), out=memory[:60].reshape(5, 4, OUTPUTS))
    wide = stoop.Ensemble([stoop.Model([stoop.Dense(64)], 64)])
    with refused(ValueError, "shares memory"):
        wide.predict(np.ones((1, 64)), out=wide[0].parameters()["0.weight"][None, :1])


# ---- means ----


def test_means_of_outputs() -> None:
    ensemble, x = stoop.Ensemble(models_of("float64")), samples(200)
    outputs = ensemble.predict(x)
    mean, std = ensemble.predict_mean(x, return_std=True)
    np.testing.assert_allclose(mean, outputs.mean(axis=0), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(std, outputs.std(axis=0), rtol=1e-13)
    assert ensemble.predict_mean(x).tobytes() == mean.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("outputs", "output"), [(3, "softmax"), (3, None), (3, "sigmoid"), (1, "sigmoid"), (1, None)])
def test_means_of_probabilities(dtype: str, outputs: int, output: str | None) -> None:
    models = heads_of(outputs, output, dtype)
    ensemble, x = stoop.Ensemble(models), samples(200)
    each = np.array([model.predict_proba(x) for model in models], np.float64)
    mean, std = ensemble.predict_proba(x, return_std=True)
    assert mean.dtype == np.dtype(dtype)
    tolerance = 40 * np.finfo(dtype).eps  # probabilities are rounded several times, with exponents up to about 10
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=tolerance)
    np.testing.assert_allclose(std, each.std(axis=0), rtol=tolerance, atol=tolerance)
    assert ensemble.predict_proba(x).tobytes() == mean.tobytes()
    logits = stoop.Ensemble(models).predict_mean(x)
    if output == "softmax":
        assert (mean.argmax(1) != logits.argmax(1)).any()  # averaging logits is something else
        assert (ensemble.predict_classes(x) == mean.argmax(1)).all()
    elif outputs > 1 and output == "sigmoid":
        assert (ensemble.predict_classes(x) == (mean > 0.5)).all()
    elif outputs == 1:
        assert (ensemble.predict_classes(x) == (mean[:, -1] > 0.5)).all()


def test_extreme_logits() -> None:
    """Probabilities beyond the range of exponentials, and small ones of the first of two classes."""
    models = heads_of(3, "softmax") + heads_of(3, "softmax")
    for model in models:
        model.parameters()["1.weight"][...] *= 1e4
    proba = stoop.Ensemble(models).predict_proba(samples(50))
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    [single] = heads_of(1, "sigmoid")[:1]
    single.parameters()["1.bias"][...] = 60
    both = stoop.Ensemble([single]).predict_proba(samples(5))
    np.testing.assert_allclose(both, single.predict_proba(samples(5)), rtol=1e-13)
    assert (both[:, 0] > 0).all()


@pytest.mark.parametrize("call", ["predict_mean", "predict_proba", "predict_gaussian"])
def test_means_have_the_same_bits_for_any_threads_and_rows(call: str) -> None:
    models = heads_of(4, "identity" if call == "predict_gaussian" else "softmax", "float32") * 3
    ensemble, x = stoop.Ensemble(models), samples(3001)
    results = []
    for threads in (1, 2, 3, 8):
        with stoop.num_threads(threads):
            whole = getattr(ensemble, call)(x)
            parts = [getattr(ensemble, call)(x[i : i + 700]) for i in range(0, 3001, 700)]
        if call == "predict_gaussian":
            whole, parts = np.concatenate(whole, axis=1), [np.concatenate(part, axis=1) for part in parts]
        results += [whole.tobytes(), np.concatenate(parts).tobytes()]
    assert len(set(results)) == 1


def test_more_outputs_than_a_block_of_them() -> None:
    """The outputs of all members are not held in memory at once."""
    models = [stoop.Model([stoop.Dense(500)], 4, i, output="softmax") for i in range(12)]
    x = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    ensemble = stoop.Ensemble(models)
    mean, std = ensemble.predict_proba(x, return_std=True)
    each = np.array([model.predict_proba(x) for model in models], np.float64)
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, each.std(axis=0), rtol=1e-3, atol=1e-7)


def test_the_mixture_of_normal_distributions() -> None:
    ensemble, x = stoop.Ensemble(heads_of(4, "identity")), samples(100)
    outputs = ensemble.predict(x)
    means, variances = outputs[:, :, :2], np.exp(outputs[:, :, 2:])
    mean, variance = ensemble.predict_gaussian(x)
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-13)
    expected = (variances + means**2).mean(axis=0) - means.mean(axis=0) ** 2
    np.testing.assert_allclose(variance, expected, rtol=1e-9)


def test_calls_that_the_outputs_do_not_allow() -> None:
    values = stoop.Ensemble(heads_of(3, "identity"))
    for call in ("predict_proba", "predict_classes", "predict_labels"):
        with refused(ValueError, rf"\[Ensemble.{call}\]", "predict_mean"):
            getattr(values, call)(samples(3))
    with refused(ValueError, "predict_gaussian", "3 outputs", "GaussianNLL"):
        values.predict_gaussian(samples(3))
    with refused(ValueError, "predict_gaussian", "softmax"):
        stoop.Ensemble(heads_of(2, "softmax")).predict_gaussian(samples(3))


def test_labels() -> None:
    named = stoop.Ensemble(heads_of(3, "softmax", classes=["ant", "bee", "cat"]))
    x = samples(50)
    assert (named.predict_labels(x) == np.array(["ant", "bee", "cat"])[named.predict_classes(x)]).all()
    assert named.classes is not None
    assert named.classes.tolist() == ["ant", "bee", "cat"]
    two = stoop.Ensemble(heads_of(1, "sigmoid", classes=[10, 20]))
    assert set(two.predict_labels(x).tolist()) == {10, 20}
    plain = stoop.Ensemble(heads_of(3, "softmax"))
    assert (plain.predict_labels(x) == plain.predict_classes(x)).all()
    with refused(ValueError, "Ensemble.predict_labels", "do not exclude each other"):
        stoop.Ensemble(heads_of(3, "sigmoid", classes=["ant", "bee", "cat"])).predict_labels(x)


@pytest.mark.parametrize("call", ["predict", "predict_mean", "predict_proba", "predict_gaussian", "predict_classes"])
def test_data_that_cannot_be_used(call: str) -> None:
    ensemble = stoop.Ensemble(models_of())
    with refused(ValueError, f"Ensemble.{call}", "6 columns"):
        getattr(ensemble, call)(samples(3)[:, :4])
    with refused(ValueError, f"Ensemble.{call}"):
        getattr(ensemble, call)(samples(0))
    x = samples(5)
    x[3, 1] = np.inf
    if call == "predict_gaussian":
        ensemble = stoop.Ensemble(heads_of(4, "identity"))
    with refused(ValueError, "Ensemble.predict", "row 3"):
        getattr(ensemble, call)(x)


# ---- threads and signals ----


def test_any_number_of_threads_at_once() -> None:
    ensemble, x = stoop.Ensemble(models_of()), samples(700)
    expected = ensemble.predict(x).tobytes(), ensemble.predict_mean(x).tobytes()
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            rows = slice(0, 700) if number % 2 else slice(0, 1)
            found = ensemble.predict(x[rows]), ensemble.predict_mean(x[rows])
            if number % 2 and (found[0].tobytes(), found[1].tobytes()) != expected:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


INTERRUPTED = """
import os, signal, threading, time
import numpy as np, stoop
stoop.set_num_threads(2)
layers = [stoop.Dense(1500, "relu"), stoop.Dense(1500), stoop.Dense(2)]
ensemble = stoop.Ensemble([stoop.Model(layers, 64, i) for i in range(8)])
x = np.ones((200_000, 64), np.float32)
for call in (ensemble.predict, ensemble.predict_mean):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        call(x)
    except KeyboardInterrupt:
        print("interrupted")
assert ensemble.predict(x[:3]).shape == (8, 3, 2)
"""


def test_ctrl_c_ends_a_prediction() -> None:
    """Each would take a minute."""
    assert run_python("-c", INTERRUPTED).stdout.split() == ["interrupted"] * 2
