"""Files that are made to cost much: each function gives the bytes of one, a few megabytes at most."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import stoop

DENSE = '{"type":"dense","units":1}'
SHORT = '{"type":"dense","units":1,"use_bias":false}'
WRITTEN = '{"type":"dense","units":1,"activation":"relu","use_bias":true,"kernel_init":null,"bias_init":"zeros"}'


def tensor_file(text: str, data: bytes = b"") -> bytes:
    """A safetensors file with a header that is given as text."""
    header = text.encode()
    return struct.pack("<Q", len(header)) + header + data


def entries(shapes: Iterable[tuple[str, list[int]]]) -> tuple[str, int]:
    """Entries of a header for float32, one after another, and the bytes of their data."""
    texts, position = [], 0
    for name, shape in shapes:
        size = 4
        for count in shape:
            size *= count
        place = f"[{position},{position + size}]"
        texts.append(f'{json.dumps(name)}:{{"dtype":"F32","shape":{json.dumps(shape)},"data_offsets":{place}}}')
        position += size
    return ",".join(texts), position


def model_file(config: str, shapes: Iterable[tuple[str, list[int]]] = (("0.weight", [1, 1]), ("0.bias", [1]))) -> bytes:
    """A model's file with a configuration that is given as text."""
    texts, size = entries(shapes)
    metadata = json.dumps({"stoop.format": "1", "stoop.model": config})
    return tensor_file(f'{{"__metadata__":{metadata},{texts}}}', bytes(size))


def config(layers: str = DENSE, **more: Any) -> str:
    """A configuration whose layers are given as text."""
    texts = [f'"input_dim":{more.pop("input_dim", 1)}', f'"layers":[{layers}]']
    return "{" + ",".join([*texts, *(f"{json.dumps(name)}:{text}" for name, text in more.items())]) + "}"


def short_layers(layer: str, tensors: dict[str, list[int]], bare: int = 0, count: int = 20_000) -> bytes:
    """A model's file of `count` layers of this kind, with tensors of few numbers, and `bare` activations after each."""
    group = [layer, *['{"type":"relu"}'] * bare]
    places = range(0, count * len(group), len(group))
    shapes = ((f"{place}.{name}", shape) for place in places for name, shape in tensors.items())
    return model_file(config(",".join(group * count)), shapes)


def columns(**fields: Any) -> str:
    return json.dumps({"type": "columns", **fields})


def nested(depth: int) -> str:
    return '{"type":"residual","layers":[' * depth + DENSE + "]}" * depth


N = 200_000
HOSTILE: dict[str, Callable[[], bytes]] = {
    "a header beyond the file": lambda: struct.pack("<Q", 2**40) + b"{}",
    "a header of brackets": lambda: tensor_file("[" * 10 * N),
    "a header of objects": lambda: tensor_file('{"a":' * 10 * N),
    "tensors of no size": lambda: tensor_file("{" + entries((f"{i:x}", [0]) for i in range(N))[0] + "}"),
    "metadata of many texts": lambda: tensor_file(
        '{"__metadata__":{' + ",".join(f'"{i:x}":""' for i in range(5 * N)) + "}}"
    ),
    "a long key": lambda: tensor_file('{"' + "x" * 40 * N + '":{}}'),
    "a long unknown key": lambda: model_file(config(**{"y" * 10 * N: 1})),
    "a long number": lambda: tensor_file('{"a":' + "1" * 10 * N + "}"),
    "a shape of many sizes": lambda: tensor_file(
        '{"a":{"dtype":"F32","shape":[' + "0," * 10 * N + "0]" + ',"data_offsets":[0,0]}}'
    ),
    "a shape larger than the file": lambda: model_file(config(input_dim=2**31), [("0.weight", [2**31, 1])])[:1000],
    "2^31 columns": lambda: model_file(config(input_dim=2**31)),
    "2^31 encoded columns": lambda: model_file(config(columns() + "," + DENSE, input_dim=2**31)),
    "2^31 units": lambda: model_file(config('{"type":"dense","units":2147483648}')),
    "2^30 codes": lambda: model_file(config(columns(categories=[[0, 2**30 - 2]]) + "," + DENSE)),
    "2^30 indicators": lambda: model_file(config(columns(categories=[[0, 2**29]], one_hot=2**29) + "," + DENSE)),
    "2^20 bins": lambda: model_file(config(columns(bins=[2**20]) + "," + DENSE)),
    "2^40 numbers of linear layers": lambda: model_file(
        config(columns(encoding="ple_linear", bins=[2**20], embedding_dim=2**20) + "," + DENSE)
    ),
    "2^31 frequencies": lambda: model_file(config(columns(encoding="periodic", frequencies=2**20) + "," + DENSE)),
    "2^31 members": lambda: model_file(config('{"type":"members","k":2147483647},' + DENSE)),
    "Residual in Residual": lambda: model_file(config(nested(1000))),
    "Residual 31 deep": lambda: model_file(config(nested(31))),
    "bare activations": lambda: model_file(config(DENSE + ',{"type":"relu"}' * (N // 2 - 1))),
    "short layers": lambda: short_layers(SHORT, {"weight": [1, 1]}),
    "short layers and activations": lambda: short_layers(SHORT, {"weight": [1, 1]}, 1),
    "short layers and many activations": lambda: short_layers(SHORT, {"weight": [1, 1]}, 9, 4000),
    "short layers in Residuals": lambda: short_layers(
        f'{{"type":"residual","layers":[{SHORT}]}}', {"0.weight": [1, 1]}
    ),
    "layers as they are written": lambda: short_layers(WRITTEN, {"weight": [1, 1], "bias": [1]}),
    "scales": lambda: short_layers('{"type":"feature_scale"}', {"scale": [1]}),
    "too many layers": lambda: model_file(config(DENSE + ',{"type":"relu"}' * 2 * N)),
    "layers that are no layers": lambda: model_file(config("{}," * 10 * N + DENSE)),
    "layers that are arrays": lambda: model_file(config("[]," * 10 * N + DENSE)),
    "layers that are numbers": lambda: model_file(config("1," * 20 * N + DENSE)),
    "layers that are texts": lambda: model_file(config('"",' * 10 * N + DENSE)),
    "many bins": lambda: model_file(config(columns(bins="B").replace('"B"', "[" + "0," * 20 * N + "0]") + "," + DENSE)),
    "many categories": lambda: model_file(
        config(
            columns(categories="C").replace('"C"', "[" + ",".join(f"[{i},1]" for i in range(5 * N)) + "]") + "," + DENSE
        )
    ),
    "many names of classes": lambda: model_file(config(classes='{"names":[' + '"",' * 10 * N + '""]}')),
    "much metadata": lambda: model_file(config(metadata='{"a":"' + "x" * 20 * N + '"}')),
    "many members of an ensemble": lambda: ensemble_file(3000),
    "an ensemble of 10^18": lambda: tensor_file(
        json.dumps({"__metadata__": {"stoop.format": "1", "stoop.ensemble": str(10**18)}})[:-1]
        + ","
        + entries([("0.0.weight", [1, 1])])[0]
        + "}",
        bytes(4),
    ),
    "zeros alone": lambda: bytes(4_000_000),
}


def ensemble_file(members: int) -> bytes:
    """An ensemble of smallest members."""
    metadata = {"stoop.format": "1", "stoop.ensemble": str(members)}
    metadata |= {f"stoop.member.{i}": config('{"type":"dense","units":1,"use_bias":false}') for i in range(members)}
    texts, size = entries((f"{i}.0.weight", [1, 1]) for i in range(members))
    return tensor_file(f'{{"__metadata__":{json.dumps(metadata)},{texts}}}', bytes(size))


# ---- changes of files that the library wrote ----


def changed_metadata(content: bytes, key: str, text: str) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"][key] = text
    new = json.dumps(header, ensure_ascii=False).encode("utf-8", "replace")
    return struct.pack("<Q", len(new)) + new + content[8 + length :]


def metadata_of(content: bytes, key: str) -> bytes:
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    text: str = header["__metadata__"][key]
    return text.encode()


def with_right_sum(path: Path, content: bytes) -> None:
    """Write the file with the checksum that the library says it must have."""
    path.write_bytes(content)
    try:
        stoop._core.checkpoint_config(str(path))
    except stoop.CheckpointError as error:
        found = re.search(r"checksum (crc32:\w{8}); expected \"(crc32:\w{8})\"", str(error))
        if found:
            path.write_bytes(content.replace(found[2].encode(), found[1].encode()))
