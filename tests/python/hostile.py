"""Files that are made to cost much: each function gives the bytes of one, a few megabytes at most."""

from __future__ import annotations

import json
import re
import struct
import tempfile
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


def model_file(
    config: str, shapes: Iterable[tuple[str, list[int]]] = (("0.weight", [1, 1]), ("0.bias", [1])), most: int = 1 << 30
) -> bytes:
    """A model's file with a configuration that is given as text, and at most so many bytes of numbers."""
    texts, size = entries(shapes)
    metadata = json.dumps({"stoop.format": "1", "stoop.model": config})
    return tensor_file(f'{{"__metadata__":{metadata},{texts}}}', bytes(min(size, most)))


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


def padded(content: bytes, size: int) -> bytes:
    """The same file with spaces after its header, so that its size allows for more texts."""
    length = struct.unpack("<Q", content[:8])[0]
    spaces = b" " * (size - len(content))
    return struct.pack("<Q", length + len(spaces)) + content[8 : 8 + length] + spaces + content[8 + length :]


def different_activations(count: int) -> bytes:
    """As many layers without parameters as a file of its size may hold, of which no two are alike."""
    layers = (f'{{"type":"leaky_relu","negative_slope":{1 + i}e-5}}' for i in range(count))
    return padded(model_file(config(f"{DENSE},{','.join(layers)}")), 85 * count)


def classes(names: list[str], dtype: str = "str") -> bytes:
    """A model with a column of output for each name."""
    told = json.dumps({"dtype": dtype, "names": names}, separators=(",", ":"), ensure_ascii=False)
    layer = f'{{"type":"dense","units":{len(names)},"use_bias":false}}'
    return model_file(config(layer, output='"softmax"', classes=told), [("0.weight", [1, len(names)])])


def saved(layers: list[Any], input_dim: int) -> bytes:
    """The file of a model as the library writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        stoop.Model(layers, input_dim).save(path)
        return path.read_bytes()


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
    "a shape larger than the file": lambda: model_file(config(input_dim=2**31), [("0.weight", [2**31, 1])], 700),
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
    "bare activations in a file of their size": lambda: padded(HOSTILE["bare activations"](), 67 * N // 2),
    "different layers": lambda: model_file(
        config(",".join(f'{SHORT[:-1]},"l2":{i}e-5}}' for i in range(N // 10))),
        ((f"{i}.weight", [1, 1]) for i in range(N // 10)),
    ),
    "different activations": lambda: different_activations(N // 10),
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
    "categories that are there": lambda: saved(
        [stoop.Columns(categories=dict.fromkeys(range(N // 4), 1), one_hot=1), stoop.Dense(1)], N // 4
    ),
    "tables that are there": lambda: saved(
        [stoop.Columns(categories=dict.fromkeys(range(N // 10), 2), one_hot=1, embedding_dim=1), stoop.Dense(1)],
        N // 10,
    ),
    "bins that are there": lambda: saved([stoop.Columns(bins=[1] * (N // 10)), stoop.Dense(1)], N // 10),
    "many names of classes": lambda: model_file(config(classes='{"names":[' + '"",' * 10 * N + '""]}')),
    "names of classes that are there": lambda: classes([f"{i:x}" for i in range(N)]),
    "numbers of classes": lambda: classes([str(i) for i in range(N)], "int64"),
    "one long name of many": lambda: classes([*(f"{i}" for i in range(N // 10)), "x" * N]),
    "much metadata": lambda: model_file(config(metadata='{"a":"' + "x" * 20 * N + '"}')),
    "many members of an ensemble": lambda: ensemble_file(3000),
    "many members of an ensemble in a file of their size": lambda: padded(ensemble_file(3000), 760 * 3000),
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


# ---- texts in files that Python reads as JSON ----


def memory_of_values(text: str) -> int:
    """Return what a reader counts for them, by its rule."""
    bare, texts = re.subn(r'"(\\.|[^"\\])*"', '"', text)
    words = len(re.findall(r'[^{}\[\]:,\s"]+', bare))
    brackets = 288 * bare.count("{") + 96 * bare.count("[")
    return brackets + 16 * bare.count(":") + 80 * texts + 32 * words + 9 * len(text) * any(c > "\uffff" for c in text)


def as_large_as(content: bytes, *texts: str) -> bytes:
    """The same file, made as large as the values of these texts ask for."""
    memory = sum(map(memory_of_values, texts)) * 9 // 8  # in Python
    return padded(content, max(len(content), (memory - (1 << 19)) // 7 + 8000))


def table_file(columns: str = "[]", more: str = "[]") -> bytes:
    """The file of an estimator, with columns of its table, and what more it says, that are given as text."""
    parameters = '{"hidden":[1]}'
    estimator = (
        f'{{"class":"TabularRegressor","parameters":{parameters},"best_epoch":0,"features":null,'
        f'"importances":null,"is_flat":true,"more":{more}}}'
    )
    target = '{"name":"y","task":"regression","classes":[],"are_numbers":false}'
    form = '{"separator":",","decimal":".","thousands":"","missing":[""],"encoding":"utf-8"}'
    text = (
        f'{{"version":2,"target":{target},"text":{form},"columns":{columns},"dropped":[],'
        f'"training":{{"estimator":{estimator},"target_scale":[0,1]}}}}'
    )
    return as_large_as(model_file(config(metadata=json.dumps({"stoop.table": text}, ensure_ascii=False))), text)


def category(count: int, kind: str = "code", name: str = "a") -> str:
    return json.dumps(
        [{"kind": kind, "name": name, "has_missing": False, "categories": [f"{i:x}" for i in range(count)]}]
    )


def repeated(text: str, count: int) -> str:
    return "[" + ",".join([text] * count) + "]"


def checkpoint_file(extras: str, training: Callable[[Any], Any] = lambda told: told) -> bytes:
    """A checkpoint with these texts, and with a checksum that is not right yet."""
    content = CHECKPOINT.read_bytes()
    told = json.dumps(training(json.loads(metadata_of(content, "stoop.training"))))
    content = changed_metadata(changed_metadata(content, "stoop.extras", extras), "stoop.training", told)
    return as_large_as(content, extras, told)


def extras(history: str = "{}", more: str = "[]") -> str:
    history = f'{{"epochs":[],"columns":{history},"stop_reason":null,"changes":[]}}'
    return f'{{"history":{history},"loop":{{"a":{more}}}}}'


def long_history(told: dict[str, Any]) -> dict[str, Any]:
    columns = {name: [] if name == "epochs" else [0.5] * (N // 10) for name in told["history"]}
    told["history"] = columns | {"epochs": list(range(N // 10))}
    return told


CHECKPOINT = Path(__file__).resolve().parents[1] / "golden" / "0.1" / "checkpoint" / "adam-float32.safetensors"
HOSTILE |= {
    "a table of many objects": lambda: table_file(more=repeated("{}", N // 4)),
    "a table of many arrays": lambda: table_file(more=repeated("[]", N // 2)),
    "a table of many numbers": lambda: table_file(more=repeated("0.125", N)),
    "a table of many keys": lambda: table_file(more=json.dumps({f"{i:x}": 0 for i in range(N // 4)})),
    "a table of many texts": lambda: table_file(more=json.dumps([f"{i:x}" for i in range(N // 2)])),
    "a table with one wide character": lambda: table_file(
        more=json.dumps("x" * 15 * N + "\U0001f600", ensure_ascii=False)
    ),
    "a table of many columns": lambda: table_file(repeated('{"kind":"number","name":"a","has_missing":true}', N // 10)),
    "a table of many categories": lambda: table_file(category(N // 2)),
    "a table of many categories and a long name": lambda: table_file(category(N // 4, "category", "x" * N)),
    "a table that ends too early": lambda: as_large_as(
        model_file(config(metadata=json.dumps({"stoop.table": "[" + "{}," * N}))), "[" + "{}," * (N // 4)
    ),
    "a checkpoint of many objects": lambda: checkpoint_file(extras(more=repeated("{}", N // 4))),
    "a checkpoint of many numbers": lambda: checkpoint_file(extras('{"loss":' + repeated("NaN", N) + "}")),
    "a checkpoint of many texts": lambda: checkpoint_file(extras(more=json.dumps([f"{i:x}" for i in range(N // 2)]))),
    "a checkpoint that ends too early": lambda: checkpoint_file("[" + "{}," * N),
    "a checkpoint of many epochs": lambda: checkpoint_file(extras(), long_history),
}


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
