"""What is given for an array: masks are refused, tables and objects of numbers become numbers, everywhere alike."""

from __future__ import annotations

import array
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import stoop
from helpers import refused

ROWS, COLUMNS = 8, 3


def make_model(outputs: int = 1) -> Any:
    return stoop.Model([stoop.Dense(outputs)], input_dim=COLUMNS, dtype="float64")


def make_x() -> npt.NDArray[Any]:
    return np.random.default_rng(0).standard_normal((ROWS, COLUMNS))


def make_trainer() -> Any:
    return stoop.Trainer(make_model(), "mse")


Y = np.arange(ROWS) * 0.1
CLASSES = np.arange(ROWS) % 2


def masked(values: npt.ArrayLike) -> Any:
    """The values with one of them masked."""
    result = np.ma.array(values, copy=True)
    result[(1, *(0,) * (result.ndim - 1))] = np.ma.masked
    return result


def into_params(wrap: Callable[[Any], Any]) -> Any:
    return stoop.minimize(lambda params: (float(np.sum(params[0] ** 2)), [2 * params[0]]), [wrap(np.ones(3))], "sgd", 2)


# Every place where arrays enter: a call with one array wrapped.
PLACES: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "fit X": lambda w: make_trainer().fit(w(make_x()), Y, epochs=1, verbose=0),
    "fit y": lambda w: make_trainer().fit(make_x(), w(Y), epochs=1, verbose=0),
    "fit weights": lambda w: make_trainer().fit(make_x(), Y, epochs=1, sample_weight=w(Y), verbose=0),
    "fit classes": lambda w: stoop.Trainer(make_model(2)).fit(make_x(), w(CLASSES), epochs=1, verbose=0),
    "fit one-hot": lambda w: stoop.Trainer(make_model(2)).fit(make_x(), w(np.eye(2)[CLASSES]), epochs=1, verbose=0),
    "fit labels": lambda w: stoop.Trainer(make_model(), "binary_cross_entropy").fit(
        make_x(), w(CLASSES), epochs=1, class_weight={0: 1.0, 1: 2.0}, verbose=0
    ),
    "class_weight": lambda w: stoop.Trainer(make_model(2)).fit(
        make_x(), CLASSES, epochs=1, class_weight=w(np.array([1.0, 2.0])), verbose=0
    ),
    "validation X": lambda w: make_trainer().fit(make_x(), Y, epochs=1, validation_data=(w(make_x()), Y), verbose=0),
    "validation y": lambda w: make_trainer().fit(make_x(), Y, epochs=1, validation_data=(make_x(), w(Y)), verbose=0),
    "validation weights": lambda w: make_trainer().fit(
        make_x(), Y, epochs=1, validation_data=(make_x(), Y, w(Y)), verbose=0
    ),
    "step X": lambda w: make_trainer().step(w(make_x()), Y[:, None]),
    "step y": lambda w: make_trainer().step(make_x(), w(Y[:, None])),
    "evaluate X": lambda w: make_trainer().evaluate(w(make_x()), Y[:, None]),
    "evaluate y": lambda w: make_trainer().evaluate(make_x(), w(Y[:, None])),
    "loss_and_grad X": lambda w: make_trainer().loss_and_grad(w(make_x()), Y[:, None]),
    "loss_and_grad weights": lambda w: make_trainer().loss_and_grad(make_x(), Y[:, None], sample_weight=w(Y)),
    "direction": lambda w: make_trainer().hessian_vector_product(
        make_x(), Y[:, None], {"0.weight": w(np.ones((COLUMNS, 1)))}
    ),
    "predict": lambda w: make_model().predict(w(make_x())),
    "Predictor.predict": lambda w: stoop.Predictor(make_model()).predict(w(make_x())),
    "predict_proba": lambda w: make_model().predict_proba(w(make_x())),
    "gradcheck X": lambda w: stoop.gradcheck(make_model(), "mse", w(make_x()), Y),
    "gradcheck y": lambda w: stoop.gradcheck(make_model(), "mse", make_x(), w(Y)),
    "gradcheck weights": lambda w: stoop.gradcheck(make_model(), "mse", make_x(), Y, sample_weight=w(Y + 1)),
    "load_state_dict": lambda w: make_model(2).load_state_dict(
        {"0.weight": w(np.ones((COLUMNS, 2))), "0.bias": np.zeros(2)}
    ),
    "standardize": lambda w: stoop.data.standardize(w(make_x())),
    "standardize others": lambda w: stoop.data.standardize(make_x(), w(make_x())),
    "train_test_split X": lambda w: stoop.data.train_test_split(w(make_x()), Y),
    "train_test_split y": lambda w: stoop.data.train_test_split(make_x(), w(Y)),
    "accuracy": lambda w: stoop.metrics.accuracy(w(CLASSES), CLASSES),
    "confusion_matrix": lambda w: stoop.metrics.confusion_matrix(CLASSES, w(CLASSES)),
    "plotting": lambda w: stoop.plotting.confusion_matrix(w(CLASSES), CLASSES),
    "ewa": lambda w: stoop.ewa(w(Y), 0.9),
    "minimize": into_params,
    "opt.step parameter": lambda w: stoop.optimizers.SGD().step([w(np.ones(3))], [np.ones(3)]),
    "opt.step gradient": lambda w: stoop.optimizers.SGD().step([np.ones(3)], [w(np.ones(3))]),
    "critical_point": lambda w: stoop.diagnose.critical_point(make_trainer(), w(make_x()), Y),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_mask_is_refused_wherever_arrays_enter(place: str) -> None:
    with refused(ValueError, "masked", r"\.filled\(", r"\.compressed\("):
        PLACES[place](masked)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_masked_is_an_array_like_any_other(place: str) -> None:
    PLACES[place](np.ma.array)


def test_a_mask_changes_neither_bits_nor_speed_of_what_has_none() -> None:
    X = make_x()
    model = make_model()
    for same in (np.ma.array(X), np.ma.array(X, mask=False), X.view(np.matrix), np.asfortranarray(X)):
        np.testing.assert_array_equal(model.predict(same), model.predict(X))


def test_masks_in_disguise() -> None:
    class Variable:  # netCDF4 and others give a masked array when they are read
        def __array__(self, *_: Any, **__: Any) -> Any:
            return masked(make_x())

    record = np.ma.array([(1.0, 2.0)], dtype=[("a", "f8"), ("b", "f8")], mask=[(False, True)])
    row = [1.0, np.ma.masked, 2.0]
    for X in (Variable(), list(masked(make_x())), tuple(masked(make_x())), record, [row, row], (row,), row):
        with refused(ValueError, "masked"):
            make_model().predict(X)


# ---- objects and tables that hold numbers ----

TABLE = pd.DataFrame({"a": [0.5, 1.5, 2.5], "b": [True, False, True], "c": [1, 2, 3]})
AS_NUMBERS = TABLE.astype("float64").to_numpy()


def arrow_dtypes() -> pd.DataFrame:
    return TABLE.astype({"a": "double[pyarrow]", "b": "bool[pyarrow]", "c": "int64[pyarrow]"})


TABLES: dict[str, Callable[[], Any]] = {
    "bool beside float": lambda: TABLE,
    "objects": lambda: TABLE.astype(object),
    "array of objects": lambda: TABLE.to_numpy(object),
    "list of objects": lambda: TABLE.to_numpy(object).tolist(),
    "nullable": lambda: TABLE.astype({"a": "Float64", "b": "boolean", "c": "Int64"}),
    "all Float64": lambda: TABLE.astype("Float64"),
    "all Int8 and Float32": lambda: TABLE.astype({"a": "Float32", "b": "Int8", "c": "UInt8"}),
    "Arrow dtypes": arrow_dtypes,
    "category of numbers": lambda: TABLE.astype({"c": "category"}),
    "sparse column": lambda: TABLE.assign(c=pd.arrays.SparseArray([1.0, 2.0, 3.0])),
    "two columns of one name": lambda: TABLE.set_axis(["a", "a", "c"], axis=1),
    "polars": lambda: pl.DataFrame(TABLE.to_dict("list")),
    "polars decimal": lambda: pl.DataFrame(TABLE.to_dict("list")).cast({"a": pl.Decimal(10, 2)}),
    "Arrow table": lambda: pa.table(TABLE.to_dict("list")),
    "Arrow batch": lambda: pa.RecordBatch.from_pydict(TABLE.to_dict("list")),
    "decimals and fractions": lambda: [
        [Decimal("0.5"), True, 1], [Fraction(3, 2), np.bool_(False), 2.0], [np.float32(2.5), 1, np.int8(3)],
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_columns_of_numbers_are_numbers(kind: str) -> None:
    model = make_model()
    want = model.predict(AS_NUMBERS)
    np.testing.assert_array_equal(model.predict(TABLES[kind]()), want)
    scaled = stoop.data.standardize(TABLES[kind]())
    np.testing.assert_allclose(scaled, stoop.data.standardize(AS_NUMBERS), atol=1e-6)


SERIES: dict[str, Callable[[Any], Any]] = {
    "Int64": lambda y: pd.Series(y, dtype="Int64"),
    "Arrow": lambda y: pd.Series(y, dtype="int64[pyarrow]"),
    "objects": lambda y: pd.Series(y, dtype=object),
    "array of objects": lambda y: np.array(y, object),
    "category": lambda y: pd.Series(y, dtype="category"),
    "polars": pl.Series,
    "Arrow array": pa.array,
    "Arrow chunks": lambda y: pa.chunked_array([y]),
    "buffer": lambda y: array.array("q", y),
    "memoryview": lambda y: memoryview(array.array("q", y)),
    "bools": lambda y: np.array(y, bool),
    "objects that are bools": lambda y: np.array([bool(v) for v in y], object),
}


@pytest.mark.parametrize("kind", SERIES)
def test_classes_and_values_in_other_containers(kind: str) -> None:
    X, y = make_x(), [0, 1, 1, 0, 1, 0, 0, 1]
    classes, values = stoop.Trainer(make_model(2)), make_trainer()
    given = SERIES[kind](y)
    assert classes.evaluate(X, given) == classes.evaluate(X, y)
    assert values.evaluate(X, given, sample_weight=SERIES[kind](y)) == values.evaluate(X, y, sample_weight=y)
    assert stoop.metrics.accuracy(given, y) == 1.0


def test_dlpack_alone_is_enough() -> None:
    class Tensor:
        def __init__(self, values: Any) -> None:
            self.values = values

        def __dlpack__(self, *arguments: Any, **named: Any) -> Any:
            return self.values.__dlpack__(*arguments, **named)

        def __dlpack_device__(self) -> Any:
            return self.values.__dlpack_device__()

    np.testing.assert_array_equal(make_model().predict(Tensor(make_x())), make_model().predict(make_x()))


def test_integers_that_no_int64_holds() -> None:
    trainer = stoop.Trainer(make_model(2))
    for huge in (2**63, 2**64 - 1, 2**70):
        with refused((ValueError, TypeError), "y|class"):
            trainer.evaluate(make_x(), np.array([0, 1, 1, 0, 1, 0, 0, huge], object))
    with refused(ValueError, "X holds an object"):
        make_model().predict([[10**400, 1, 2]])
    np.testing.assert_array_equal(make_model().predict([[2**70, 1, 2]]), make_model().predict([[2.0**70, 1, 2]]))


# ---- what is no number is named ----

WITH = TABLE.assign
STRANGERS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "text": (lambda: WITH(b=["F", "M", "F"]), ("'b'", "column 1", "'F'", "encode")),
    "text of digits": (lambda: WITH(c=["1", "2", "3"]), ("'c'", "'1'", r"\.astype\(float\)")),
    "text in a category": (lambda: WITH(b=pd.Categorical(["F", "M", "F"])), ("'b'", "'F'")),
    "text in Arrow": (lambda: WITH(b=pd.Series(["F", "M", "F"], dtype="string[pyarrow]")), ("'b'", "'F'")),
    "None": (lambda: WITH(c=np.array([1, None, 3], object)), ("'c'", "row 1", "None", "fill")),
    "pd.NA": (lambda: WITH(c=np.array([1, 2, pd.NA], object)), ("'c'", "row 2", "NA", "fill")),
    "NaT": (lambda: WITH(c=np.array([1, 2, pd.NaT], object)), ("'c'", "row 2", "NaT", "fill")),
    "dates": (lambda: WITH(c=pd.date_range("2026-01-01", periods=3)), ("'c'", "Timestamp|datetime")),
    "durations": (lambda: WITH(c=pd.to_timedelta([1, 2, 3], unit="s")), ("'c'", "Timedelta|timedelta")),
    "complex": (lambda: WITH(c=np.array([1j, 2, 3])), ("'c'", "complex")),
    "complex among floats": (lambda: WITH(c=np.array([1.0, 2j, 3], object)), ("'c'", "complex", "row 1")),
    "lists": (lambda: WITH(c=pd.Series([[1], [2], [3]])), ("'c'", "list")),
    "bytes of digits": (lambda: WITH(c=np.array([b"1", b"2", b"3"], object)), ("'c'", "bytes")),
    "polars text": (lambda: pl.DataFrame({"a": [1.0], "b": ["F"], "c": [2]}), ("'b'", "'F'")),
    "polars null": (lambda: pl.DataFrame({"a": [1.0, 2.0], "b": [True, None], "c": [2, 3]}), ("'b'", "row 1", "None")),
    "Arrow text": (lambda: pa.table({"a": [1.0], "b": ["F"], "c": [2]}), ("'b'", "'F'")),
    "array of text": (lambda: np.array([["1", "2", "3"]]), ("dtype <U1", "'1'", r"\.astype\(float\)")),
    "list of text": (lambda: [[1, 2, "x"]], ("dtype <U", "encode")),
    "all dates": (lambda: TABLE.apply(lambda c: pd.to_datetime(c.astype(int))), ("datetime64", "timedelta64")),
    "a structure": (lambda: np.zeros(3, [("a", "f8"), ("b", "f8")]), ("structured_to_unstructured",)),
    "complex array": (lambda: np.zeros((3, 3), complex), ("complex128", r"X\.real")),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_column_that_is_no_number_is_named(kind: str) -> None:
    make, patterns = STRANGERS[kind]
    with refused(TypeError, r"\[Model.predict\] X has dtype|column", *patterns):
        make_model().predict(make())


@pytest.mark.parametrize("frame", [TABLE.astype({"c": "Int64"}), arrow_dtypes()], ids=["nullable", "Arrow"])
def test_a_missing_value_of_a_nullable_column_is_named(frame: pd.DataFrame) -> None:
    frame = frame.copy()
    frame.loc[1, "c"] = pd.NA
    with refused((ValueError, TypeError), "row 1", r"column 2 \('c'\)", "fill"):
        make_trainer().evaluate(frame, np.zeros(3))
    with refused((ValueError, TypeError), "missing|no value"):
        stoop.Trainer(make_model(4)).evaluate(AS_NUMBERS, frame["c"])


def test_series_of_text_are_named() -> None:
    with refused(TypeError, "'price'", "row 0", "'10'"):
        make_trainer().evaluate(AS_NUMBERS, pd.Series(["10", "20", "30"], name="price", dtype=object))
    with refused(TypeError, "sample_weight", "'w'", "row 1"):
        weights = pd.Series([1.0, None, 2.0], name="w", dtype=object)
        make_trainer().evaluate(AS_NUMBERS, np.zeros(3), sample_weight=weights)


NO_ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "a generator": (lambda: (row for row in AS_NUMBERS), r"np\.array\(list\(X\)\)"),
    "a map": (lambda: map(list, AS_NUMBERS), r"np\.array\(list\(X\)\)"),
    "a set": (lambda: {1.0, 2.0}, r"np\.array\(list\(X\)\)"),
    "a dict": (lambda: TABLE.to_dict("list"), r"np\.column_stack\(list\(X\.values\(\)\)\)"),
    "None": (lambda: None, "X is None"),
    "an object": (object, "X is a object"),
    "sparse matrix": (lambda: scipy.sparse.csr_matrix(AS_NUMBERS), r"X\.toarray\(\)"),
    "sparse array": (lambda: scipy.sparse.coo_array(AS_NUMBERS), r"X\.toarray\(\)"),
    "lazy frame": (lambda: pl.LazyFrame({"a": [1.0]}), "LazyFrame"),
}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_array_is_named(kind: str) -> None:
    make, hint = NO_ARRAYS[kind]
    with refused(TypeError, r"\[Model.predict\]", hint):
        make_model().predict(make())


@pytest.mark.parametrize(
    "empty", [TABLE.astype(object).iloc[:0], TABLE.iloc[:, :0], np.empty((0, 3), object), pl.DataFrame(), pa.table({})]
)
def test_tables_without_rows_or_columns(empty: Any) -> None:
    with refused(ValueError, r"\[Model.predict\] X (is empty|has shape)"):
        make_model().predict(empty)


def test_an_array_that_cannot_be_read() -> None:
    class OnDevice:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("can't convert device tensor, copy it to the host first")

    with refused(TypeError, r"\[Model.predict\] X is a OnDevice", "copy it to the host", "NumPy"):
        make_model().predict(OnDevice())


@pytest.mark.parametrize(
    ("shape", "hint"),
    [((4, 3, 1), r"X\.reshape\(len\(X\), -1\)"), ((3,), r"X\.reshape\(1, -1\)"), ((), "row for each sample")],
)
def test_the_hint_of_another_rank(shape: tuple[int, ...], hint: str) -> None:
    with refused(ValueError, hint):
        make_model().predict(np.zeros(shape))


def test_a_single_column_of_many_rows() -> None:
    with refused(ValueError, r"X\.reshape\(-1, 1\)"):
        stoop.Model([stoop.Dense(1)], input_dim=1).predict(np.zeros(5))


@pytest.mark.parametrize("value", [10**400, -(10**5000)], ids=["401 digits", "5001 digits"])
def test_an_integer_beyond_float64_is_named(value: int) -> None:
    pandas = pytest.importorskip("pandas")
    model = stoop.Model([stoop.Dense(1)], input_dim=2)
    columns = {"age": np.array([1, 2, value], object), "pay": [1.0, 2.0, 3.0]}
    swapped = {"pay": columns["pay"], "age": columns["age"]}
    for X, place in (
        (pandas.DataFrame(columns), r"column 0 \('age'\), row 2 \(int, "),
        (pandas.DataFrame(swapped), r"column 1 \('age'\), row 2 \(int, "),
        (np.array([[1.5, value], [2.0, 3.0]], object), r"column 1, row 0 \(int, "),
    ):
        with refused(ValueError, "X holds an object", place):
            model.predict(X)
    series = pandas.Series(columns["age"], name="age")
    with refused(ValueError, "y holds an object", r"column 'age', row 2 \(int, "):
        stoop.Trainer(model, "mse").step(np.zeros((3, 2)), series)
    with refused(ValueError, "l2", "float64"):
        stoop.Trainer(model, "mse", l2=value)
