"""All that a model's file remembers of the table that it was trained with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from stoop._errors import message
from stoop._tables._encoder import TableEncoder
from stoop._tables._target import Target

METADATA_KEY = "stoop.table"  # in Model.metadata
_VERSION = 2  # 1: without columns of codes


@dataclass(frozen=True)
class TableState:
    """The columns, the target, and how the model was trained."""

    encoder: TableEncoder
    target: Target
    dropped: tuple[str, ...] = ()  # columns that training was told to leave out
    training: dict[str, Any] = field(default_factory=dict)  # how rows were split, the settings; for a diagnosis

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """The texts that are categories of a column, or classes, though another table may write a missing cell so."""
        return {**self.encoder.categories, self.target.name: self.target.classes}

    def to_text(self) -> str:
        """Return it as JSON."""
        state = {
            "version": _VERSION if self.encoder.has_codes else 1,
            "target": self.target.to_state(),
            **self.encoder.to_state(),
            "dropped": list(self.dropped),
            "training": self.training,
        }
        return json.dumps(state, ensure_ascii=False, allow_nan=False)

    @classmethod
    def of_model(cls, where: str, metadata: Any) -> TableState:
        """Return what `Model.metadata` holds.

        Raises
        ------
        ValueError
            For a model that was not trained with a table, or by a later version of Stoop.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            given, expected = "the model knows no table", "expected one that stoop train made"
            raise ValueError(message(where, given, expected, "train it with stoop train, or use stoop.load_model"))
        try:
            state = json.loads(text)
            if state["version"] > _VERSION:
                given = f"its table has version {state['version']}"
                raise ValueError(message(where, given, f"expected {_VERSION}", "install a later version of Stoop"))
            encoder, target = TableEncoder.from_state(state), Target.from_state(state["target"])
            return cls(encoder, target, tuple(state["dropped"]), state["training"])
        except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
            given, hint = f"its table cannot be read ({error!r})", "train it again with stoop train"
            raise ValueError(message(where, given, "expected what stoop train wrote", hint)) from error
