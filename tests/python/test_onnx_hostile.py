"""ONNX files that are made to cost much: few bytes that stand for many operations, or for large arrays."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from stoop.export import from_onnx, to_onnx
from stoop.export.onnx import _terms, _work

onnx = pytest.importorskip("onnx")

make = onnx.helper.make_node
EYE = {"w": np.eye(2)}
LONG = np.ones(100_000)


def file_of(nodes: list[Any], arrays: dict[str, Any], texts: dict[str, str] | None = None) -> bytes:
    """The bytes of a graph from X to y."""
    value = onnx.helper.make_tensor_value_info
    inits = [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    body = onnx.helper.make_graph(nodes, "g", [value("X", 1, ["n", 2])], [value("y", 1, ["n", 2])], inits)
    proto = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(proto, texts or {})
    content: bytes = proto.SerializeToString()
    return content


def different(count: int) -> bytes:
    """A file with that many functions that are different activations."""
    nodes = []
    for place in range(count):
        product = make("MatMul", ["X" if place == 0 else f"v{place - 1}", "w"], [f"p{place}"])
        nodes += [product, make("LeakyRelu", [f"p{place}"], [f"v{place}"], alpha=0.1 + 1e-4 * place)]
    return file_of([*nodes, make("MatMul", [f"v{count - 1}", "w"], ["y"])], EYE)


def nested(count: int) -> bytes:
    """A file with functions of functions."""
    nodes, last = [], "X"
    for place in range(count):
        nodes.append(make("LeakyRelu", [last], [f"v{place}"], alpha=0.1 + 1e-4 * place))
        last = f"v{place}"
    return file_of([*nodes, make("MatMul", [last, "w"], ["y"])], EYE)


def bending(count: int) -> bytes:
    """A file with functions of many parts that bend at many places, and come to nothing in the end."""
    arrays = EYE | {f"c{i}": np.float32(i - 20.5) for i in range(15)} | {"zero": np.float32(0)}
    nodes = [make("MatMul", ["X", "w"], ["y0"])]
    for place in range(count):
        last = f"y{place}"
        for i in range(10):
            name = f"{place}_{i}"
            nodes += [
                make("Sub", [f"y{place}", f"c{(i + place) % 15}"], [f"s{name}"]),
                make("Abs", [f"s{name}"], [f"a{name}"]),
                make("Mul", [f"a{name}", "zero"], [f"m{name}"]),
                make("Add", [last, f"m{name}"], [f"t{name}"]),
            ]
            last = f"t{name}"
        arrays[f"k{place}"] = np.float32(1 + 1e-3 * place)
        nodes += [
            make("Mul", [last, f"k{place}"], [f"n{place}"]),
            make("MatMul", [f"n{place}", "w"], [f"y{place + 1}"]),
        ]
    return file_of([*nodes, make("Relu", [f"y{count}"], ["y"])], arrays)


@pytest.fixture
def recognised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every function that is compared with the activations."""
    calls: list[Any] = []
    layer_of = _terms.layer_of
    monkeypatch.setattr(_terms, "layer_of", lambda samples: calls.append(1) or layer_of(samples))
    return calls


def test_functions_of_one_structure_are_recognised_once(recognised: list[Any], tmp_path: Path) -> None:
    counts = []
    for layers in (3, 60):
        model = stoop.Model([stoop.Dense(2, "mish") for _ in range(layers)], 2)
        to_onnx(model, tmp_path / "m.onnx")
        file = onnx.load(tmp_path / "m.onnx")
        del file.metadata_props[:]
        (tmp_path / "m.onnx").write_bytes(file.SerializeToString())
        recognised.clear()
        assert from_onnx(tmp_path / "m.onnx").layers == from_onnx(tmp_path / "m.onnx").layers
        counts.append(len(recognised))
    assert counts[0] == counts[1]


def test_functions_that_differ_by_a_number_are_different(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(different(20))
    layers: Any = from_onnx(tmp_path / "m.onnx").layers
    assert len({layer.activation.negative_slope for layer in layers[:-1]}) == 20


def test_functions_that_take_long_to_recognise_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(bending(80))
    with pytest.raises(ValueError, match="too many, or too hard to recognise; expected a network whose"):
        from_onnx(tmp_path / "m.onnx")


def test_a_network_of_many_different_functions_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(different(150))
    assert len(from_onnx(tmp_path / "m.onnx").layers) == 151
    (tmp_path / "m.onnx").write_bytes(nested(500))
    assert from_onnx(tmp_path / "m.onnx").output_dim == 2


def chained(operator: str, count: int, **attributes: Any) -> list[Any]:
    return [make(operator, [f"k{i}"], [f"k{i + 1}"], **attributes) for i in range(count)]


RELU = [make("MatMul", ["X", "w"], ["a"]), make("Relu", ["a"], ["y"])]
TOO_MUCH: dict[str, tuple[Callable[[], bytes], str]] = {
    "constants of constants": (
        lambda: file_of([*(make("Add", ["c", "c"], [f"d{i}"]) for i in range(300)), *RELU], EYE | {"c": LONG}),
        "arrays of several times its size",
    ),
    "constants of another type": (
        lambda: file_of([*(make("Cast", ["c"], [f"d{i}"], to=11) for i in range(300)), *RELU], EYE | {"c": LONG}),
        "arrays of several times its size",
    ),
    "scaled weights": (
        lambda: file_of(
            [*(make("Gemm", ["X", "c"], [f"d{i}"], alpha=2.0) for i in range(300)), *RELU],
            EYE | {"c": LONG.reshape(2, -1)},
        ),
        "arrays of several times its size",
    ),
    "scales of a wide value": (
        lambda: file_of(
            [make("MatMul", ["X", "u"], ["b"]), *(make("Mul", ["b", "c"], [f"d{i}"]) for i in range(300)), *RELU],
            EYE | {"c": LONG, "u": np.ones((2, len(LONG)))},
        ),
        "arrays of several times its size",
    ),
    "lists of labels": (
        lambda: file_of(
            [
                make("MatMul", ["X", "w"], ["a"]),
                make("ArgMax", ["a"], ["k"], axis=1),
                *(make("ArrayFeatureExtractor", ["c", "k"], [f"d{i}"], domain="ai.onnx.ml") for i in range(3000)),
                make("Relu", ["a"], ["y"]),
            ],
            EYE | {"c": LONG[:10_000]},
        ),
        "arrays of several times its size",
    ),
    "names of classes that are many objects": (
        lambda: file_of(RELU, EYE, {"stoop.classes": '{"names":[' + "{}," * 10**6 + '{}],"dtype":"str"}'}),
        "stoop.classes is",
    ),
    "an operator of many inputs": (
        lambda: file_of([make("Max", ["X"] * 20_000, ["a"]), make("MatMul", ["a", "w"], ["y"])], EYE),
        "20000 inputs",
    ),
    "labels of labels": (
        lambda: file_of([make("MatMul", ["X", "w"], ["k0"]), *chained("ArgMax", 3000, axis=1)], EYE),
        r"\(ArgMax\) has an input that is no value of the network",
    ),
}


@pytest.mark.parametrize("tells_layers", [True, False])
def test_a_deep_network_comes_back(tells_layers: bool, tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(26, "relu") for _ in range(1600)], 26)
    to_onnx(model, tmp_path / "m.onnx")
    if not tells_layers:
        file = onnx.load(tmp_path / "m.onnx")
        del file.metadata_props[:]
        (tmp_path / "m.onnx").write_bytes(file.SerializeToString())
    again = from_onnx(tmp_path / "m.onnx")
    assert isinstance(again, stoop.Model)
    assert len(again.layers) == 1600
    assert again.state_dict()["1599.weight"].tobytes() == model.state_dict()["1599.weight"].tobytes()


@pytest.mark.parametrize("operator", ["MatMul", "LayerNormalization"])
def test_a_large_file_may_have_more_nodes(operator: str, tmp_path: Path) -> None:
    size, more = 1_000_000, ["w", "w"] if operator == "LayerNormalization" else ["w"]
    most = (50_000 + size // 64) // (12 + len(more))
    arrays = {"w": np.eye(2) if operator == "MatMul" else np.ones(2), "rest": np.zeros(size // 4)}
    for count, is_read in ((most - 20, True), (most + 400, False)):
        names = ["X", *(f"{place:x}_" for place in range(count - 1)), "last"]
        nodes = [make(operator, [names[place], *more], [names[place + 1]]) for place in range(count)]
        content = file_of([*nodes, make("MatMul", ["last", "square"], ["y"])], arrays | {"square": np.eye(2)})
        (tmp_path / "m.onnx").write_bytes(content)
        tracemalloc.start()
        try:
            if is_read:
                assert from_onnx(tmp_path / "m.onnx").output_dim == 2
            else:
                with pytest.raises(ValueError, match=r"it has more than \d\d,\d{3} names, attributes and the like"):
                    from_onnx(tmp_path / "m.onnx")
            assert tracemalloc.get_traced_memory()[1] <= 10 * len(content) + 2**24
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", TOO_MUCH)
def test_files_that_ask_for_too_much(name: str, tmp_path: Path) -> None:
    content, text = TOO_MUCH[name][0](), TOO_MUCH[name][1]
    (tmp_path / "m.onnx").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=text):
            from_onnx(tmp_path / "m.onnx")
        assert tracemalloc.get_traced_memory()[1] <= 10 * len(content) + 2**24
    finally:
        tracemalloc.stop()


def test_many_texts_are_set_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sets = []
    kept = stoop._metadata.Metadata.set  # type: ignore[attr-defined]
    monkeypatch.setattr(stoop._metadata.Metadata, "set", lambda self, texts: sets.append(1) or kept(self, texts))  # type: ignore[attr-defined]
    (tmp_path / "m.onnx").write_bytes(file_of(RELU, EYE, {f"text {i}": "" for i in range(3000)}))
    assert len(from_onnx(tmp_path / "m.onnx").metadata) == 3000
    assert len(sets) == 1


def test_one_long_class_takes_no_room_of_the_others(tmp_path: Path) -> None:
    classes = [*map(str, range(1, 3000)), "x" * 200_000]
    nodes = [
        make("MatMul", ["X", "w"], ["a"]),
        make("Softmax", ["a"], ["p"]),
        make("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_strings=classes),
    ]
    content = file_of(nodes, {"w": np.ones((2, 3000))})
    (tmp_path / "m.onnx").write_bytes(content)
    tracemalloc.start()
    try:
        found = from_onnx(tmp_path / "m.onnx").classes
        assert found is not None
        assert found.tolist() == classes
        assert tracemalloc.get_traced_memory()[1] <= 10 * len(content) + 2**24
    finally:
        tracemalloc.stop()


def test_sums_look_no_further_back_than_they_must(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps: list[int] = []
    spend = _work.spend
    module = "stoop.export.onnx._operators.spend"
    monkeypatch.setattr(module, lambda elements, each=1: (steps.append(elements), spend(elements, each)))
    nodes, last = [], "X"
    for place in range(400):
        nodes += [make("MatMul", [last, "w"], [f"a{place}"]), make("Add", [last, f"a{place}"], [f"b{place}"])]
        last = f"b{place}"
    (tmp_path / "m.onnx").write_bytes(file_of([*nodes, make("MatMul", [last, "w"], ["y"])], EYE))
    from_onnx(tmp_path / "m.onnx")
    assert max(steps) <= 2


def test_numbers_that_are_alike_are_named_without_a_search() -> None:
    graph = stoop.export.onnx._graph.Graph(np.dtype(np.float64))
    shown: list[Any] = []

    class Names(dict[str, Any]):
        def __contains__(self, name: object) -> bool:
            shown.append(name)
            return super().__contains__(name)

    graph.arrays = Names()
    names = [graph.scalar(1.0 + 1e-12 * place) for place in range(300)]
    assert names[:3] == ["number 1", "number 1_2", "number 1_3"]
    assert len(set(names)) == 300
    assert [graph.scalar(1.0 + 1e-12 * place) for place in range(300)] == names
    assert len(shown) <= 600
