"""Error analysis of `stoop.diagnose`, and the report as text, JSON and one HTML page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import faults
import stoop
from helpers import refused
from stoop import Dense
from stoop.diagnose._calibration import calibration_of


@pytest.fixture(scope="module")
def classes() -> faults.Case:
    return faults.HEALTHY["rings"](0)


@pytest.fixture(scope="module")
def values() -> faults.Case:
    return faults.HEALTHY["waves"](0)


def test_confusion_and_errors_by_class(classes: faults.Case) -> None:
    X, y = classes.dev
    predicted = classes.trainer.model.predict_classes(X)
    found = stoop.diagnose.errors(classes.trainer, X, y, class_names=["in", "middle", "out"])
    assert np.array_equal(found.confusion, metrics.confusion_matrix(y, predicted))
    assert found.error == pytest.approx(np.mean(y != predicted))
    assert found.low <= found.error <= found.high
    assert [group.name for group in found.classes] == ["in", "middle", "out"]
    for label, group in enumerate(found.classes):
        assert group.error == pytest.approx(1.0 - metrics.recall_score(y, predicted, labels=[label], average="macro"))
        assert group.samples == (y == label).sum()
    assert sum(group.share for group in found.classes) == pytest.approx(1.0)
    assert "middle" in str(found)


def test_a_model_alone_is_enough(classes: faults.Case) -> None:
    X, y = classes.dev
    model = classes.trainer.model
    found = stoop.diagnose.errors(model, X, y)
    assert found.error == stoop.diagnose.errors(classes.trainer, X, y).error
    assert found.kind == "classes"


def test_worst_mistakes_are_the_most_confident(classes: faults.Case) -> None:
    X, y = classes.dev
    chances = classes.trainer.model.predict_proba(X)
    found = stoop.diagnose.errors(classes.trainer, X, y)
    predicted = chances.argmax(axis=1)
    wrong = np.flatnonzero(predicted != y)
    assert len(found.worst) == min(len(wrong), 24)
    assert found.worst[0].row in wrong
    assert found.worst[0].size == pytest.approx(chances[wrong].max(axis=1).max(), rel=1e-5)
    for mistake, inputs in zip(found.worst, found.inputs):
        assert (mistake.true, mistake.predicted) == (str(y[mistake.row]), str(predicted[mistake.row]))
        assert np.array_equal(inputs, X[mistake.row])


def test_worst_residuals(values: faults.Case) -> None:
    X, y = values.dev
    residuals = values.trainer.model.predict(X) - y
    found = stoop.diagnose.errors(values.trainer, X, y)
    assert found.confusion is None
    assert found.error == pytest.approx(1.0 - metrics.r2_score(y, values.trainer.model.predict(X)), rel=1e-4)
    rows = np.argsort(-np.abs(residuals[:, 0]))[:24]
    assert [mistake.row for mistake in found.worst] == list(rows)
    assert found.worst[0].size == pytest.approx(residuals[rows[0], 0], rel=1e-4)
    assert len(found.classes) == 4  # quarters of the true values


SLICES: dict[str, Any] = {
    "array": lambda X: np.where(X[:, 0] > 0, "right", "left"),
    "function": lambda X: lambda x: np.where(x[:, 0] > 0, "right", "left"),
    "list": lambda X: [np.where(X[:, 0] > 0, "right", "left")],
    "dict": lambda X: {"side": np.where(X[:, 0] > 0, "right", "left")},
    "labels": lambda X: list(np.where(X[:, 0] > 0, "right", "left")),
}


@pytest.mark.parametrize("form", SLICES)
def test_errors_by_slice(classes: faults.Case, form: str) -> None:
    X, y = classes.dev
    wrong = classes.trainer.model.predict_classes(X) != y
    found = stoop.diagnose.errors(classes.trainer, X, y, slices=SLICES[form](X))
    (name, groups), *others = found.slices.items()
    assert not others
    assert name == ("side" if form == "dict" else "<lambda>" if form == "function" else "slice")
    assert [group.name for group in groups] == ["left", "right"]
    for group, rows in zip(groups, (X[:, 0] <= 0, X[:, 0] > 0)):
        assert (group.samples, group.error) == (rows.sum(), pytest.approx(wrong[rows].mean()))
        assert group.low <= group.error <= group.high


def test_slices_by_column(classes: faults.Case) -> None:
    X, y = classes.dev
    by_index = stoop.diagnose.errors(classes.trainer, X, y, slices=[0, 1]).slices
    assert list(by_index) == ["column 0", "column 1"]
    assert [group.samples for group in by_index["column 0"]] == [125] * 4  # quarters
    frame = pd.DataFrame(X, columns=["east", "north"])
    by_name = stoop.diagnose.errors(classes.trainer, frame, y, slices="east").slices
    assert by_name == {"east": by_index["column 0"]}


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"slices": "east"}, "no named columns"),
        ({"slices": 5}, "slice 5 of 2 columns"),
        ({"slices": np.ones(3)}, r"\(3,\)"),
        ({"class_names": ["a"]}, "1 class_names"),
        ({"image_shape": (2, 2)}, "image_shape"),
    ],
)
def test_what_no_analysis_takes(classes: faults.Case, arguments: dict[str, Any], pattern: str) -> None:
    with refused(ValueError, "diagnose.errors", pattern):
        stoop.diagnose.errors(classes.trainer, *classes.dev, **arguments)


def test_calibration_against_draws(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.5, 1.0, 20_000)
    honest = calibration_of(confidence, rng.random(20_000) < confidence)
    assert honest.expected_error < 0.02
    boasting = calibration_of(confidence, rng.random(20_000) < confidence - 0.2)
    assert boasting.expected_error == pytest.approx(0.2, abs=0.02)
    assert boasting.overconfidence == pytest.approx(0.2, abs=0.02)
    assert "overconfident" in str(boasting)
    assert sum(part.samples for part in boasting.bins) == 20_000


# ---- the report ----


def image_case() -> tuple[faults.Case, dict[str, Any]]:
    X, y = faults.digits(np.random.default_rng(0), 700)
    X = X.astype(np.float32)
    model = stoop.Model([Dense(64, activation="relu"), Dense(10)], 64, classes=[f"digit <{i}>" for i in range(10)])
    names = np.array([f"digit <{i}>" for i in range(10)])[y]
    trainer = stoop.Trainer(model)
    trainer.fit(X[:100], names[:100], epochs=30, batch_size=16, validation_data=(X[100:], names[100:]), verbose=0)
    case = faults.Case(trainer, (X[:100], names[:100]), (X[100:], names[100:]))
    return case, {"image_shape": (8, 8), "slices": {"ink & more": lambda x: x.sum(axis=1)}}


@pytest.fixture(scope="module")
def reports(classes: faults.Case, values: faults.Case) -> dict[str, stoop.diagnose.Report]:
    images, options = image_case()
    images.options = options
    slow = faults.FAULTS["learning rate too low"](0)
    cases = {"classes": classes, "values": values, "images": images, "slow": slow}
    return {name: case.check() for name, case in cases.items()}


def test_report_as_text_and_json(reports: dict[str, stoop.diagnose.Report]) -> None:
    for report in reports.values():
        text, told = str(report), json.loads(report.to_json())
        assert text.startswith(report.summary())
        assert [one["fault"] for one in told["findings"]] == [one.fault for one in report.findings]
        assert all(one.evidence in text and one.advice in text for one in report.findings)
        assert told["facts"]["samples"]["dev"] == report.errors.samples


def test_every_part_can_be_drawn(reports: dict[str, stoop.diagnose.Report], tmp_path: Path) -> None:
    report = reports["images"]
    assert report.errors.calibration is not None
    for place, part in enumerate((report, report.history, report.units, report.gradients, report.errors.calibration)):
        assert part is not None
        part.plot(tmp_path / f"{place}.png")
        assert (tmp_path / f"{place}.png").stat().st_size > 2000
    names = [name for name, _, _ in report.pictures()]
    assert names.count("mistakes") == 1
    assert {"errors", "history", "gradients", "confusion", "slice", "calibration"} <= set(names)
    assert "rates" in [name for name, _, _ in reports["slow"].pictures()]


def test_the_page_needs_nothing_else(reports: dict[str, stoop.diagnose.Report], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    reports["images"].to_html(path, title="Digits & <more>")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text.replace("xlink:href", "href"))
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    assert "Digits &amp; &lt;more&gt;" in text
    assert "digit <" not in text  # names are escaped
    assert "ink &amp; more" in text
    assert text.count("<svg ") == text.count("<figcaption>") == len(list(reports["images"].pictures()))
    assert text.count('role="img" aria-label="') == text.count("<svg ")
    for one in reports["images"].findings:
        assert one.fault.capitalize() in text
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_page(
    reports: dict[str, stoop.diagnose.Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o640)

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", broken)
        reports["classes"].to_html(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    reports["classes"].to_html(path)
    assert "</html>" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError):
        reports["classes"].to_html(tmp_path / "no" / "report.html")


def test_links_and_pipes_stay_what_they_are(reports: dict[str, stoop.diagnose.Report], tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.html", tmp_path / "pipe"
    link.symlink_to(tmp_path / "report.html")
    reports["classes"].to_html(link)
    assert link.is_symlink()
    os.mkfifo(pipe)
    with (tmp_path / "read.html").open("wb") as read, subprocess.Popen(["cat", str(pipe)], stdout=read):
        reports["classes"].to_html(pipe)
    assert (tmp_path / "read.html").read_bytes() == link.read_bytes()
    assert pipe.is_fifo()


# What Chromium is asked once the page is there. Its answer becomes the title, which --dump-dom shows.
PROBE = """<script>
window.addEventListener('error', e => { document.title = 'error ' + e.message; });
window.addEventListener('load', () => {
  const pictures = [...document.querySelectorAll('figure')].map(f => {
    const svg = f.querySelector('svg'), box = svg.getBoundingClientRect(), drawn = svg.getBBox();
    const images = [...svg.querySelectorAll('image')].every(i => i.getBoundingClientRect().width > 0);
    return box.width > 100 && box.height > 50 && drawn.width > 50 && images;
  });
  const page = document.documentElement;
  document.title = JSON.stringify({pictures, overflow: page.scrollWidth - page.clientWidth, width: page.clientWidth,
    dark: matchMedia('(prefers-color-scheme: dark)').matches, color: getComputedStyle(document.body).backgroundColor});
});
</script>"""


def chromium(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Debian's package chromium is not there; tests/tools/system_packages.sh browser installs it")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    return subprocess.run([program, *options, *arguments], capture_output=True, text=True, timeout=120, check=True)


def check_in_browser(path: Path) -> None:
    """The page has no error, every picture is there, and it fits light and dark screens of both widths."""
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    for dark, width in ((False, 1200), (True, 500)):
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        run = chromium(scheme, f"--window-size={width},900", "--dump-dom", path.as_uri())
        assert "CONSOLE" not in run.stderr
        seen = json.loads(re.search(r"<title>(.*?)</title>", run.stdout, re.DOTALL)[1].replace("&quot;", '"'))  # type: ignore[index]
        assert seen["pictures"]
        assert all(seen["pictures"])
        assert seen["overflow"] <= 0
        assert seen["dark"] is dark
        assert seen["color"] == ("rgb(20, 24, 29)" if dark else "rgb(246, 247, 249)")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["values", "images", "slow"])
def test_the_page_in_a_browser(reports: dict[str, stoop.diagnose.Report], tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.html"
    reports[name].to_html(path)
    check_in_browser(path)
