"""The result of `stoop.diagnose.check`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stoop._diagnosis_figures import draw_errors
from stoop.diagnose._analysis import ErrorAnalysis
from stoop.diagnose._curve import Reading
from stoop.diagnose._findings import HIGH_BIAS, Finding
from stoop.diagnose._gaps import reference_words, sentence
from stoop.diagnose._gradients import GradientFlow
from stoop.diagnose._page import write_page
from stoop.diagnose._rates import RateTrial
from stoop.diagnose._recipe import Recipe
from stoop.diagnose._units import Units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Report:
    """What `check` has found; ``str`` tells it in words.

    Attributes
    ----------
    findings : list of Finding
        The faults, most basic cause first; empty if nothing is wrong.
    recipe : Recipe
    history : Reading or None
        None where no epoch was recorded.
    gradients : GradientFlow
    units : Units
    errors : ErrorAnalysis
        Of the dev data.
    rates : RateTrial or None
        None unless the training error is too large.
    facts : dict
        Samples, model, optimizer and so on.
    """

    findings: list[Finding]
    recipe: Recipe
    history: Reading | None
    gradients: GradientFlow
    units: Units
    errors: ErrorAnalysis
    rates: RateTrial | None
    facts: dict[str, Any]

    def __str__(self) -> str:
        lines = [self.summary()]
        for place, one in enumerate(self.findings, 1):
            lines += [f"{place}. {one.fault}", f"   {one.evidence}", f"   {one.advice}"]
        lines += ["", str(self.recipe).partition("\n1. ")[0], *self.notes()]
        if self.history is not None:
            lines += ["", str(self.history)]
        lines += ["", str(self.units), "", str(self.gradients), "", str(self.errors)]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return the verdict in one sentence."""
        if not self.findings:
            return "Nothing is wrong that this check can see."
        first, *others = [one.fault for one in self.findings]
        more = f"; then {', '.join(others)}" if others else ""
        return f"Begin with {first}{more}."

    def notes(self) -> list[str]:
        """Return what was measured by other models, in sentences."""
        found = []
        if self.facts["attainable"] is not None:
            poor = any(one.fault == HIGH_BIAS for one in self.findings)
            counts = "counts" if poor else "does not count"
            words = sentence(reference_words(self.facts["attainable"]))
            found.append(f"{words}; no target_error was given, so the training error {counts} as avoidable.")
        if self.facts["held_out"] is not None:
            rows = f"{self.facts['held_out']:,} training rows"
            found.append(f"The train-dev error is that of {rows}, of copies that were trained without them.")
        return found

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the errors of the parts with their limits; `pictures` has all other pictures.

        Parameters
        ----------
        path : path, optional
            Where to write it as PNG (or PDF, SVG by the suffix).

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        limits = {"target": (self.recipe.errors["target"],) * 2, **self.facts["limits"]}
        rows = []
        for name, error in self.recipe.errors.items():
            low, high = limits[name]
            rows.append((name.replace("_", "-"), error, low, high if math.isfinite(high) else error))
        return draw_errors(rows, self.error_words(), path)

    def error_words(self) -> str:
        """Return what the errors are."""
        return "error, 1 - R²" if self.facts["kind"] == "values" else "error, share predicted wrong"

    def pictures(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield the pictures, each with a name and a caption."""
        yield "errors", "The errors of the parts, with 90 % limits.", self.plot()
        if self.history is not None and self.history.has_epochs:
            yield "history", " ".join(self.history.words), self.history.plot()
        if self.rates is not None:
            yield (
                "rates",
                "The training loss that short fits from fresh weights reach at other rates.",
                self.rates.plot(),
            )
        if any(self.units.worst(kind)[0] > 0.0 for kind in ("dead", "saturated", "symmetric")):
            yield "units", f"Units that do nothing for {self.units.samples:,} training samples.", self.units.plot()
        yield "gradients", "The gradient at each layer, and the next update beside the weight.", self.gradients.plot()
        yield from self.errors.pictures()

    def to_html(self, path: str | os.PathLike[str], title: str = "Diagnosis") -> None:
        """Write one HTML page with everything in it: no other file, no network, no script; for light and dark screens.

        Parameters
        ----------
        path : path
            It is written beside its target and renamed, so that a failed write leaves an old file as it was.
        title : str, default "Diagnosis"

        Raises
        ------
        OSError
            If the file cannot be written.
        ImportError
            If matplotlib is not installed; the extra ``stoop[plot]`` brings it.
        """
        write_page(self, path, title)

    def to_dict(self) -> dict[str, Any]:
        """Return findings and figures as plain Python values, without inputs and pictures."""
        errors = self.errors
        return {
            "summary": self.summary(),
            "findings": [asdict(one) for one in self.findings],
            "recipe": asdict(self.recipe),
            "history": None if self.history is None else {"shape": self.history.shape, "words": self.history.words},
            "gradients": asdict(self.gradients),
            "units": asdict(self.units),
            "rates": None if self.rates is None else asdict(self.rates),
            "errors": {
                "error": errors.error,
                "samples": errors.samples,
                "class_names": errors.class_names,
                "confusion": None if errors.confusion is None else errors.confusion.tolist(),
                "classes": [asdict(group) for group in errors.classes],
                "slices": {name: [asdict(group) for group in groups] for name, groups in errors.slices.items()},
                "worst": [asdict(mistake) for mistake in errors.worst],
                "calibration": None if errors.calibration is None else asdict(errors.calibration),
            },
            "facts": self.facts,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON; numbers that are not finite become null."""
        return json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
