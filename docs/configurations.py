"""Write the page of configurations, what JSON may say to C, from signatures, docstrings and specs of the package.

python docs/configurations.py    # writes docs/configurations.md; a test compares the page with what this makes
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stoop
from stoop._config import SPECS

PAGE = Path(__file__).with_name("configurations.md")

# What the C interface does not take of Python's arguments, with the reason.
NOT_OF_C: dict[str, dict[str, str]] = {
    "Model": {},
    "Trainer": {
        "model": "it is an argument of the function",
        "comm": "processes that train together need functions, which no text holds",
        "shards": "it belongs to `comm`",
    },
    "Trainer.fit": {
        "X": "it is an argument of the function",
        "y": "it is an argument of the function",
        "validation_data": "it is an array; there is `validation_split`",
        "sample_weight": "it is an array",
        "class_weight": "it makes an array of weights",
        "metrics": "they may be functions; `stoop_trainer_evaluate` gives loss and accuracy",
        "callbacks": "they are functions; call `stoop_trainer_fit` for one epoch at a time",
        "verbose": "the library prints nothing",
        "augment": "its settings have no form as text",
        "dry_run": "it tries out functions of Python",
    },
}
CALLS: dict[str, tuple[Any, Any, str]] = {
    "Model": (stoop.Model, stoop.Model.__init__, "stoop_model_create"),
    "Trainer": (stoop.Trainer, stoop.Trainer.__init__, "stoop_trainer_create"),
    "Trainer.fit": (stoop.Trainer.fit, stoop.Trainer.fit, "stoop_trainer_fit"),
}
KINDS = {
    "layer": "Layers",
    "activation": "Activations",
    "initializer": "Initialisers",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Learning rates",
}
# Keys that nearly all layers have, told once.
OF_LAYERS = ("trainable", "lr_scale", "decay_scale")
# What these hold as JSON, where Python also takes something shorter.
LISTS = {
    "categories": " = `[]`: pairs `[column of X, number of codes]`, in the order of the columns",
    "bins": " = `[48]`: one number for all columns of numbers, or one for each",
}
# No text can hold a function.
NOT_IN_TEXT = {"custom"}
OPENING = """\
# Configurations as JSON

<!-- docs/configurations.py makes this page; do not edit it. -->

The [C interface](embedding.md) takes JSON with the arguments of Python's `Model`, `Trainer` and `Trainer.fit`, by the
same names, with the same values and defaults; files of models and checkpoints hold the same text. An unknown key is an
error that suggests the nearest one. `null` is Python's `None`. What has settings of its own is a name or an object with
`"type"`, as `to_config` of the Python object gives it:

```json
{"loss": "mse", "optimizer": {"type": "adam", "learning_rate": {"type": "cosine", "lr": 0.001, "steps": 1000}}}
```
"""


def arguments_of(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each argument that JSON has, with its default and the first sentence of what the docstring says of it."""
    documented, call, _ = CALLS[name]
    parameters = inspect.signature(call).parameters
    section = re.split(r"\n\w+\n---+\n", inspect.getdoc(documented) or "")[1]
    texts: dict[str, str] = {}
    for names, text in re.findall(r"^(\w[\w, ]*) : .*\n((?:    .*\n?|\n)+)", section, re.MULTILINE):
        sentence = re.split(r"(?<=[.;]) ", " ".join(text.split()), maxsplit=1)[0].rstrip(";.").replace("``", "`")
        texts |= dict.fromkeys(names.split(", "), sentence)
    for key, parameter in parameters.items():
        if key == "self" or key in NOT_OF_C[name]:
            continue
        has_default = parameter.default is not inspect.Parameter.empty
        yield key, shown(parameter.default) if has_default else "required", texts[key]


def shown(value: Any) -> str:
    """Return a default as JSON."""
    value = value.to_config() if hasattr(value, "to_config") else value
    return f"`{json.dumps(value)}`"


def fields_of(spec: dict[str, Any]) -> str:
    """Return the keys of one type with their defaults and ranges."""
    parts = []
    for key, field in spec["fields"].items():
        if key in OF_LAYERS or field["type"] == "function":
            continue
        text = f"`{key}`"
        if field["required"]:
            text += " (required)"
        elif spec is SPECS["layer"]["columns"] and key in LISTS:
            text += LISTS[key]
        elif field["type"] != "object" or field["default"] is not None:
            text += f" = {shown(field['default'])}"
        if field["type"] == "choice":
            text += " (" + ", ".join(f'`"{choice}"`' for choice in field["choices"]) + ")"
        elif field.get("expected", "expected a finite number") != "expected a finite number":
            text += f": {field['expected'].removeprefix('expected ')}"
        parts.append(text)
    return "; ".join(parts) or "none"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table of Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def lines() -> Iterator[str]:
    """Yield the page."""
    yield OPENING
    for name, (_, _, function) in CALLS.items():
        yield f"## {name}\n\nThe text that `{function}` takes.\n"
        yield from table(("key", "default", "meaning"), ((f"`{key}`", *rest) for key, *rest in arguments_of(name)))
        if name == "Model":
            yield "| `metadata` | `{}` | Texts by name that the file keeps |"
            yield '\nIn C `dtype` is `"float32"`. `classes` are texts, whole numbers or truth values.\n'
            continue
        yield "\nPython also has, and JSON does not:\n"
        yield from table(("argument", "why not"), ((f"`{key}`", why) for key, why in NOT_OF_C[name].items()))
        yield ""
    for kind, title in KINDS.items():
        yield f"## {title}\n"
        if kind == "layer":
            yield "A layer may also have `trainable` = `true` and, if it has parameters, `lr_scale` = `1.0` and "
            yield "`decay_scale` = `1.0`. An activation may stand as a layer or as the `activation` of one.\n"
        if kind == "schedule":
            yield "A number is a constant rate.\n"
        rows = ((f"`{name}`", fields_of(spec)) for name, spec in SPECS[kind].items() if name not in NOT_IN_TEXT)
        yield from table(("type", "keys"), rows)
        yield ""


def page() -> str:
    """Return the text of the page."""
    return "\n".join(lines()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
