"""What `stoop.diagnose` finds in a network that was trained with a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoop.cli._table_data import Part
from stoop.cli._table_model import TargetScale
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from stoop.diagnose import Report

Parts = Mapping[str, Part]


def diagnosis(
    trainer: Trainer, parts: Parts, scale: TargetScale, slices: Mapping[str, Any], target_error: float
) -> Report:
    """Return what `stoop.diagnose.check` finds; the model gives values as they were learnt."""
    from stoop.diagnose import check

    (X, y), (X_dev, y_dev) = parts["train"], parts["dev"]
    X_test, y_test = parts.get("test", (None, None))
    has_test = y_test is not None and len(y_test) > 0
    return check(
        trainer,
        X,
        scale.scaled(y),
        X_dev,
        scale.scaled(y_dev),
        target_error,
        X_test=X_test if has_test else None,
        y_test=scale.scaled(y_test) if has_test else None,
        slices={name: labels for name, labels in slices.items() if len(set(labels.tolist())) > 1} or None,
    )


def result_of(report: Report, path: Path | None) -> dict[str, Any]:
    """Return what commands print of it, and write the page if there is a path for it."""
    if path is not None:
        report.to_html(path)
    findings = [{"fault": one.fault, "evidence": one.evidence, "advice": one.advice} for one in report.findings]
    return {"summary": report.summary(), "findings": findings, "report": None if path is None else str(path)}
