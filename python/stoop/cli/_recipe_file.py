"""The file of ``--model``: layers and settings of the trainer as JSON."""

import json
from pathlib import Path
from typing import Any

from stoop._errors import message, refuse_name

_KEYS = ("layers", "trainer", "epochs", "batch_size")


def read_recipe(path: Path) -> dict[str, Any]:
    """Return ``{"layers": [...], "trainer": {...}, "epochs": ..., "batch_size": ...}``, of which all may be missing.

    Raises
    ------
    OSError, ValueError
        For a file that cannot be read, or holds something else.
    """
    where = path.name
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        hint = 'write {"layers": [...], "trainer": {...}}'
        raise ValueError(message(where, f"it is no JSON ({error})", "expected one JSON object", hint)) from None
    kinds = {"layers": list, "trainer": dict}
    if not isinstance(file, dict) or any(not isinstance(file.get(key, kind()), kind) for key, kind in kinds.items()):
        given, expected = "it holds something else than asked for", 'expected {"layers": [...], "trainer": {...}}'
        raise ValueError(message(where, given, expected, "layers and settings are written as to_config gives them"))
    for key in file:
        if key not in _KEYS:
            refuse_name(where, "key", key, _KEYS)
    for key in ("epochs", "batch_size"):
        value = file.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(message(where, f"{key} is {value!r}", "expected an integer >= 1", f"change {key}"))
    return file
