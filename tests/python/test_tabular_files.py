"""The file of an estimator of stoop.tabular: the same bits again, no program in it, and `stoop predict`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from commands import Command
from helpers import refused

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from stoop.tabular import TabularClassifier, TabularRegressor, load  # noqa: E402
from test_tabular_frames import SMALL, frame_of, target_of  # noqa: E402

KEY = "stoop.table"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    frame = frame_of()
    labels = np.where(target_of(frame) > 70, "heavy", "light")
    model = TabularClassifier(**SMALL, class_weight={"heavy": 2.0}, max_time="5m").fit(frame, labels)
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    model.save(path)
    return model, path, frame


def test_a_classifier_is_the_same_again(saved: Any) -> None:
    model, path, frame = saved
    again = load(path)
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(again.predict(frame[frame.columns[::-1]]), model.predict(frame))
    assert type(again) is TabularClassifier
    assert again.get_params() == {**model.get_params(), "max_time": 300.0}
    assert again.classes_.tolist() == ["heavy", "light"]
    assert again.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    assert (again.n_features_in_, again.best_epoch_) == (5, model.best_epoch_)
    with refused(AttributeError, "no rows"):
        _ = again.feature_importances_


@pytest.mark.parametrize("encoding", ["periodic", "none", "ple_linear"])
def test_other_encodings(encoding: str, tmp_path: Path) -> None:
    frame = frame_of()
    target = target_of(frame)
    model = TabularRegressor(**{**SMALL, "encoding": encoding, "epochs": 20}, embedding_dim=4).fit(frame, target)
    assert model.score(frame, target) > 0.5
    assert model.model_.layers[0].encoding == encoding
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "m.safetensors").predict(frame), model.predict(frame))


@pytest.mark.parametrize("labels", [[3, 5], [False, True], [1.0, 2.0]])
def test_labels_keep_their_type(labels: list[Any], tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(120, 3))
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    model = TabularClassifier(**SMALL, class_weight={labels[0]: 3.0}).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.classes_.dtype == y.dtype
    assert again.class_weight == {labels[0]: 3.0}
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("mean", [0.0, 1e9])
def test_a_regressor_is_the_same_again(outputs: int, mean: float, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(150, 3))
    y = mean + X[:, :outputs] if outputs > 1 else mean + X[:, 0]
    model = TabularRegressor(**SMALL).fit(X, y)
    importances = model.feature_importances_
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.feature_importances_, importances)
    assert not hasattr(again, "feature_names_in_")
    again.fit(X, y)  # a loaded one can be trained anew
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_subclass_is_read_as_what_it_derives_from(tmp_path: Path) -> None:
    class Mine(TabularRegressor):
        def __init__(self, hidden: Any = (4,), extra: int = 3) -> None:
            super().__init__(hidden=hidden, epochs=2, members=2)
            self.extra = extra

    frame = frame_of(100)
    model = Mine().fit(frame, target_of(frame))
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert type(again) is TabularRegressor
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_a_failed_save_leaves_the_old_file(saved: Any, tmp_path: Path) -> None:
    model, _, _ = saved
    path = tmp_path / "model.safetensors"
    model.save(path)
    old = path.read_bytes()
    (tmp_path / "full").mkdir()
    with pytest.raises(OSError):
        model.save(tmp_path / "full")
    frame = pd.DataFrame({"x": np.repeat([f"{i:03d}" * 3000 for i in range(900)], 2), "z": np.arange(1800.0)})
    long = TabularRegressor(**{**SMALL, "epochs": 1}, embedding_dim=1).fit(frame, frame["z"])
    with refused(ValueError, "metadata of"):
        long.save(path)
    assert path.read_bytes() == old


def test_messages_are_those_of_an_estimator(saved: Any) -> None:
    model, path, frame = saved
    frame = frame[:3].astype({"mass": object})
    frame.loc[frame.index[1], "mass"] = "heavy"
    for estimator in (model, load(path)):
        with refused(ValueError, 'column "mass" has "heavy" at row 2', "make them missing, or leave") as caught:
            estimator.predict(frame)
        assert "--" not in str(caught.value)


def test_a_model_is_plain_without_the_table(saved: Any) -> None:
    model, path, frame = saved
    plain = stoop.load_model(path)
    np.testing.assert_array_equal(plain.predict_labels(model.encode(frame)), model.predict(frame))
    assert KEY not in model.model_.metadata


# ---- files that are not as they should be ----


def test_other_files_are_refused(saved: Any, tmp_path: Path) -> None:
    _, path, _ = saved
    stoop.Model([stoop.Dense(2)], 3).save(tmp_path / "plain.safetensors")
    with refused(ValueError, "no table"):
        load(tmp_path / "plain.safetensors")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.safetensors")
    data = path.read_bytes()
    for end in (0, 7, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.safetensors").write_bytes(data[:end])
        with pytest.raises((ValueError, stoop.CheckpointError)):
            load(tmp_path / "cut.safetensors")


def changed(path: Path, to: Path, change: Any) -> Path:
    model = stoop.load_model(path)
    state = json.loads(model.metadata[KEY])
    text = change(state)
    model.metadata[KEY] = text if isinstance(text, str) else json.dumps(state)
    model.save(to)
    return to


def _set(*keys: Any) -> Any:
    *path, last, value = keys

    def change(state: Any) -> None:
        for key in path:
            state = state[key]
        state[last] = value

    return change


ESTIMATOR = ("training", "estimator")
HOSTILE = {
    "no JSON": lambda state: "{",
    "a list": lambda state: "[]",
    "a number": lambda state: "7",
    "deep": lambda state: "[" * 100_000,
    "another class": _set(*ESTIMATOR, "class", "os.system"),
    "a class that is no text": _set(*ESTIMATOR, "class", ["x"]),
    "another argument": _set(*ESTIMATOR, "parameters", "code", "import os"),
    "no arguments": _set(*ESTIMATOR, "parameters", None),
    "an estimator that is none": _set(*ESTIMATOR[:1], "estimator", 5),
    "fewer columns": _set("columns", []),
    "columns that are none": _set("columns", 3),
    "another kind": _set("columns", 0, "kind", "pickle"),
    "a name that is none": _set("columns", 0, "name", 4),
    "categories that are no text": _set("columns", 2, "categories", [1, 2, 3]),
    "categories that are none": _set("columns", 2, "categories", None),
    "more categories": _set("columns", 2, "categories", ["a", "b", "c", "d", "e"]),
    "a mark that is none": _set("columns", 0, "has_missing", "no"),
    "other names": _set(*ESTIMATOR, "features", ["a"]),
    "names that are no text": _set(*ESTIMATOR, "features", [1, 2, 3, 4, 5]),
    "a scale that is none": _set("training", "target_scale", ["a", 1]),
    "a scale without numbers": _set("training", "target_scale", [None]),
    "an epoch that is none": _set(*ESTIMATOR, "best_epoch", "first"),
    "importances that are none": _set(*ESTIMATOR, "importances", ["a"]),
    "too few importances": _set(*ESTIMATOR, "importances", [1.0]),
    "a later version": _set("version", 99),
    "a version that is none": _set("version", "x"),
    "another task": _set("target", "task", "regression"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str, saved: Any, tmp_path: Path) -> None:
    path = changed(saved[1], tmp_path / "m.safetensors", HOSTILE[name])
    with refused(ValueError):
        load(path)


def test_a_file_that_is_not_changed_loads(saved: Any, tmp_path: Path) -> None:
    model, path, frame = saved
    same = load(changed(path, tmp_path / "m.safetensors", lambda state: None))
    np.testing.assert_array_equal(same.predict(frame), model.predict(frame))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("categorical", pd.Index(["legs"]), ["legs"]), ("categorical", {"legs"}, ["legs"]),
        ("categorical", pd.Series(["legs", "mass"]), ["legs", "mass"]), ("categorical", range(1, 2), [1]),
        ("categorical", np.arange(5) == 1, [False, True, False, False, False]),
        ("hidden", range(8, 10), (8, 9)), ("hidden", np.array([8, 9]), (8, 9)), ("hidden", np.int64(8), 8),
        ("dtype", np.float64, "float64"), ("dtype", np.dtype("float32"), "float32"),
    ],
)  # fmt: skip
def test_what_fit_takes_is_saved(name: str, value: Any, expected: Any, tmp_path: Path) -> None:
    frame = frame_of()
    model = TabularRegressor(**{**SMALL, "epochs": 2, name: value}).fit(frame, target_of(frame))
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.get_params()[name] == expected
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    again.fit(frame, target_of(frame))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_importances_that_cannot_be_measured_are_saved(tmp_path: Path) -> None:
    frame = frame_of()
    y = target_of(frame)
    model = TabularRegressor(**SMALL).fit(frame, y, validation_data=(frame[:1], y[:1]))
    with pytest.warns(UserWarning, match="R.2 score is not well-defined"):
        assert np.isnan(model.feature_importances_).all()
    model.save(tmp_path / "m.safetensors")
    assert np.isnan(load(tmp_path / "m.safetensors").feature_importances_).all()


# ---- the command line ----


def test_the_command_predicts(command: Command, saved: Any, tmp_path: Path) -> None:
    model, path, _ = saved
    rows = frame_of(30, 5)
    rows.loc[3, "color"] = "violet"  # unknown
    rows.to_csv(tmp_path / "rows.csv", index=False)
    done = command("predict", path, tmp_path / "rows.csv", "--proba")
    lines = list(csv.reader(done.out.splitlines()))
    assert lines[0] == ["prediction", "probability of heavy", "probability of light"]
    assert [line[0] for line in lines[1:]] == model.predict(rows).tolist()
    found = np.array([line[1:] for line in lines[1:]], float)
    np.testing.assert_allclose(found, model.predict_proba(rows), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_command_predicts_values(command: Command, outputs: int, tmp_path: Path) -> None:
    frame = frame_of()
    y = target_of(frame).rename("sum")
    model = TabularRegressor(**SMALL).fit(frame, y if outputs == 1 else np.column_stack([y, -y]))
    model.save(tmp_path / "m.safetensors")
    frame.assign(sum=y).to_csv(tmp_path / "rows.csv", index=False)
    given = ["--unknown", "ignore"] if outputs == 2 else []
    done = command("predict", tmp_path / "m.safetensors", tmp_path / "rows.csv", *given)
    lines = list(csv.reader(done.out.splitlines()))
    found = np.array(lines[1:], float)
    assert lines[0] == (["prediction"] if outputs == 1 else ["prediction 0", "prediction 1"])
    np.testing.assert_allclose(found, model.predict(frame).reshape(len(frame), -1), rtol=1e-6)
    assert ("r2" in done.err) == (outputs == 1)


def test_the_command_scores_the_target_alone(command: Command, tmp_path: Path) -> None:
    frame = frame_of()
    y = target_of(frame)
    tables = {
        "two values": (frame, np.column_stack([y, -y]), frame.assign(target=y)),
        "an input": (frame.rename(columns={"mass": "target"}), y.to_numpy(), frame.rename(columns={"mass": "target"})),
    }
    for name, (X, target, rows) in tables.items():
        TabularRegressor(**SMALL).fit(X, target).save(tmp_path / "m.safetensors")
        rows.to_csv(tmp_path / "rows.csv", index=False)
        given = ["predict", tmp_path / "m.safetensors", tmp_path / "rows.csv", "--json"]
        assert command(*given).result["scores"] is None, name


def test_the_command_names_unknown_categories(command: Command, saved: Any, tmp_path: Path) -> None:
    rows = frame_of(30, 5)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert "not seen" not in command("predict", saved[1], tmp_path / "rows.csv").err
    rows.loc[3, "color"] = "violet"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert 'categories that training has not seen: "color"' in command("predict", saved[1], tmp_path / "rows.csv").err


@pytest.mark.parametrize(
    "cells", [pd.date_range("2026-11-29", periods=3), [0.1, 1e20, 3.0], np.float32([0.1, 2e-7, 3e16])], ids=str
)
def test_categories_in_a_text_file_are_those_of_the_frame(command: Command, cells: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.tile(cells, 40), "number": np.arange(120) % 7})
    model = TabularRegressor(**SMALL, categorical=["x"]).fit(frame, np.arange(120.0) % 3)
    model.save(tmp_path / "m.safetensors")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    done = command("predict", tmp_path / "m.safetensors", tmp_path / "rows.csv")
    assert "not seen" not in done.err
    np.testing.assert_allclose(np.array(done.out.split()[1:], float), model.predict(frame), rtol=1e-6)


def test_the_diagnosis_is_of_other_files(command: Command, saved: Any, tmp_path: Path) -> None:
    frame_of().to_csv(tmp_path / "rows.csv", index=False)
    assert "stoop.tabular made" in command.refused("diagnose", saved[1], tmp_path / "rows.csv")
