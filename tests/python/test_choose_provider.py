"""The script that measures the table of STOOP_GEMM=auto: its arithmetic, and that what it writes is what it reads."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from helpers import REPOSITORY, run_python
from stoop import _core

SCRIPT = REPOSITORY / "bench" / "choose_provider.py"
spec = importlib.util.spec_from_file_location("choose_provider", SCRIPT)
assert spec is not None
assert spec.loader is not None
choose_provider: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(choose_provider)

TEXT = "above\n// avx512:begin\nold\n// avx512:end\n\n// avx2:begin\n// avx2:end\nbelow\n"
SPEEDS = [round(0.5 + 0.03 * i, 2) for i in range(len(choose_provider.CLASSES))]


def run(name: str, share: float, run_type: str = "iteration") -> dict[str, Any]:
    return {"name": name, "run_name": name, "run_type": run_type, "share_of_peak": share}


def test_what_is_written_is_read_again() -> None:
    text = choose_provider.replace(
        TEXT, "avx2", choose_provider.render("avx2", SPEEDS, "2026-11-27, a CPU; a BLAS 1.0")
    )
    assert choose_provider.parse(text, "avx2") == SPEEDS
    assert choose_provider.parse(text, "avx512") == []
    assert text.startswith(TEXT[: TEXT.index("// avx2:begin")])
    assert text.endswith("// avx2:end\nbelow\n")
    for part in ("2026-11-27, a CPU; a BLAS 1.0", "ProductTable kAvx2 = {{"):
        assert part in text
    again = choose_provider.render("avx2", choose_provider.parse(text, "avx2"), "2026-11-27, a CPU; a BLAS 1.0")
    assert choose_provider.replace(text, "avx2", again) == text


def test_each_row_names_its_classes() -> None:
    lines = choose_provider.render("avx512", SPEEDS, "somewhere").splitlines()[3:-1]
    assert len(lines) == 12
    assert lines[0] == "    {0.50, blas},    {0.53, blas},    {0.56, blas},    // nn, up to 8 columns"
    assert lines[5] == "    {0.95, blas},    {0.98, native},  {1.01, native},  // nt, up to 16 columns"
    assert lines[-1].endswith("// tn, more columns")


def test_a_file_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="avx2:begin"):
        choose_provider.replace(TEXT.replace("avx2", "neon"), "avx2", "")


@pytest.mark.parametrize(("speed", "provider"), [(0.5, "blas"), (0.95, "blas"), (0.96, "native"), (1.0, "native")])
def test_the_blas_must_win_by_five_percent(speed: float, provider: str) -> None:
    assert choose_provider.choose(speed) == provider


def test_medians_of_rounds_and_of_products() -> None:
    fast, slow = "nn/1:64x4x64", "nn/2:32x4x64"
    benchmarks = [run(f"choice/3/native/{fast}", share) for share in (0.1, 0.3, 0.9)]
    benchmarks += [run(f"choice/3/blas/{fast}", share) for share in (0.6, 0.5, 0.7)]
    benchmarks += [run(f"choice/3/{provider}/{slow}", 0.2) for provider in ("native", "blas")]
    benchmarks += [run(f"choice/0/{provider}/{slow}", 0.2) for provider in ("native", "blas")]
    benchmarks += [run(f"choice/3/native/{fast}", 99.0, run_type="aggregate")]
    found = choose_provider.speeds({"benchmarks": benchmarks})
    assert list(found) == [0, 3]
    assert found[3][fast] == {"native": 0.3, "blas": 0.6}
    assert choose_provider.ratios(found[3]) == [0.5, 1.0]


def test_the_file_holds_what_the_script_would_write() -> None:
    text = choose_provider.TABLE.read_text(encoding="utf-8")
    for isa in ("avx512", "avx2"):
        speeds = choose_provider.parse(text, isa)
        assert len(speeds) == len(choose_provider.CLASSES)
        source = text.split(f"// {isa}:begin\n// ")[1].split("\n")[0]
        assert choose_provider.replace(text, isa, choose_provider.render(isa, speeds, source)) == text


# Prints a digest of each product by itself, so that its bits tell whose sums they are, whatever others give. The
# weights are zero before the gradient: the outputs it depends on are zero then, whoever computes them.
PRODUCTS = """
import hashlib
import numpy as np
import stoop

rng = np.random.default_rng(0)
X = rng.standard_normal((512, 100), np.float32)

def digest(array):
    print(hashlib.sha256(array.tobytes()).hexdigest())

for n in (5, 64):
    model = stoop.Model([stoop.Dense(n)], input_dim=100)
    digest(model.predict(X))
    model.parameters()["0.weight"][:] = 0
    trainer = stoop.Trainer(model, loss="mse")
    y = rng.standard_normal((512, n), np.float32)
    for rows in (128, 512):
        _, gradient = trainer.loss_and_grad(X[:rows], y[:rows])
        digest(gradient["0.weight"])
"""
CLASSES = (  # predictions by 128 rows, gradients of 128 and 512 rows; of 5 columns, then of 64
    ("nn", "up to 8", "below 2 MFLOP"),
    ("tn", "up to 8", "below 2 MFLOP"),
    ("tn", "up to 8", "below 2 MFLOP"),
    ("nn", "up to 64", "below 2 MFLOP"),
    ("tn", "up to 64", "below 2 MFLOP"),
    ("tn", "up to 64", "below 32 MFLOP"),
)


@pytest.mark.parametrize("isa", [isa for isa in _core.available_isas() if isa in ("avx512", "avx2")])
def test_products_go_by_the_table(isa: str) -> None:
    speeds = choose_provider.parse(choose_provider.TABLE.read_text(encoding="utf-8"), isa)
    digests = {
        provider: run_python("-c", PRODUCTS, STOOP_ISA=isa, STOOP_GEMM=provider).stdout.split()
        for provider in ("native", "blas", "auto")
    }
    chosen = [choose_provider.choose(speeds[choose_provider.CLASSES.index(product)]) for product in CLASSES]
    assert digests["auto"] == [digests[provider][i] for i, provider in enumerate(chosen)]
    # Some kernels of some BLAS add in the order of ours, but none does in all of these products.
    assert digests["native"] != digests["blas"]
