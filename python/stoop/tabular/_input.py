"""What `fit` and `predict` are given for X: data frames of any library, arrays of any cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stoop._checks import is_complex
from stoop._errors import message
from stoop._tables._messages import nearest, quoted

_EXACT = 2**53  # the whole numbers up to it differ as float64


class Table:
    """Rows and named columns: a matrix of real numbers where there is nothing else, or a pandas data frame.

    Parameters
    ----------
    native : ndarray or pandas.DataFrame
        What `native_of` returns.
    names : sequence of str, optional
        Of the columns. None: their own.

    Attributes
    ----------
    names : list of str
        As given, or of the columns; ``x0``, ``x1``, ... where they have none.
    matrix : ndarray or None
        float32 or float64, (n_rows, n_columns); None for a frame that holds something else.
    """

    def __init__(self, native: Any, names: Sequence[str] | None = None) -> None:
        self._native, self._frame = native, None
        self.matrix: npt.NDArray[Any] | None = None
        own = list(native.columns) if has_names(native) else _numbered(native.shape[1])
        self.names = own if names is None else list(names)
        if isinstance(native, np.ndarray):
            self.matrix = _reals(native)
            return
        if len(native) and all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in native.dtypes):
            self.matrix = _reals(native.to_numpy())

    @property
    def frame(self) -> Any:
        """A pandas data frame of the cells as they were given, whose index counts the rows."""
        if self._frame is None:
            if isinstance(self._native, np.ndarray):
                import pandas as pd

                cells = self._native if self._native.dtype.kind in "iu" else self.matrix
                self._frame = pd.DataFrame(cells, columns=self.names, copy=False)
            else:
                self._frame = self._native.set_axis(self.names, axis=1).reset_index(drop=True)
        return self._frame

    def __len__(self) -> int:
        return len(self._native)


def has_names(native: Any) -> bool:
    """Return whether it is a data frame whose columns have names: text, as against numbers that count them."""
    return not isinstance(native, np.ndarray) and all(isinstance(name, str) for name in native.columns)


def _numbered(columns: int) -> list[str]:
    return [f"x{place}" for place in range(columns)]


def _reals(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def native_of(where: str, X: Any, estimator: Any) -> Any:
    """Return X as an array of numbers, or as a pandas data frame.

    Raises
    ------
    ValueError, TypeError
        For what is no table of two dimensions.
    """
    if _is_pandas(X):
        return X
    if type(X) is np.ndarray and X.ndim == 2 and X.size and X.dtype.kind in "iuf":
        return X  # what follows takes longer than a prediction
    if isinstance(X, np.ndarray) and X.dtype.names is not None and X.ndim == 1:
        return _pandas(where, {name: X[name] for name in X.dtype.names})
    if isinstance(X, np.ma.MaskedArray):
        X = _without_mask(X)
    if not isinstance(X, np.ndarray) and (frame := _other_frame(where, X)) is not None:
        return frame
    from sklearn.utils import check_array

    _refuse_complex(where, X)
    array = check_array(_as_given(X), dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X")
    if array.dtype.kind in "iufb":
        return array
    if array.dtype.kind == "S":
        array = array.astype(str)
    names = _numbered(array.shape[1])
    frame = _pandas(where, {name: array[:, place] for place, name in enumerate(names)}).infer_objects()
    if all(dtype.kind in "iuf" for dtype in frame.dtypes) and not _has_long_integers(frame):
        return frame.to_numpy()
    return frame.set_axis(range(len(names)), axis=1)  # these names are not the user's


def _without_mask(X: Any) -> npt.NDArray[Any]:
    """Return a masked array as one with NaN, or None, for what is masked."""
    if not np.ma.is_masked(X):
        return np.asarray(X)
    cells = np.array(X.data, np.float64 if X.dtype.kind in "iuf" else object)
    cells[np.ma.getmaskarray(X)] = None
    return cells


def _has_long_integers(frame: Any) -> bool:
    """Return whether float64 would make others of whole numbers, which may be categories."""
    integers = [frame[name] for name in frame.columns if frame[name].dtype.kind in "iu"]
    return any(max(-int(column.min()), int(column.max())) > _EXACT for column in integers if len(column))


def _refuse_complex(where: str, X: Any) -> None:
    """Refuse an array of complex numbers; single ones among objects are found where columns are read."""
    if is_complex(X):
        expected = "expected numbers, text or booleans (Complex data not supported)"
        raise ValueError(message(where, f"X has dtype {X.dtype}", expected, "take the real part, X.real"))


def _as_given(X: Any) -> Any:
    """Return lists with text in them as an array of objects: otherwise NumPy makes text of all cells, NaN too."""
    if not isinstance(X, list | tuple):
        return X
    try:
        kind = np.asarray(X).dtype.kind
    except ValueError:  # rows of several lengths, which check_array explains
        return X
    if kind == "c":
        return np.array(X, dtype=object)  # whose cells are looked at one by one
    return np.array(X, dtype=object) if kind in "US" else X


def _is_pandas(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] == "pandas" and hasattr(X, "columns")


def _other_frame(where: str, X: Any) -> Any:
    """Return a data frame of another library as one of pandas, or None for what is no data frame."""
    import narwhals as nw

    if type(X).__module__.partition(".")[0] == "pyarrow" and type(X).__name__ == "RecordBatch":
        import pyarrow as pa

        X = pa.Table.from_batches([X])
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        given = f"X is a lazy {type(X).__name__}"
        raise TypeError(message(where, given, "expected rows", "call its collect() first"))
    if not isinstance(frame, nw.DataFrame):
        return None
    return _pandas(where, {name: _cells(where, frame[name]) for name in frame.columns})


def _cells(where: str, series: Any) -> Any:
    """Return the cells of a narwhals series as pandas takes them, missing ones as NaN or None."""
    import narwhals as nw

    dtype = series.dtype
    if dtype.is_decimal():  # whose digits tell the categories
        return _objects(series)
    if dtype.is_integer() and series.null_count() < len(series) and max(-series.min(), series.max()) > _EXACT:
        return _import_pandas(where).array(series.to_list(), dtype="UInt64" if series.min() >= 0 else "Int64")
    if dtype.is_numeric():
        return series.cast(nw.Float64()).to_numpy() if series.null_count() else series.to_numpy()
    if isinstance(dtype, nw.Categorical | nw.Enum):
        pandas = _import_pandas(where)
        if series.implementation.is_pyarrow():  # which may have other categories than text
            return pandas.Categorical(_decoded(where, series.name, series.to_native()))
        return pandas.Categorical(series.cast(nw.String()).to_list())
    return _objects(series)


def _decoded(where: str, name: str, column: Any) -> Any:
    """Return a dictionary column of Arrow as a pandas one of what its codes stand for."""
    kind = column.type.value_type
    if any(hasattr(kind, part) for part in ("fields", "value_type", "storage_type")):
        given, hint = f'column "{name}" has categories of type {kind}', "write them as text"
        raise TypeError(message(where, given, "expected text, numbers or times", hint))
    return column.cast(kind).to_pandas()


def _objects(series: Any) -> npt.NDArray[Any]:
    cells = np.empty(len(series), object)
    cells[:] = series.to_list()
    return cells


def _pandas(where: str, columns: dict[str, Any]) -> Any:
    return _import_pandas(where).DataFrame(columns, copy=False)


def _import_pandas(where: str) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        given, hint = "a table that is not of numbers alone", "pip install 'stoop[tabular]' brings it"
        raise ImportError(message(where, given, "expected pandas to read it", hint)) from error
    return pd


def in_order(where: str, native: Any, names: Any) -> Any:
    """Return the data frame with these columns, as training had them.

    Raises
    ------
    ValueError
        For columns that are missing, and for others.
    """
    own = list(names)
    given = list(native.columns)
    known, there = set(own), set(given)
    extra = [name for name in given if name not in known]
    if absent := [name for name in own if name not in there]:
        near = nearest(absent[0], extra)
        hint = f'rename "{near}"?' if near else "give all columns of the training"
        what = f"X has no column {quoted(absent)}"
        raise ValueError(message(where, what, f"expected {quoted(own)}, in any order", hint))
    if extra:
        what = f"X has the column {quoted(extra)}, which training did not have"
        raise ValueError(message(where, what, f"expected {quoted(own)}, in any order", "leave it out"))
    check_unique(where, given)
    return native if given == own else native[own]


def labels_of(native: Any) -> list[str] | None:
    """Return the labels of a data frame whose columns have no names, such as numbers; None for others."""
    return None if isinstance(native, np.ndarray) or has_names(native) else [str(label) for label in native.columns]


def by_labels(native: Any, labels: list[str]) -> Any:
    """Return a data frame that has these labels in their order; another is taken by the places of its columns."""
    given = labels_of(native)
    if given is None or given == labels or sorted(given) != sorted(labels) or len(set(given)) < len(given):
        return native
    return native.iloc[:, [given.index(label) for label in labels]]


def check_unique(where: str, names: list[Any]) -> None:
    """Raise ValueError for a name that several columns have."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        given = f"X has several columns with the name {quoted([str(name) for name in twice])}"
        raise ValueError(message(where, given, "expected names that differ", "rename them"))
