"""What the nodes of an ONNX graph compute, as far as it is known: values, which layers make, and functions of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop import activations
from stoop.activations import Activation
from stoop.export._evaluate import activate
from stoop.export.onnx._bends import is_close, is_far, spread, with_bends
from stoop.export.onnx._work import keep, key_of, memory, spend
from stoop.layers import Layer

Array = npt.NDArray[Any]

# The arguments at which functions are compared first. Beyond 40, exponentials of float32 begin to overflow.
POINTS: Array = np.concatenate([np.linspace(-6.0, 6.0, 97), [-40.0, -25.0, -12.5, 12.5, 25.0, 40.0]])
_CLOSE = 2e-6  # constants in files are of float32
_MOST_PARTS = 48  # nodes of one function
_MOST_OPERANDS = 48  # of one node
_MOST_FAILED = 4  # ways to read a function that looked right and were not
_NO_ACTIVATION = "a function that is no activation of Stoop"


class UnknownError(ValueError):
    """What is computed is no layer of Stoop.

    `node` says where, if that is not the node that is read, and `hint` what to do, if that is not what usually helps.
    """

    def __init__(self, reason: str, node: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.node, self.hint = node, hint


@dataclass(eq=False)
class Value:
    """What a layer makes of another value; X itself has no parent."""

    parent: Value | None
    width: int | None  # columns, None as long as nothing tells
    layer: Layer | str | None = None  # "affine": x * scale + shift, "residual": parent + the end of the branch
    arrays: Mapping[str, Array] = field(default_factory=dict)
    branch: Value | None = None  # of a residual: its end
    skip: Array | None = None  # of a residual: the weight of its projection
    depth: int = field(init=False)  # how many values lie between X and it

    def __post_init__(self) -> None:
        self.depth = 0 if self.parent is None else self.parent.depth + 1


Found = Activation | tuple[float, float] | float


class Term:
    """A function of each element of a value, made by nodes; without operands the value itself."""

    def __init__(
        self, value: Value, function: Callable[..., Array] | None = None, operands: tuple[Term | float, ...] = ()
    ) -> None:
        self.value, self.function, self.operands = value, function, operands
        self.node = ""  # which made it
        self.key = 0  # two functions of the same structure have equal keys, whatever values they are of
        self.steps = 0  # how slow the function is
        self._made: Value | UnknownError | None = value if function is None else None

    def samples(self, known: dict[int, Array]) -> Array:
        """Return the function at the points; `known` has what is known of parts, by their `id`."""
        if id(self) not in known:
            if self.function is None:
                raise UnknownError("the value below a cut")
            parts = [part.samples(known) if isinstance(part, Term) else part for part in self.operands]
            spend(len(next(iter(known.values()))), self.steps * len(self.operands))
            with np.errstate(all="ignore"):
                known[id(self)] = self.function(*parts)
        return known[id(self)]

    def parts(self) -> list[Term]:
        """Return what it is made of, without the value: the nearest first."""
        found: dict[int, Term] = {}
        wait = [self]
        while wait:
            term = wait.pop(0)
            for part in term.operands:
                if isinstance(part, Term) and part.function is not None and id(part) not in found:
                    found[id(part)] = part
                    wait.append(part)
        return list(found.values())

    def made(self) -> Value:
        """Return the value that it is, as a layer of Stoop makes it.

        Raises
        ------
        UnknownError
            If there is none.
        """
        made = self.made_or_why()
        if isinstance(made, UnknownError):
            raise made
        return made

    def made_or_why(self) -> Value | UnknownError:
        """Return the value that it is, or why there is none."""
        if self._made is None:
            self._made = self._find()
        return self._made

    def _find(self) -> Value | UnknownError:
        """Return what it is after the value, or after a part of it; some that look like a layer are none."""
        start, line = _line_of(self)
        if start.function is None:
            return applied(self.value, line)
        parts = self.parts()
        failed = UnknownError(_NO_ACTIVATION, self.node)
        for place, found in recognised(self, parts):
            value = self.value if place is None else parts[place].made_or_why()
            if isinstance(found, tuple) and place is not None and parts[place] is start:
                found = line  # samples lose digits of a large shift
            if isinstance(value, Value):
                return applied(value, found)
            failed = value
        return failed

    def readings(self, parts: Sequence[Term]) -> list[tuple[int | None, Found]]:
        """Return as what it can be read, after the value (None), or after one of its parts, by its place."""
        roots = {id(root): root for part in (*parts, self) for root in _roots(part)}
        starts = [list(roots.values()), *([part] for part in parts)]
        places: list[int | None] = [None, *range(len(parts))]
        out: list[tuple[int | None, Found]] = []
        failed = 0
        for place, start in zip(places, starts):
            if failed + len(out) > _MOST_FAILED:
                break
            try:
                found = layer_of(self.samples({id(term): POINTS for term in start}))
            except UnknownError:
                continue  # the value is read beside the cut as well
            if found is None:
                continue
            if self.is_same(start, spread(POINTS), partial(_values_of, found)):
                out.append((place, found))
                if place is None:
                    break  # the value is there
            else:
                failed += 1
        return out

    def is_same(self, start: Sequence[Term], points: Array, expected: Callable[[Array], Array]) -> bool:
        """Return whether it is a function of the start, at these points and wherever one of its parts bends."""
        parts = _between(self, start)
        constants = [number for part in parts for number in part.operands if not isinstance(number, Term)]
        pairs = [two for part in parts for two in _pairs(part)]

        def at(part: Term) -> Callable[[Array], Array]:
            return lambda x: part.samples({id(term): x for term in start})

        def between(a: Term, b: Term) -> Callable[[Array], Array]:
            return lambda x: np.subtract(at(a)(x), at(b)(x), dtype=np.float64)

        functions = [at(part) for part in (start[0], *parts)] + [between(a, b) for a, b in pairs]
        x = with_bends(points, functions, constants)
        if x is None:
            return False
        known = {id(term): x for term in start}
        values = self.samples(known)
        overflows = is_far(x) & ~np.isfinite(values) & _not_finite_of_finite(parts, known)
        return bool((is_close(x, values, expected(x)) | overflows).all())


def recognised(term: Term, parts: Sequence[Term]) -> list[tuple[int | None, Found]]:
    """Return `Term.readings`, found once for all functions of one structure in a file."""
    key, known = (term.key, *(part.key for part in parts)), memory()
    found: list[tuple[int | None, Found]] = known[key] if key in known else term.readings(parts)
    known[key] = found
    return found


def _between(end: Term, start: Sequence[Term]) -> list[Term]:
    """Return the parts of a function of the start, itself among them, each after what it is made of."""
    known, out = {id(term) for term in start}, list[Term]()

    def visit(term: Term) -> None:
        if id(term) not in known:
            known.add(id(term))
            for part in term.operands:
                if isinstance(part, Term):
                    visit(part)
            out.append(term)

    visit(end)
    return out


def _pairs(part: Term) -> Iterator[tuple[Term, Term]]:
    terms = {id(each): each for each in part.operands if isinstance(each, Term)}
    yield from combinations(terms.values(), 2)


def _not_finite_of_finite(parts: Sequence[Term], known: dict[int, Array]) -> Array:
    """Return where a part made an infinity, or NaN, of finite numbers."""
    found = np.zeros(len(next(iter(known.values()))), bool)
    for part in parts:
        is_new = ~np.isfinite(known[id(part)])
        for each in part.operands:
            is_new = is_new & np.isfinite(known[id(each)] if isinstance(each, Term) else each)
        found |= is_new
    return found


def combined(
    value: Value, function: Callable[..., Array], operands: tuple[Term | float, ...], name: str, steps: int
) -> Term:
    """Return a function of functions, whose name tells it from others; those of many nodes become values first."""
    if len(operands) > _MOST_OPERANDS:
        raise UnknownError(f"{len(operands)} inputs")
    term = _named(Term(value, function, operands), name, steps)
    if len(term.parts()) < _MOST_PARTS:
        return term
    whole = {id(part): Term(part.made()) for part in operands if isinstance(part, Term)}
    values = {term.value for term in whole.values()}
    if len(values) != 1:
        raise UnknownError(_NO_ACTIVATION, term.node)
    parts = tuple(whole[id(part)] if isinstance(part, Term) else part for part in operands)
    return _named(Term(values.pop(), function, parts), name, steps)


def _named(term: Term, name: str, steps: int) -> Term:
    term.key = key_of(name, *(part.key if isinstance(part, Term) else repr(part) for part in term.operands))
    term.steps = steps
    return term


def _line_of(term: Term) -> tuple[Term, tuple[float, float]]:
    """Return the last part that is no ``x * scale + shift`` of numbers, and what follows it as one scale and shift.

    They are exact for any size of the numbers; without such an end the term itself, 1 and 0.
    """
    scale, shift, start = np.float64(1.0), np.float64(0.0), term
    with np.errstate(all="ignore"):
        while (step := _step_of(start)) is not None:
            factor, number, start = step
            scale, shift = scale * factor, scale * number + shift
    if not np.isfinite([scale, shift]).all():
        return term, (1.0, 0.0)
    return start, (float(scale), float(shift))


def _step_of(term: Term) -> tuple[np.float64, np.float64, Term] | None:
    """Return factor, number and x of a term that is ``x * factor + number``."""
    terms = [part for part in term.operands if isinstance(part, Term)]
    if len(terms) != 1 or len(term.operands) > 2:
        return None
    if term.function is np.negative:
        return np.float64(-1.0), np.float64(0.0), terms[0]
    numbers = [np.float64(part) for part in term.operands if not isinstance(part, Term)]
    is_first = term.operands[0] is terms[0]
    if not numbers or (term.function is np.divide and not is_first):
        return None
    number, one = numbers[0], np.float64(1.0)
    if term.function is np.multiply:
        return number, np.float64(0.0), terms[0]
    if term.function is np.divide:
        return one / number, np.float64(0.0), terms[0]
    if term.function is np.add:
        return one, number, terms[0]
    if term.function is np.subtract:
        return (one, -number, terms[0]) if is_first else (-one, number, terms[0])
    return None


def _roots(term: Term) -> list[Term]:
    return [part for part in term.operands if isinstance(part, Term) and part.function is None]


def applied(value: Value, found: Found) -> Value:
    """Return the value after an activation, ``x * scale + shift``, or the smooth clip of a Normalization."""
    if isinstance(found, float):
        return Value(value, value.width, "clip", {"clip": np.float64(found)})
    if isinstance(found, tuple):
        scale, shift = found
        return value if found == (1.0, 0.0) else affine(value, np.float64(scale), np.float64(shift))
    return Value(value, value.width, found)


def affine(value: Value, scale: npt.ArrayLike, shift: npt.ArrayLike) -> Value:
    """Return ``value * scale + shift``; one after another are one."""
    arrays = {"scale": np.asarray(scale, np.float64), "shift": np.asarray(shift, np.float64)}
    parent = value
    if value.layer == "affine" and value.parent is not None:
        before, parent = value.arrays, value.parent
        arrays["shift"] = before["shift"] * arrays["scale"] + arrays["shift"]
        arrays["scale"] = before["scale"] * arrays["scale"]
    keep(sum(array.nbytes for array in arrays.values()))
    width = value.width or next((array.size for array in arrays.values() if array.size > 1), None)
    return Value(parent, width, "affine", arrays)


def _values_of(found: Found, x: Array) -> Array:
    """Return what the layer of `applied` gives."""
    with np.errstate(all="ignore"):
        if isinstance(found, float):
            return np.asarray(x / np.sqrt(1.0 + (x / found) ** 2))
        return found[0] * x + found[1] if isinstance(found, tuple) else activate(found, x)


def layer_of(samples: Array) -> Found | None:
    """Return what has these values at the points: an activation, scale and shift of a straight line, or a clip."""
    if samples.shape != POINTS.shape or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        return None
    middle, step = float(samples[48]), float(samples[56] - samples[48])  # at 0 and at 1
    if _is_close(samples, middle + step * POINTS):
        return step, middle
    most = float(samples[-1])
    if 0.0 < most < POINTS[-1]:
        clip = float(f"{POINTS[-1] * most / np.sqrt(POINTS[-1] ** 2 - most**2):.6g}")
        if _is_close(samples, _values_of(clip, POINTS)):
            return clip
    below = max(-float(samples[40]), 0.0)  # at -1
    limit = max(-float(samples[97]), 0.0)  # at -40
    plain = next((each for each in _plain() if _is_close(samples, _cached_values(each))), None)
    others = [activations.LeakyReLU(float(f"{below:.7g}")), activations.ELU(float(f"{limit:.7g}"))]
    return plain or next((each for each in others if _is_close(samples, activate(each, POINTS))), None)


def _is_close(a: Array, b: Array) -> bool:
    return bool((np.abs(a - b) <= _CLOSE * (1.0 + np.abs(POINTS))).all())


@cache
def _cached_values(activation: Activation) -> Array:
    return activate(activation, POINTS)


@cache
def _plain() -> tuple[Activation, ...]:
    """Return the activations that have no number as an argument, those of fewer operations first."""
    return (
        activations.ReLU(),
        activations.Sigmoid(),
        activations.Tanh(),
        activations.GELU(),
        activations.GELU(approximate="tanh"),
        activations.SiLU(),
        activations.SELU(),
        activations.Softplus(),
        activations.Mish(),
        activations.HardSwish(),
        activations.ReLU6(),
    )
