"""Names of classes as the model's file keeps them: text, and the dtype to give them back in."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._arrays import to_numpy
from stoop._errors import message

Array = npt.NDArray[Any]
_KEPT = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_MOST_TIMES, _MOST_CHARACTERS = 4, 1 << 18  # of all texts together, in an array with the room of the longest for each


def names_to_text(where: str, classes: Any) -> tuple[list[str], str]:
    """Return the names as text and their dtype.

    Raises
    ------
    TypeError
        For names that are neither strings nor whole numbers nor booleans.
    ValueError
        For text that is not Unicode.
    """
    names = with_plain_text(classes, to_numpy(where, classes, "classes"))
    if names.dtype.kind == "O" and isinstance(classes, list | tuple) and all(isinstance(v, str) for v in classes):
        names = names.astype(str)
    kind, dtype = names.dtype.kind, names.dtype.name
    strings = kind in "UT" or (kind == "O" and all(isinstance(value, str) for value in names.ravel()))
    whole = kind == "f" and dtype in _KEPT and bool((names == np.floor(names)).all() and np.isfinite(names).all())
    if names.ndim != 1 or not (strings or whole or (kind in "biu" and dtype in _KEPT)):
        given = f"classes has dtype {names.dtype} and shape {names.shape}"
        expected = "expected (n_classes,) strings, whole numbers or booleans"
        raise TypeError(message(where, given, expected, "use np.asarray(classes).astype(str)"))
    text = [str(int(value)) if whole else str(value) for value in names.tolist()]
    for name in text:
        if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
            given = f"the class {name!r} has half of a character"
            raise ValueError(message(where, given, "expected Unicode text", "check how y was decoded"))
    return text, ("object" if kind == "O" else "str") if strings else dtype


def names_from_text(names: list[str], dtype: str) -> Array:
    """Return the names as an array of their dtype, read-only.

    NumPy gives each text the room of the longest. Where that is many times what they need, the dtype is object.
    """
    if dtype == "bool":
        array = np.array([name == "True" for name in names])
    elif dtype in ("str", "object"):
        is_wide = len(names) * max(map(len, names), default=0) > _MOST_TIMES * sum(map(len, names)) + _MOST_CHARACTERS
        array = np.array(names, object if dtype == "object" or is_wide else None)
    else:
        array = np.array([int(name) for name in names], object).astype(dtype)
    array.flags.writeable = False
    return array


def with_plain_text(given: Any, array: Array) -> Array:
    """Return the array that NumPy made of `given`, where it made other text of an enumeration's members or of numbers.

    A member of ``class Kind(str, Enum)`` is its value as a string, but neither its `str` nor its hash is that of one.
    """
    is_list = isinstance(given, list | tuple)
    if is_list and array.dtype.kind in "US" and not all(type(value) in (str, np.str_) for value in given):
        array = np.array(given, object)
    if array.dtype.kind != "O" or all(kind is str or not issubclass(kind, str) for kind in set(map(type, array.flat))):
        return array
    out: Array = array.copy()
    for place, value in enumerate(array.flat):
        out.flat[place] = str.__str__(value) if isinstance(value, str) else value
    return out
