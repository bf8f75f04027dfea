"""The list of steps that exports are made from computes what the model computes."""

from __future__ import annotations

import pytest

import crossed
import export_cases
from helpers import relative_error
from stoop.export._evaluate import evaluate
from stoop.export._steps import Affine, BatchScale, Folding, Normalize, Scale, steps_of


@pytest.mark.parametrize("folding", Folding)
@pytest.mark.parametrize("case", export_cases.CASES)
def test_the_steps_are_the_model(case: str, folding: Folding) -> None:
    model, X = export_cases.model_of(case, "float64"), export_cases.rows_of(case)
    value = evaluate(steps_of(model, folding), X)[-1]
    assert value.shape == (len(X), 1, model.output_dim)
    # A bin, or a shift of float32 rows, is within some roundings of float64.
    assert relative_error(value[:, 0], model.predict(X.astype("float64"))) < 1e-13, case


def test_every_layer_and_activation_has_a_case() -> None:
    kinds = {layer.type_name for layers, _, _ in export_cases.CASES.values() for layer in layers}
    assert kinds >= {name for kind, name in crossed.listed() if kind in ("layer", "activation")}


def test_what_is_linear_is_one_step() -> None:
    def kinds(case: str, folding: Folding = Folding.COLUMNS) -> list[type]:
        return [type(step) for step in steps_of(export_cases.model_of(case), folding)]

    assert kinds("batch norm")[0] is Affine
    assert Scale not in kinds("batch norm")
    assert kinds("batch norm", Folding.NOTHING)[1] is BatchScale
    assert kinds("normalization") == [Affine]
    assert kinds("normalization", Folding.UNIFORM) == [Normalize, Affine]
    assert kinds("normalization with clip") == [Normalize, Affine]
    assert Scale not in kinds("scale of the input", Folding.UNIFORM)
    assert Scale not in kinds("feature scale")


def test_a_shift_that_takes_digits_away_stays_apart() -> None:
    model = export_cases.model_of("normalization")
    model.adapt(export_cases.rows_of("normalization", 200) + 1e5)
    assert [type(step) for step in steps_of(model)] == [Normalize, Affine]
