"""What a graph makes of the network's outputs: probabilities, classes and their names. Nothing else may follow them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stoop.export.onnx._terms import Array, Term, UnknownError, Value
from stoop.export.onnx._wire import Node
from stoop.export.onnx._work import keep, spend

_MOST_LISTED = 10_000
_OTHER_NAMES = "names of classes that are not those of the labels"
_WHOLE = (6, 7)  # int32 and int64, of onnx.proto


@dataclass(frozen=True)
class Ending:
    """Probabilities, made of outputs: nothing but what shows them may follow."""

    outputs: Value
    kind: str  # "softmax", or "sigmoid": of two classes, [1 - p, p]


@dataclass
class Labels:
    """Classes, made of probabilities."""

    ending: Any
    names: Any = None
    rule: str = ""  # how they are chosen: "largest", or "over" 1/2; "" where it is not said


@dataclass(frozen=True)
class Column:
    """One column of probabilities."""

    ending: Any
    place: int


@dataclass(frozen=True)
class Whole:
    """X where its numbers are whole: their arithmetic is another, in which they wrap."""

    x: Term
    name: str  # of the element type


Known = Any  # Array, Term, list of names, Ending, Labels or Column; None for an input that is left out
Function = Callable[[Node, list[Known]], Known]


def constant(value: Known) -> Array:
    """Return an array that is known."""
    if not isinstance(value, np.ndarray):
        raise UnknownError("an input that is no constant")
    return value


def term_of(value: Known) -> Term:
    """Return a function of a value."""
    if isinstance(value, Whole):
        raise UnknownError(f"X of whole numbers ({value.name}) before a Cast to float")
    if not isinstance(value, Term):
        raise UnknownError("an input that is no value of the network")
    return value


def listed(array: Array) -> list[Any]:
    """Return a short array as a list; the objects of a long one would take many times its memory."""
    if array.size > _MOST_LISTED:
        raise UnknownError(f"{array.size} numbers where few are expected")
    keep(40 * array.size)
    spend(array.size, 5)
    return list(array.reshape(-1).tolist())


# ---- probabilities ----


def _softmax(node: Node, inputs: list[Known]) -> Ending:
    if node.attributes.get("axis", -1) not in (-1, 1):
        raise UnknownError(f"axis {node.attributes['axis']}")
    return Ending(term_of(inputs[0]).made(), "softmax")


def _both_classes(node: Node, inputs: list[Known]) -> Ending:
    """Return the probabilities of two classes, ``[1 - p, p]``, as sigmoids of one output."""
    if (axis := node.attributes.get("axis")) not in (-1, 1):
        raise UnknownError(f"axis {axis}")
    first, second = (term_of(each) for each in inputs)
    made = second.made()
    outputs = _logits(second)
    if outputs is None or made.width != 1 or not _is_rest(first, second):
        raise UnknownError("several values")
    return Ending(outputs, "sigmoid")


def _logits(probabilities: Term) -> Value | None:
    """Return of what these are the sigmoids; None for another function."""
    made = probabilities.made()
    return made.parent if getattr(made.layer, "type_name", "") == "sigmoid" else None


def _is_rest(first: Term, second: Term) -> bool:
    """Return whether the first is 1 less the second."""
    try:
        return first.is_same([second], np.linspace(0.0, 1.0, 65), lambda p: 1.0 - p)
    except UnknownError:
        return False


def _slice(node: Node, inputs: list[Known]) -> Column:
    """Return one column of probabilities, as skl2onnx takes each with the option ``zipmap="columns"``."""
    if not isinstance(inputs[0], Ending) and _logits(term_of(inputs[0])) is None:
        raise UnknownError("columns that are picked")
    del node
    begin, end, axis, *steps = (listed(constant(each)) for each in inputs[1:])
    if len(begin) != 1 or end != [begin[0] + 1] or axis not in ([1], [-1]) or steps not in ([], [[1]]):
        raise UnknownError("a part of the probabilities that is no single column")
    return Column(inputs[0], begin[0])


# ---- classes ----


def _zip_map(node: Node, inputs: list[Known]) -> Labels:
    get = node.attributes.get
    return Labels(_ending_of(inputs[0]), get("classlabels_strings") or get("classlabels_int64s"))


def _ending_of(known: Known) -> Ending | Term:
    """Return probabilities, or outputs."""
    return known if isinstance(known, Ending) else term_of(known)


def _arg_max(node: Node, inputs: list[Known]) -> Labels:
    if node.operator == "ArgMax" and node.attributes.get("axis", 0) not in (-1, 1):
        raise UnknownError(f"axis {node.attributes.get('axis', 0)}")
    if node.operator == "Binarizer" and (threshold := node.attributes.get("threshold", 0.0)) != 0.5:
        raise UnknownError(f"the threshold {threshold!r:.20}, where labels have 0.5")
    return Labels(_ending_of(inputs[0]), rule="largest" if node.operator == "ArgMax" else "over")


def labels_over(term: Term, to: int) -> Labels:
    """Return what a Cast to whole numbers makes of a value: labels, if it says which probabilities are over 1/2."""
    if to not in _WHOLE or term.function is not np.greater or not isinstance(term.operands[0], Term):
        raise UnknownError("a value that becomes no float32 or float64")
    if term.operands[1] != 0.5:
        raise UnknownError("another threshold than 0.5, which labels have")
    return Labels(term.operands[0], rule="over")


def _pick(node: Node, inputs: list[Known]) -> Labels:
    names, labels = inputs
    if not isinstance(labels, Labels) or node.attributes.get("axis", 0) != 0:
        raise UnknownError("columns that are picked")
    picked = names if isinstance(names, list) else listed(constant(names))
    out, places = [], _names_of(labels)
    keep(8 * len(places))
    for place in places:
        if not isinstance(place, int) or not 0 <= place < len(picked):
            raise UnknownError(f"no name for the class {place!r:.20}")
        out.append(picked[place])
    return Labels(labels.ending, out, labels.rule)


def _encoded(node: Node, inputs: list[Known]) -> Labels | list[Any]:
    known = inputs[0]
    if isinstance(known, np.ndarray | list):  # the names of all classes, where the graph gives them as well
        return _mapped(node, known if isinstance(known, list) else listed(known))
    if not isinstance(known, Labels):
        raise UnknownError("codes that are no classes")
    return Labels(known.ending, _mapped(node, _names_of(known)), known.rule)


def _mapped(node: Node, names: list[Any]) -> list[Any]:
    """Return what a LabelEncoder makes of names."""
    get = node.attributes.get
    if values := get("classes_strings"):  # of the first version, between numbers and texts
        return [values[name] if isinstance(name, int) else values.index(name) for name in names]
    keys, values = (_only(node, prefix) for prefix in ("keys_", "values_"))
    if not keys or len(keys) != len(values):
        raise UnknownError("a LabelEncoder without keys or values that are read")
    usual = "_Unused" if isinstance(values[0], str) else -1 if isinstance(values[0], int) else 0.0
    kind = {str: "default_string", int: "default_int64", float: "default_float"}[type(values[0])]
    other = get(kind, usual)
    if isinstance(default := get("default_tensor"), np.ndarray | list):
        [other] = default if isinstance(default, list) else listed(default)
    spend(len(keys) + len(names), 5)
    keep(8 * len(names))
    found = dict(zip(keys, values, strict=True))
    return [found.get(name, other) for name in names]


def _only(node: Node, prefix: str) -> list[Any]:
    """Return the one attribute whose name begins so."""
    found = [value for name, value in node.attributes.items() if name.startswith(prefix)]
    if len(found) != 1:
        return []
    return found[0] if isinstance(found[0], list) else listed(constant(found[0]))


def _names_of(labels: Labels) -> list[Any]:
    """Return the name of each class, its number where it has none."""
    if labels.names is not None:
        return list(labels.names)
    ending = labels.ending
    value = ending.outputs if isinstance(ending, Ending) else term_of(ending).made()
    is_one = ending.kind == "sigmoid" if isinstance(ending, Ending) else labels.rule == "over"
    if not is_one and value.width is None:
        raise UnknownError("classes whose number is not known")
    count = 2 if is_one else int(value.width or 0)
    if count > _MOST_LISTED:
        raise UnknownError(f"{count} classes where few are expected")
    keep(40 * count)
    return list(range(count))


MEANINGS: dict[str, Function] = {
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Concat": _both_classes,
    "Slice": _slice,
    "ZipMap": _zip_map,
    "ArgMax": _arg_max,
    "Binarizer": _arg_max,
    "ArrayFeatureExtractor": _pick,
    "Gather": _pick,
    "LabelEncoder": _encoded,
}


# ---- outputs of the graph ----


@dataclass
class Meaning:
    """The outputs of which a graph gives a function, and what they mean."""

    outputs: Value
    kind: str | None = None  # "softmax" or "sigmoid"
    names: list[Any] | None = None  # of classes


def meaning_of(known: Known) -> Meaning:
    """Return what one output of the graph shows.

    Raises
    ------
    UnknownError
        For what is no value of the network, and for classes that `Model.predict_classes` would not choose.
    """
    names, rule = None, ""
    if isinstance(known, Labels):
        names, rule, known = known.names, known.rule, known.ending
    if isinstance(known, Ending):
        found = Meaning(known.outputs, known.kind, names)
        is_chosen = rule != "over"
    elif isinstance(known, Term):
        logits = _logits(known)
        found = Meaning(known.made(), None, names) if logits is None else Meaning(logits, "sigmoid", names)
        is_chosen = rule == "" or (rule == "over") == (logits is not None)
    else:
        raise UnknownError("what is no value of the network")
    if not is_chosen:
        wrong = "labels by 1/2 of what is no probability of its own"
        if rule == "largest":
            is_one = found.outputs.width == 1
            wrong = f"the largest of {'one probability' if is_one else 'probabilities that do not exclude each other'}"
        raise UnknownError(wrong)
    if rule == "over" and names is not None and found.outputs.width != 1:
        raise UnknownError("names of labels that do not exclude each other")
    if names is not None and len(set(names)) != len(names):
        raise UnknownError("two classes of one name")
    return found


def together(ends: Sequence[Known]) -> Meaning:
    """Return what the outputs of a graph show together.

    Raises
    ------
    UnknownError
        If they show different values, names that differ, or some columns of the probabilities only.
    """
    meanings = [meaning_of(end.ending if isinstance(end, Column) else end) for end in ends if not _is_list(end)]
    if not meanings or any(meaning.outputs is not meanings[0].outputs for meaning in meanings):
        raise UnknownError(f"{len(ends)} outputs of different values, where probabilities and their classes may be")
    found = meanings[0]
    given = [meaning.names for meaning in meanings if meaning.names is not None]
    if any(names != given[0] for names in given):
        raise UnknownError(_OTHER_NAMES)
    for other in meanings[1:]:
        found.kind, found.names = found.kind or other.kind, other.names if found.names is None else found.names
    has_numbers = any(isinstance(end, Labels) and end.rule and end.names is None for end in ends)
    if has_numbers and found.names is not None and found.names != list(range(len(found.names))):
        raise UnknownError(_OTHER_NAMES)
    columns = [end for end in ends if isinstance(end, Column)]
    if columns:
        count = 2 if isinstance(columns[0].ending, Ending) and found.kind == "sigmoid" else found.outputs.width
        if [column.place for column in columns] != list(range(count or 0)):
            raise UnknownError(f"{len(columns)} columns of probabilities, where all are expected, in order")
    for names in (end if isinstance(end, list) else listed(end) for end in ends if _is_list(end)):
        if names != (list(range(len(names))) if found.names is None else found.names):
            raise UnknownError(_OTHER_NAMES)
    return found


def _is_list(end: Known) -> bool:
    return isinstance(end, list | np.ndarray)
