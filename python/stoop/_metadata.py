"""`Model.metadata`: texts by name that the model's file keeps."""

from __future__ import annotations  # the stub's _core._Model does not exist at run time

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from stoop._errors import message

if TYPE_CHECKING:
    from stoop import _core


class Metadata(MutableMapping[str, str]):
    """The texts of a model, live: what is set here is in the model."""

    def __init__(self, core: _core._Model[Any]) -> None:
        self._core = core

    def __getitem__(self, name: str) -> str:
        return self._core.metadata[name]

    def __setitem__(self, name: str, text: str) -> None:
        self.set({**self._core.metadata, name: text})

    def __delitem__(self, name: str) -> None:
        texts = self._core.metadata
        del texts[name]
        self._core.metadata = texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.metadata)

    def __len__(self) -> int:
        return len(self._core.metadata)

    def __repr__(self) -> str:
        return repr(self._core.metadata)

    def set(self, texts: Mapping[str, str]) -> None:
        """Put these texts in the place of all.

        Raises
        ------
        TypeError
            For what is no mapping of text to text.
        ValueError
            For text that is not Unicode, or too much of it.
        """
        given: object = texts
        if not isinstance(given, Mapping):
            hint = 'for example model.metadata = {"source": "sensor 7"}'
            raise TypeError(message("Model", f"metadata is {given!r}", "expected a dict of texts", hint))
        for name, text in given.items():
            _check(name, text)
        self._core.metadata = dict(given)


def _check(name: object, text: object) -> None:
    for value in (name, text):
        if not isinstance(value, str):
            hint = "json.dumps makes text of other things"
            raise TypeError(message("Model", f"metadata[{name!r}] is {text!r}", "expected text for text", hint))
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            hint = "check how it was decoded"
            raise ValueError(message("Model", f"metadata[{name!r}] has half of a character", "expected Unicode", hint))
