"""The text of a C function as it grows: its lines, the tables that it reads, and the functions that it calls."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from stoop.export.c._text import array, function_name, literal


class Code:
    """Collects what a header holds of one model; `name` is what all of its names begin with."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []
        self.tables: list[str] = []
        self.table_bytes = 0
        self.used: set[str] = set()

    def table(self, kind: str, what: str, values: npt.NDArray[Any]) -> str:
        """Define a constant array and return its name."""
        name = f"{self.name}_{what}"
        self.tables.append(array(kind, name, values))
        self.table_bytes += values.size * {"int8_t": 1, "uint8_t": 1}.get(kind, 4)
        return name

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of kernels.c."""
        self.lines.append(f"  {self.expression(function, *arguments)};")

    def expression(self, function: str, *arguments: Any) -> str:
        """Return a call of a function of kernels.c; numbers with a point become literals."""
        self.used.add(function)
        texts = [literal(value) if isinstance(value, float) else str(value) for value in arguments]
        return f"{function_name(self.name, function)}({', '.join(texts)})"

    def members(self, count: int, function: str, *arguments: Any) -> None:
        """Call a function for each member; a pair of text and stride is a pointer that moves on with the member."""

        def moved(argument: Any) -> Any:
            if not isinstance(argument, tuple):
                return argument
            pointer, stride = argument
            return f"{pointer} + m * {stride}" if count > 1 and stride else pointer

        texts = [moved(argument) for argument in arguments]
        if count == 1:
            self.call(function, *texts)
        else:
            self.lines.append(f"  for (size_t m = 0; m < {count}; ++m) {self.expression(function, *texts)};")
