"""`Columns`, the layer that encodes columns of X: numbers and codes of categories."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY
from itertools import pairwise
from typing import Any, ClassVar

from stoop._checks import integer
from stoop._config import dataclass
from stoop._errors import message
from stoop.activations import Layer

_MOST = 2**20
__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns(Layer):
    """Encodes the columns of X, numbers and codes of categories. The first layer of a model.

    The output has the columns in the order of X, each replaced by its encoding. `Model.adapt`, or the first `fit` of a
    model that was not adapted, finds medians, quantiles and means in the training rows; they are part of the model's
    file. A NaN in a column of numbers counts as the mean of that column.

    Codes are whole numbers in columns of X, or in a second array, whose columns follow those of the first:
    ``fit((X, codes), y)``, ``predict((X, codes))``. Known codes are 0 .. n-1, NaN or -1 is "missing", any other whole
    number "unknown". The one-hot columns of both are zeros; a table has a row for each, after those of the known codes.
    float32 tells apart whole numbers up to 2**24 alone, so columns with more codes need X of float64 or integers.

    Parameters ``0.embedding`` ``(rows, embedding_dim)``: the tables of all columns that have one, in the order of X,
    each with n known codes, "missing" and "unknown". They start as U(-a, a), a = 1/sqrt(embedding_dim), as in the code
    of Gorishniy et al. 2021, "Revisiting deep learning models for tabular data"; missing and unknown as zeros. With
    "periodic", by column of numbers: ``0.frequencies`` ``(columns, frequencies)``, ``0.weight``
    ``(columns * 2 * frequencies, embedding_dim)``, ``0.bias`` ``(columns, embedding_dim)``. With "ple_linear", by
    column of numbers: ``0.linear`` ``(columns, embedding_dim)``, ``0.weight`` ``(bins of all columns, embedding_dim)``,
    unless there are no bins, and ``0.bias`` ``(columns, embedding_dim)``; they start as U(-a, a), a =
    1/sqrt(embedding_dim), but ``0.weight`` as zeros.
    Buffers ``0.shift``, ``0.scale``, ``0.shift_rest`` and ``0.missing`` as those of a `Normalization`, and
    ``0.bin_left`` and ``0.bin_scale``, where each bin begins and 1 / its width, in the unit of the scaled numbers.

    Parameters
    ----------
    categories : mapping of int to int, optional
        The number of known codes of each column of X that holds codes. The other columns hold numbers. It is kept as a
        tuple of pairs in the order of the columns.
    encoding : {"ple", "periodic", "none", "ple_linear"}, default "ple"
        Of the numbers. "ple": piecewise-linear, Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical
        features in tabular deep learning", eq. 1, with bins between quantiles of the training rows. "periodic":
        ``relu(cos(2 pi c z) @ W1 + sin(2 pi c z) @ W2 + b)`` with c, W and b of each column, section 3.3; z is the
        scaled number. "none": z itself. "ple_linear": ``z * linear + e @ weight + b`` with a linear layer of each
        column, e the encoding "ple" and z the scaled number: `PiecewiseLinearEmbeddings` of version "B" in the package
        `rtdl_num_embeddings` of the same authors. It starts as a linear function of z.
    bins : int or sequence of int, default 48
        Of "ple" and "ple_linear"; a sequence has one for each column of numbers. Quantiles that are equal make one
        edge, and columns of e that are left over are zeros. 0: the scaled number alone.
    frequencies : int, default 48
        Of "periodic", of each column.
    frequency_scale : float, default 0.01
        The frequencies start as N(0, frequency_scale**2).
    embedding_dim : int, default 8
        Columns of a table, and of the encodings "periodic" and "ple_linear".
    one_hot : int, default 9
        A category of at most so many codes becomes one-hot, another an embedding.
    kind : {"standard", "robust", "minmax"}, default "robust"
        How numbers are scaled, as in `Normalization`; bins are the same in any unit.
    clip : float, optional
        Of scaled numbers, as in `Normalization`; 3 by default. None: no clip. Bins are found and passed without it.
    lazy : bool, default False
        True: an update touches those rows of the tables alone whose gradient is not zero: their values, what the
        optimizer holds of them, their l1, l2 and weight decay, and their average (`ema`). Momentum and averages of
        other rows stand still meanwhile, as in PyTorch's SparseAdam, and the correction of Adam's bias counts all
        updates. A large table needs this with every optimizer but SGD without momentum, whose updates are the same
        either way.
    trainable : bool, default True
        False: tables, frequencies and linear layers stay as they are.
    lr_scale, decay_scale : float, default 1.0
        Factors of their learning rate, and of the weight decay and the trainer's l1 and l2 of tables and linear layers,
        each >= 0.

    Raises
    ------
    ValueError, TypeError
        For a number outside its range, an unknown name, or another kind of argument. `Model` refuses columns that X
        does not have.
    """

    type_name: ClassVar[str] = "columns"
    categories: "Mapping[int, int] | Iterable[tuple[int, int]] | None" = None
    _: KW_ONLY
    encoding: str = "ple"
    bins: "int | Sequence[int]" = 48
    frequencies: int = 48
    frequency_scale: float = 0.01
    embedding_dim: int = 8
    one_hot: int = 9
    kind: str = "robust"
    clip: float | None = 3.0
    lazy: bool = False
    trainable: bool = True
    lr_scale: float = 1.0
    decay_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("categories", _pairs(self.categories))
        self._set("bins", _bins(self.bins))

    def to_config(self) -> dict[str, Any]:
        """Return the form that is stored in a model file."""
        config: dict[str, Any] = super().to_config()
        config["categories"] = [list(pair) for pair in config["categories"]]
        config["bins"] = [config["bins"]] if isinstance(config["bins"], int) else config["bins"]
        return config

    def output_width(self, width: int) -> int:
        """Return the columns of the output for `width` columns of X."""
        codes = dict(self.categories or ())
        bins = [self.bins] * (width - len(codes)) if isinstance(self.bins, int) else list(self.bins)
        out = sum(count if count <= self.one_hot else self.embedding_dim for count in codes.values())
        if self.encoding == "ple":
            return out + sum(max(count, 1) for count in bins)
        return out + (width - len(codes)) * (1 if self.encoding == "none" else self.embedding_dim)


Columns.__module__ = "stoop.layers"  # where users import it from, and pickle looks for it


def _pairs(categories: Any) -> tuple[tuple[int, int], ...]:
    """Return ``(column, codes)`` of each column of categories, in the order of the columns."""
    if categories is None:
        return ()
    try:
        items = categories.items() if isinstance(categories, Mapping) else categories
        given = [(column, codes) for column, codes in items]
    except (TypeError, ValueError):
        hint = "give {column: number of known codes}"
        raise TypeError(message("Columns", f"categories is {categories!r}", "expected a mapping", hint)) from None
    pairs = []
    for column, codes in given:
        checked = integer("Columns", "a column of categories", column, 0)
        pairs.append((checked, integer("Columns", f"the codes of column {checked}", codes, 1)))
    pairs.sort()
    for (before, _), (column, _) in pairwise(pairs):
        if before == column:
            given_twice = f"column {column} of categories is there twice"
            raise ValueError(message("Columns", given_twice, "expected each column once", "leave one of them out"))
    return tuple(pairs)


def _bins(bins: Any) -> int | tuple[int, ...]:
    if isinstance(bins, str) or not hasattr(bins, "__iter__"):
        return integer("Columns", "bins", bins, 0, _MOST, hint="48 is usual, 0 keeps the number itself, scaled")
    each = tuple(integer("Columns", f"bins[{index}]", count, 0, _MOST) for index, count in enumerate(bins))
    return each[0] if len(each) == 1 else each
