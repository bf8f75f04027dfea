"""What `stoop.diagnose` finds in a network that was trained with a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoop._tables import TargetScale
from stoop.cli._table_data import Part
from stoop.cli._table_model import filled
from stoop.trainer import Trainer

if TYPE_CHECKING:
    from stoop.diagnose import Report

Parts = Mapping[str, Part]


def diagnosis(
    trainer: Trainer, parts: Parts, scale: TargetScale, slices: Mapping[str, Any], target_error: float
) -> Report:
    """Return what `stoop.diagnose.check` finds; the model gives values as they were learnt."""
    from stoop.diagnose import check

    whole = {name: (filled(trainer.model, X), scale.scaled(y)) for name, (X, y) in parts.items() if len(y)}
    X_test, y_test = whole.get("test", (None, None))
    return check(
        trainer,
        *whole["train"],
        *whole["dev"],
        target_error,
        X_test=X_test,
        y_test=y_test,
        slices={name: labels for name, labels in slices.items() if len(set(labels.tolist())) > 1} or None,
    )


def result_of(report: Report, path: Path | None, title: str) -> dict[str, Any]:
    """Return what commands print of it, and write the page if there is a path for it."""
    if path is not None:
        report.to_html(path, title)
    findings = [{"fault": one.fault, "evidence": one.evidence, "advice": one.advice} for one in report.findings]
    return {"summary": report.summary(), "findings": findings, "report": None if path is None else str(path)}
