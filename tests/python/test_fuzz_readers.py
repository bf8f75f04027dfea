"""Whatever bytes the readers of Python get, they end in a result or in an error that their documentation names."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from export_cases import model_of
from hostile import changed_metadata, metadata_of, with_right_sum
from mutations import MessageMutations, Mutations, bytes_of, fields_of

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden"

FEW, MANY = 1000, 20_000
COUNTS = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


def fuzz(
    draws: Callable[[], bytes], mutations: Mutations, read: Callable[[bytes], Any], allowed: Any, count: int
) -> int:
    """Read `count` draws, and return how many of them were accepted."""
    accepted = longest = 0
    for _ in range(count):
        content = draws()
        try:
            read(content)
        except allowed as error:
            longest = max(longest, len(str(error)))
        except BaseException:
            print(f"the input: {content!r}")
            raise
        else:
            accepted += 1
            mutations.keep(content)
    assert longest < 3000
    return accepted


# ---- IDX ----


def idx(array: Any, code: int) -> bytes:
    shape = b"".join(struct.pack(">I", count) for count in array.shape)
    return bytes([0, 0, code, array.ndim]) + shape + array.tobytes()


@COUNTS
def test_idx(count: int, tmp_path: Path) -> None:
    images = idx(np.arange(60, dtype=np.uint8).reshape(5, 3, 4), 0x08)
    values = idx(np.arange(4, dtype=">f4"), 0x0D)
    mutations = Mutations([images, values, gzip.compress(images, mtime=0), gzip.compress(values, mtime=0)])
    path = tmp_path / "data.idx"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        assert stoop.data.load_idx(path).nbytes <= 1032 * len(content)

    assert fuzz(mutations.bytes, mutations, read, ValueError, count) > count // 50


# ---- tables ----

TABLE = "mass,legs,color\n1.5,2,red\n2.25,4,blue\n,3,\n7,1,red\n0.5,2,green\n"


@COUNTS
def test_tables(count: int, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    from stoop._tables._reading import read_table

    mutations = Mutations([TABLE.encode(), TABLE.replace(",", ";").encode(), gzip.compress(TABLE.encode(), mtime=0)])
    path = tmp_path / "table.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_table(path)

    for draw in (mutations.bytes, mutations.text):
        assert fuzz(draw, mutations, read, ValueError, count // 8) > count // 200


# ---- safetensors files: their metadata ----


def changed_table(content: bytes, text: str) -> bytes:
    """Change what an estimator keeps of its table, which is a text within the metadata of its model."""
    model = json.loads(metadata_of(content, "stoop.model"))
    model["metadata"]["stoop.table"] = text
    return changed_metadata(content, "stoop.model", json.dumps(model))


@pytest.mark.parametrize("name", ["classifier", "regressor"])
@COUNTS
def test_estimators_of_tables(count: int, name: str, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    tabular = pytest.importorskip("stoop.tabular")
    content = (GOLDEN / "0.1" / "tabular" / f"{name}.safetensors").read_bytes()
    frame = pd.DataFrame(json.loads((GOLDEN / "0.1" / "expected.json").read_text())[f"tabular/{name}"]["X"])
    path = tmp_path / "model.safetensors"
    table = json.loads(metadata_of(content, "stoop.model"))["metadata"]["stoop.table"]
    mutations = Mutations([table.encode()])

    def read(text: bytes) -> None:
        path.write_bytes(changed_table(content, text.decode("utf-8", "replace")))
        tabular.load(path).predict(frame)

    assert fuzz(mutations.text, mutations, read, (ValueError, stoop.CheckpointError), count // 4) > count // 500


@pytest.mark.parametrize("key", ["stoop.extras", "stoop.training", "stoop.model"])
@COUNTS
def test_checkpoints(count: int, key: str, tmp_path: Path) -> None:
    content = (GOLDEN / "0.1" / "checkpoint" / "adam-float32.safetensors").read_bytes()
    mutations = Mutations([metadata_of(content, key)])
    path = tmp_path / "checkpoint.safetensors"

    def read(text: bytes) -> None:
        with_right_sum(path, changed_metadata(content, key, text.decode("utf-8", "replace")))
        trainer = stoop.load_checkpoint(path)
        str(trainer.history)
        trainer.model.predict(np.zeros((2, 4)))

    assert fuzz(mutations.text, mutations, read, stoop.CheckpointError, count // 3) > 0


@COUNTS
def test_models(count: int, tmp_path: Path) -> None:
    """What the core does with them is fuzzed in C++; here are the objects that Python makes of a model."""
    files = [path.read_bytes() for path in sorted((GOLDEN / "0.1" / "model").iterdir())]
    path = tmp_path / "model.safetensors"
    mutations = Mutations([metadata_of(content, "stoop.model") for content in files])

    def read(text: bytes) -> None:
        for content in files[:2]:
            path.write_bytes(changed_metadata(content, "stoop.model", text.decode("utf-8", "replace")))
            try:
                model = stoop.load_model(path)
            except stoop.CheckpointError as error:
                refused = error
            else:
                repr((model, model.layers, model.classes, dict(model.metadata)))
                return
        raise refused

    fuzz(mutations.text, mutations, read, stoop.CheckpointError, count // 2)


# ---- ONNX ----

CORPUS = TESTS / "fuzz" / "corpus" / "onnx"
ONNX_CASES = ("odd sizes", "scale of the input", "batch norm elsewhere", "layer norm", "residual with projection")
ONNX_CASES += (
    "nested residuals",
    "normalization with gaps",
    "activation gelu",
    "activation mish",
    "dense with softplus",
)
WORDS = ["X", "Y", "", "Identity", "Constant", "Reshape", "Transpose", "Concat", "Where", "Clip", "Max", "Pow", "Cast"]
WORDS += [
    "Gelu",
    "Elu",
    "Scaler",
    "ZipMap",
    "ArgMax",
    "LabelEncoder",
    "ArrayFeatureExtractor",
    "Softmax",
    "alpha",
    "to",
]


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files that `to_onnx` writes, and those that were once found to do harm."""
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    files = []
    for i, case in enumerate(ONNX_CASES):
        stoop.export.to_onnx(model_of(case), path, activation="sigmoid" if i % 2 else "softmax")
        files.append(path.read_bytes())
    assert all(bytes_of(fields_of(content, "model")) == content for content in files)
    return files + [file.read_bytes() for file in sorted(CORPUS.glob("*"))]


@pytest.mark.parametrize("draw", ["message", "bytes"])
@COUNTS
def test_onnx(count: int, draw: str, onnx_files: list[bytes], tmp_path: Path) -> None:
    mutations = MessageMutations(onnx_files, WORDS)
    path = tmp_path / "model.onnx"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        model = stoop.export.from_onnx(path)
        assert tracemalloc.get_traced_memory()[1] - before < 10 * len(content) + 2**24
        model.predict(np.zeros((2, model.input_dim)))

    tracemalloc.start()
    try:
        assert fuzz(getattr(mutations, draw), mutations, read, (ValueError, TypeError), count // 8) > count // 250
    finally:
        tracemalloc.stop()
