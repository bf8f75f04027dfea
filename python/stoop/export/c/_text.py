"""Pieces of C text: names, numbers, arrays, strings, and the functions of kernels.c that a header needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._errors import message

_WIDTH = 120
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
# Those of C99 and of C++20, of which some are macros in C.
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class "
        "co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype "
        "default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline "
        "int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public "
        "register reinterpret_cast requires restrict return short "
        "signed sizeof static static_assert static_cast struct switch "
        "template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void "
        "volatile wchar_t while xor xor_eq",
    )
)


def identifier(where: str, name: Any) -> str:
    """Return a name that functions may begin with.

    Raises
    ------
    ValueError, TypeError
        For what is no identifier of C, or a keyword of C or C++.
    """
    expected = "expected letters, digits and underscores, the first of them a letter"
    if not isinstance(name, str):
        raise TypeError(message(where, f"name is {name!r}", expected, 'for example "model"'))
    if not _IDENTIFIER.fullmatch(name) or "__" in name or name.endswith("_") or len(name) > 64:
        hint = 'for example "model"; more than 64 letters, two underscores in a row and one at the end are refused'
        raise ValueError(message(where, f"name is {name!r}", expected, hint))
    if name in _KEYWORDS:
        expected = "expected one that is no keyword of C or C++"
        raise ValueError(message(where, f"name is {name!r}", expected, f'for example "{name}_model"'))
    return name


def literal(value: float) -> str:
    """Return a float literal that is read back as exactly this float32.

    Raises
    ------
    ValueError
        For what float32 does not hold.
    """
    with np.errstate(over="ignore"):
        is_held = bool(np.isfinite(np.float32(value)))
    if not is_held:
        given = f"a constant of the header is {value:g}, beyond float32"
        raise ValueError(message("export.to_c", given, "expected finite numbers", "change the model, or scale X"))
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def array(kind: str, name: str, values: npt.NDArray[Any]) -> str:
    """Return the definition of a constant array with all elements in row-major order."""
    flat = values.ravel().tolist()
    items = [literal(value) for value in flat] if kind == "float" else [str(int(value)) for value in flat]
    return f"static const {kind} {name}[{len(items)}] = {{\n{_wrapped(items)}\n}};"


def strings(name: str, values: Iterable[str]) -> str:
    """Return the definition of a constant array of strings, in UTF-8."""
    items = [string(value) for value in values]
    return f"static const char* const {name}[{len(items)}] = {{\n{_wrapped(items)}\n}};"


def string(text: str) -> str:
    """Return a string literal; what is not plain ASCII is in octal, and no two question marks make a trigraph."""
    plain = {ord("?"): "\\?", ord('"'): '\\"', ord("\\"): "\\\\"}
    return '"' + "".join(plain.get(c, chr(c) if 32 <= c < 127 else f"\\{c:03o}") for c in text.encode()) + '"'


def _wrapped(items: Iterable[str]) -> str:
    lines, line = [], " "
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = " "
        line += f" {item},"
    return "\n".join([*lines, line]).rstrip(",")


@cache
def _kernels() -> dict[str, str]:
    """Return the text of each function, with the comment above it, by name."""
    text = files("stoop.export.c").joinpath("kernels.c").read_text(encoding="utf-8")
    blocks = [block for block in text.strip().split("\n\n") if "static inline" in block]
    return {re.findall(r"\bstoop_(\w+)\(", block.split("static inline", 1)[1])[0]: block for block in blocks}


def functions(name: str, used: Iterable[str]) -> str:
    """Return these functions and those that they call, in the order of the file, with `name` in place of "stoop"."""
    kernels, wanted, asked = _kernels(), set(), list(used)
    while asked:
        one = asked.pop()
        if one not in wanted:
            wanted.add(one)
            asked += [other for other in re.findall(r"\bstoop_(\w+)\(", kernels[one]) if other != one]
    texts = [text for key, text in kernels.items() if key in wanted]
    return re.sub(r"\bstoop_(\w+)", lambda found: function_name(name, found[1]), "\n\n".join(texts))


def function_name(name: str, function: str) -> str:
    """Return what a function of kernels.c is called in a header, where "a" and "a_int" have none in common."""
    return f"{name}_{function.replace('_', '')}"
