"""The report as one HTML page that needs nothing else: no network, no script; pictures are part of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from stoop import _core
from stoop._checks import file_path
from stoop._figures import inline_svg
from stoop._replacement import replace_file
from stoop.config import machine_line
from stoop.diagnose._recipe import PARTS
from stoop.diagnose._slices import SliceError

Report = Any  # the class of `_report.py`, which imports this file

_WIDE = ("history", "gradients", "mistakes", "predictions")  # pictures that take a whole row
_ENLARGED = 1.25  # by which a picture may be wider than it was drawn


def write_page(report: Report, path: str | os.PathLike[str], title: str) -> None:
    """Write the page beside its target and rename it, so that there is never half a file. A link stays one."""
    replace_file(file_path("Report.to_html", path), page_of(report, title).encode())


def page_of(report: Report, title: str) -> str:
    """Return the page."""
    template = Template(files("stoop.diagnose").joinpath("report.html").read_text(encoding="utf-8"))
    samples = report.facts["samples"]
    kinds = {"classes": "Classification", "labels": "Classification by labels", "values": "Regression"}
    sizes = ", ".join(f"{count:,} {PARTS[name]}" for name, count in samples.items())
    return template.substitute(
        title=escape(title),
        subtitle=escape(f"{kinds[report.facts['kind']]}: {sizes} samples."),
        tone="" if report.findings else "good",
        verdict=escape(report.summary()),
        findings=_findings(report),
        numbers=_numbers(report),
        recipe=_recipe(report),
        figures=_figures(report),
        analysis=_analysis(report),
        layers=_layers(report),
        facts=_facts(report),
        network=escape(report.facts["summary"]),
        version=escape(_core.build_info()["version"]),
    )


def _findings(report: Report) -> str:
    items = [
        f'<li class="card"><h3>{escape(one.fault.capitalize())}</h3>'
        f'<p><span class="label">seen</span>{escape(one.evidence)}</p>'
        f'<p><span class="label">to do</span>{escape(one.advice)}</p></li>'
        for one in report.findings
    ]
    return f'<ol class="findings">{"".join(items)}</ol>' if items else ""


def _numbers(report: Report) -> str:
    limits = report.facts["limits"]
    cells = []
    for name, error in report.recipe.errors.items():
        low, high = limits.get(name, (error, error))
        shown = f", {low:.1%} to {high:.1%}" if name in limits and np.isfinite(high) else ""
        note = f"{PARTS[name]} error{shown}"
        cells.append(f'<div class="number"><b>{error:.2%}</b><span>{escape(note)}</span></div>')
    return "".join(cells)


def _recipe(report: Report) -> str:
    rows = [
        (fault, f"{size:.2%}", "yes" if fault in report.recipe.problems else "no")
        for fault, size in report.recipe.gaps().items()
    ]
    kind = "1 - R²" if report.facts["kind"] == "values" else "the share predicted wrong"
    words = f"The error is {kind}; the limits in the boxes hold with 90 % confidence."
    table = _table("Gaps between the parts", ("would be", "gap", "a problem"), rows)
    notes = [words, *report.notes()]
    return table + "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _figures(report: Report) -> str:
    found = []
    for place, (name, caption, figure) in enumerate(report.pictures()):
        svg = inline_svg(figure, f"f{place}")
        label = escape(caption, quote=True)
        size = f"max-width: {_ENLARGED * figure.get_figwidth():.1f}in"  # a small figure would get huge letters
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" style="{size}" ', 1)
        wide = ' class="wide"' if name in _WIDE else ""
        found.append(f"<figure{wide}>{svg}<figcaption>{escape(caption)}</figcaption></figure>")
    return "\n".join(found)


def _analysis(report: Report) -> str:
    errors = report.errors
    first = "Error by label" if errors.kind == "labels" else "Error by class"
    parts = [_slices(first if errors.kind != "values" else "Error by true value", errors.classes)]
    parts += [_slices(f"Error by {name}", groups) for name, groups in errors.slices.items()]
    if errors.worst:
        last = "confidence" if errors.kind == "classes" else "residual"
        shown = [(f"{m.row:,}", _value(m.true), _value(m.predicted), f"{m.size:.3g}") for m in errors.worst]
        parts.append(_table("Worst mistakes", ("row", "true", "predicted", last), shown))
        if errors.inputs.ndim == 2 and errors.inputs.shape[1] <= 12:
            columns = [f"column {i}" for i in range(errors.inputs.shape[1])]
            rows = [
                (f"{m.row:,}", *(f"{x:.3g}" for x in np.asarray(row, float)))
                for m, row in zip(errors.worst, errors.inputs)
            ]
            parts.append(_table("Their inputs", ("row", *columns), rows))
    if errors.calibration is not None:
        parts.append(f'<div class="card">{escape(str(errors.calibration))}</div>')
    return "\n".join(parts)


def _slices(title: str, groups: Iterable[SliceError]) -> str:
    rows = []
    for group in groups:
        bar = f'{group.error:.1%}<span class="bar" style="width:{min(group.error, 1.0) * 5:.2f}rem"></span>'
        limits = f"{group.low:.1%} to {group.high:.1%}"
        rows.append((group.name, f"{group.samples:,}", _Html(bar), limits, f"{group.share:.0%}"))
    return _table(title, ("", "samples", "error", "95 % limits", "of all errors"), rows)


def _layers(report: Report) -> str:
    units = [
        (layer.name, layer.activation, str(layer.units), str(layer.dead), str(layer.saturated), str(layer.symmetric))
        for layer in report.units.layers
    ]
    head = ("layer", "activation", "units", "dead", "saturated", "symmetric")
    parts = [_table("Units that do nothing", head, units)] if units else []
    rows = [
        (
            layer.name,
            f"{layer.gradient_norm:.3g}",
            f"{layer.weight_norm:.3g}",
            _value(layer.update_ratio),
            _value(layer.signal),
        )
        for layer in report.gradients.layers
    ]
    head_of_rows = ("layer", "gradient", "weight", "update / weight", "gradient that reaches it")
    return "\n".join([*parts, _table("Gradients, as norms", head_of_rows, rows)])


def _facts(report: Report) -> str:
    facts = report.facts
    rows = {
        "model": facts["model"],
        "loss": facts["loss"],
        "optimizer": facts["optimizer"],
        "trained": f"{facts['epochs']:,} epochs, {facts['updates']:,} updates",
        "machine": machine_line(),
        "Python": f"{platform.python_version()}, NumPy {np.__version__}",
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in rows.items())


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    table = f"<table><caption>{escape(title)}</caption><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card scroll">{table}</div>'


def _cell(value: str) -> str:
    return value if isinstance(value, _Html) else escape(value)


def _value(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
