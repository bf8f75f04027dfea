"""Files of any origin: what they cost to read, and which are refused."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import shutil
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoop
from helpers import bits, refused, run_python

MIB = 1 << 20

# Put before what is to be measured: `limit(n)` lets the process have n MiB more, `grown()` is what it has taken since.
MEASURE = """
import resource, sys, stoop
def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) // 1024
def limit(mib):
    size = (status("VmSize") + mib) << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
start = status("VmHWM")
def grown():
    return status("VmHWM") - start
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def make_model(units: int = 3, seed: int = 0, dtype: str = "float32") -> Any:
    return stoop.Model([stoop.Dense(5, "relu"), stoop.BatchNorm(), stoop.Dense(units)], 4, seed=seed, dtype=dtype)


def write_file(path: Path, header: str | bytes, data: bytes = b"") -> None:
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def header_with(config: str, tensors: str = '"0.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}') -> str:
    metadata = json.dumps({"stoop.format": "1", "stoop.model": config})
    return f'{{"__metadata__":{metadata},{tensors}}}'


def config_with(layers: str) -> str:
    return f'{{"input_dim":4,"seed":0,"layers":[{layers}]}}'


def cpu_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


# ---- what reading costs ----

HOSTILE_LAYERS = {
    "objects": "{}",
    "arrays": "[]",
    "numbers": "1",
    "layers": '{"type":"relu"}',
    "objects of objects": '{"a":{}}',
}


@pytest.mark.parametrize("layer", HOSTILE_LAYERS)
def test_hostile_json_is_refused_at_once(layer: str) -> None:
    """It took a time that grew with the square of the text: 20 seconds for this much."""
    text = config_with(",".join([HOSTILE_LAYERS[layer]] * (1_200_000 // (len(HOSTILE_LAYERS[layer]) + 1))))

    def parse() -> None:
        with refused(ValueError, "model"):
            stoop._core.ModelFloat32(text)

    assert cpu_seconds(parse) < 2.0


def test_all_of_a_long_model_takes_time_in_proportion(tmp_path: Path) -> None:
    def seconds(count: int) -> list[float]:
        times: list[float] = []

        def timed(call: Callable[[], Any]) -> Any:
            results: list[Any] = []
            times.append(cpu_seconds(lambda: results.append(call())))
            return results[0]

        layers = [stoop.Dense(1, "relu"), stoop.Residual([stoop.Dense(1)]), stoop.LayerNorm()] * (count // 3)
        model = timed(lambda: stoop.Model(layers, input_dim=1))
        timed(lambda: model.save(tmp_path / "long.safetensors"))
        timed(lambda: stoop.load_model(tmp_path / "long.safetensors"))
        timed(model.summary)
        timed(model.fold_batch_norm)
        trainer = stoop.Trainer(model, loss="mse")
        timed(lambda: trainer.step(np.ones((2, 1)), np.ones((2, 1))))
        return times

    seconds(300)
    few, many = seconds(1500), seconds(12000)
    for name, short, long in zip(("build", "save", "load", "summary", "fold", "step"), few, many):
        assert long < 24 * max(short, 0.02), f"{name}: {short} s for 1,500 layers, {long} s for 12,000"


@linux
def test_a_large_header_costs_memory_in_proportion(tmp_path: Path) -> None:
    """It took eleven times its size."""
    entry = '"layers.{}.weight":{{"dtype":"F32","shape":[1,1],"data_offsets":[{},{}]}}'
    header = "{" + ",".join(entry.format(i, 4 * i, 4 * i + 4) for i in range(320_000)) + "}"
    path = tmp_path / "large.safetensors"
    write_file(path, header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + 4 * 320_000)
    code = MEASURE + "try: stoop.load_model(sys.argv[1])\nexcept stoop.CheckpointError: print(grown())"
    assert int(run_python("-c", code, path).stdout) < 4 * len(header) / MIB


@linux
@pytest.mark.parametrize("piece", ['"a":0', "[]", '{"type":"relu"}', '{"type":"residual","layers":[]}'])
def test_what_a_text_unfolds_to_is_limited(tmp_path: Path, piece: str) -> None:
    path = tmp_path / "many.safetensors"
    many = ",".join([piece] * (40 * MIB // len(piece)))
    write_file(path, header_with(many if piece == '"a":0' else config_with(many)))
    code = MEASURE + "limit(600)\ntry: stoop.load_model(sys.argv[1])\nexcept stoop.CheckpointError: print('refused')"
    assert run_python("-c", code, path).stdout == "refused\n"


@linux
@pytest.mark.parametrize("endless", ['{"a', '{"a\\\\\\"', '{"a":1', "[t"])
def test_a_token_without_end_costs_memory_in_proportion(tmp_path: Path, endless: str) -> None:
    path = tmp_path / "endless.safetensors"
    write_file(path, endless + "1" * (90 * MIB))
    code = MEASURE + "try: stoop.load_model(sys.argv[1])\nexcept stoop.CheckpointError: print(grown())"
    assert int(run_python("-c", code, path).stdout) < 3 * 90


@linux
@pytest.mark.parametrize("metadata", ['"format":"pt"', '"stoop.format":"2","stoop.model":"{}"'])
def test_a_foreign_file_is_refused_before_its_data_is_read(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "foreign.safetensors"
    size = 4 << 30
    tensor = f'{{"dtype":"F32","shape":[{size // 4}],"data_offsets":[0,{size}]}}'
    header = f'{{"__metadata__":{{{metadata}}},"w":{tensor}}}'
    write_file(path, header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + size)  # sparse
    code = MEASURE + "limit(100)\ntry: stoop.load_model(sys.argv[1])\nexcept stoop.CheckpointError: print(grown())"
    assert int(run_python("-c", code, path).stdout) < 50


@linux
def test_a_model_is_read_into_its_place(tmp_path: Path) -> None:
    """It took twice the memory of the file."""
    path = tmp_path / "wide.safetensors"
    stoop.Model([stoop.Dense(5000, kernel_init="zeros")], input_dim=5000).save(path)
    code = MEASURE + "model = stoop.load_model(sys.argv[1]); print(grown())"
    assert int(run_python("-c", code, path).stdout) < 1.3 * path.stat().st_size / MIB


def test_a_file_that_changes_its_dtype_is_one_or_the_other(tmp_path: Path) -> None:
    """It was opened twice: for its dtype, then for its content."""
    path, stop = tmp_path / "m.safetensors", threading.Event()
    sources = [tmp_path / "single", tmp_path / "double"]
    for source, dtype in zip(sources, ("float32", "float64")):
        make_model(dtype=dtype).save(source)
    shutil.copy(sources[0], path)

    def replace() -> None:
        for source in itertools.cycle(sources):
            os.link(source, tmp_path / "next")
            (tmp_path / "next").replace(path)
            if stop.is_set():
                return

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(2000):
            stoop.load_model(path)
    finally:
        stop.set()
        writer.join()


# ---- what is no model file ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_cut_at_every_byte(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "m.safetensors"
    make_model(dtype=dtype).save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with refused(stoop.CheckpointError, "m.safetensors"):
            stoop.load_model(path)


FUZZ = """
import random
content, path, done = open(sys.argv[1], "rb").read(), sys.argv[2], {}
rng = random.Random(int(sys.argv[3]))
PIECES = [b"1", b"9" * 30, b"-", b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"1e999", b"\\\\u0000", b"\\0",
          b"\\xff", b"\\xef\\xbb\\xbf", b"[" * 50, b'{"a":' * 30, b'"0.weight":', b"F64", b"99999999", b"type"]
limit(300)
for _ in range(1500):
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(damaged)) if rng.random() < 0.3 else rng.randrange(min(1200, len(damaged)))
        until = min(len(damaged), at + rng.choice([0, 0, 1, 4, 40]))
        damaged[at:until] = rng.choice([b"", bytes([rng.randrange(256)]), rng.choice(PIECES), damaged[at:until] * 2])
    if rng.random() < 0.7:  # else the length is most often wrong, and nothing but that is tried
        damaged[:8] = (int.from_bytes(content[:8], "little") + len(damaged) - len(content)).to_bytes(8, "little")
    with open(path, "wb") as file:
        file.write(damaged)
    try:
        stoop.load_model(path)
        kind = "loaded"
    except stoop.CheckpointError as error:
        assert path in str(error), error
        kind = "refused"
    done[kind] = done.get(kind, 0) + 1
print(done["refused"], grown())
"""


@linux
@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_cost_an_error_and_nothing_else(tmp_path: Path, seed: int) -> None:
    layers = [stoop.Residual([stoop.Dense(4, "elu"), stoop.LayerNorm()]), stoop.BatchNorm(), stoop.Dense(2)]
    stoop.Model(layers, input_dim=4, input_scale=0.5).save(tmp_path / "good")
    done = run_python("-c", MEASURE + FUZZ, tmp_path / "good", tmp_path / "bad.safetensors", str(seed))
    refusals, growth = map(int, done.stdout.split())
    assert refusals > 500
    assert growth < 100


def test_text_before_or_after_the_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    make_model().save(path)
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = content[8:end].rstrip()
    config = json.loads(header)["__metadata__"]["stoop.model"]
    bom = "\ufeff"
    for text in (bom.encode() + header, header + b"\0", header + b"\0more", header + b"x", header + b" {}"):
        write_file(path, text, content[end:])
        with refused(stoop.CheckpointError, "byte-order mark" if text[:1] == b"\xef" else "stops being JSON"):
            stoop.load_model(path)
    for text in (bom + config, config + "\0", config + "\0more", config + "x", config + " {}"):
        with refused(ValueError, "byte-order mark" if text[0] == bom else "stops being JSON"):
            stoop._core.ModelFloat32(text)
    write_file(path, b" \n" + header + b" \t\r\n", content[end:])
    assert bits(stoop.load_model(path)) == bits(make_model())


def test_a_file_of_two_dtypes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    entries = '"0.weight":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]},'
    entries += '"0.bias":{"dtype":"F64","shape":[1],"data_offsets":[16,24]}'
    write_file(path, header_with(config_with('{"type":"dense","units":1}'), entries), bytes(24))
    with refused(stoop.CheckpointError, "float32 and float64"):
        stoop.load_model(path)


# ---- nested blocks ----


def nest(depth: int) -> Any:
    layer: Any = stoop.Dense(2)
    for _ in range(depth):
        layer = stoop.Residual([layer])
    return layer


def test_six_nested_blocks_go_everywhere(tmp_path: Path) -> None:
    model = stoop.Model([stoop.Dense(2, stoop.LeakyReLU(0.1)), nest(6)], input_dim=2)
    model.save(tmp_path / "m.safetensors")
    twins = [stoop.load_model(tmp_path / "m.safetensors"), model.copy(), model.fold_batch_norm()]
    twins += [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in twins:
        assert bits(twin) == bits(model)
        assert twin.layers == model.layers
    assert pickle.loads(pickle.dumps(nest(6))) == copy.deepcopy(nest(6)) == nest(6)
    assert "Residual" in model.summary()


@pytest.mark.parametrize("depth", [7, 8, 20, 900, 20_000])
def test_more_nested_blocks_are_refused_by_name(depth: int) -> None:
    layers = [stoop.Dense(2), nest(depth)]
    expected = rf"layer 1 nests Residual {depth} deep; expected at most 6"
    with refused(ValueError, r"\[Model\]", expected):
        stoop.Model(layers, input_dim=2)
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with refused(ValueError, f"nests Residual {depth} deep; expected at most 6"):
            call(layers[1])


@pytest.mark.parametrize("depth", [7, 20, 900])
def test_a_file_with_more_nested_blocks_is_refused_by_name(tmp_path: Path, depth: int) -> None:
    layer = '{"type":"residual","layers":[' * depth + '{"type":"dense","units":2}' + "]}" * depth
    write_file(tmp_path / "m.safetensors", header_with(config_with(layer)))
    expected = f"layer 0 nests Residual {depth} deep; expected at most 6" if depth < 30 else "Residual .* up to 6 deep"
    with refused(stoop.CheckpointError, expected):
        stoop.load_model(tmp_path / "m.safetensors")
    with refused(ValueError, expected):
        stoop._core.ModelFloat64(config_with(layer))


def test_as_many_layers_as_a_file_can_hold() -> None:
    with refused(ValueError, r"\[Model\] 100002 layers; expected at most 100000"):
        stoop.Model([stoop.Residual([stoop.ReLU()] * 50_000)] * 2, input_dim=1)
