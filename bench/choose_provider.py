"""Measures which provider computes products of each class of shapes faster, and writes the table of STOOP_GEMM=auto.

    make choose-provider                 # builds stoop_bench, measures, rewrites cpp/src/plan/product_choice.hpp
    python bench/choose_provider.py --check --isas avx512        # prints, and leaves the file as it is

stoop_bench times the products (`bench/cpp/bench_gemm.cpp`, family `choice`): on one thread, by its CPU time, with the
epilogue, both providers in one process and in random turns. A product's figure is the median of its rounds, a class's
that of its products. The BLAS is chosen where it wins by 5 % or more; else `native` stays.

For avx2 OpenBLAS is told to use the kernels it has for such CPUs (OPENBLAS_CORETYPE=Haswell), unless that variable is
set already.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = REPOSITORY / "cpp" / "src" / "plan" / "product_choice.hpp"
PROGRAM = REPOSITORY / "build" / "make" / "bench" / "cpp" / "stoop_bench"

# The order of a ProductTable; the borders are in product_choice.hpp.
FORMS = ("nn", "nt", "tn")
COLUMNS = ("up to 8", "up to 16", "up to 64", "more")
WORK = ("below 2 MFLOP", "below 32 MFLOP", "more")
CLASSES = [(form, columns, work) for form in FORMS for columns in COLUMNS for work in WORK]
LEAST_GAIN = 1.05
CORE_TYPES = {"avx2": "Haswell"}


def speeds(report: dict[str, Any]) -> dict[int, dict[str, dict[str, float]]]:
    """Return, by class, product and provider, the median share of peak of the rounds in a report of stoop_bench."""
    rounds: dict[int, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in report["benchmarks"]:
        if run.get("error_occurred"):
            raise SystemExit(f"{run['name']}: {run['error_message']}")
        if run.get("run_type") == "aggregate":
            continue
        _, place, provider, product = run["run_name"].split("/", 3)
        rounds[int(place)][product][provider].append(run["share_of_peak"])
    return {
        place: {
            product: {provider: statistics.median(shares) for provider, shares in providers.items()}
            for product, providers in products.items()
        }
        for place, products in sorted(rounds.items())
    }


def ratios(products: dict[str, dict[str, float]]) -> list[float]:
    """Return the speed of `native` as a share of the BLAS's for each product of a class, lowest first."""
    return sorted(shares["native"] / shares["blas"] for shares in products.values())


def choose(speed: float) -> str:
    """Return the provider for a class where `native` has this speed, as a share of the BLAS's."""
    return "blas" if speed * LEAST_GAIN <= 1.0 else "native"


def render(isa: str, table: list[float], source: str) -> str:
    """Return the lines between the markers for the speeds of all classes, in order."""
    rows = []
    for i in range(0, len(CLASSES), len(WORK)):
        cells = [f"{{{speed:.2f}, {choose(round(speed, 2))}}}," for speed in table[i : i + len(WORK)]]
        rows.append("    " + "".join(f"{cell:<17}" for cell in cells) + f"// {', '.join(CLASSES[i][:2])} columns")
    return "\n".join(
        [
            f"// {source}",
            f"inline constexpr ProductTable k{isa.capitalize()} = {{{{",
            f"    // work {', '.join(WORK)}",
            *rows,
            "}};",
        ]
    )


def parse(text: str, isa: str) -> list[float]:
    """Return the speeds that stand between the markers of an instruction set; empty where none do."""
    found = re.search(rf"// {isa}:begin\n(.*?)// {isa}:end", text, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"no markers {isa}:begin and {isa}:end")
    return [float(speed) for speed in re.findall(r"\{(\d+\.\d+), \w+\}", found[1])]


def replace(text: str, isa: str, lines: str) -> str:
    """Return the text of the file with these lines between the markers of an instruction set."""
    parse(text, isa)
    begin, end = f"// {isa}:begin\n", f"// {isa}:end"
    before, rest = text.split(begin, 1)
    return before + begin + lines + "\n" + end + rest.split(end, 1)[1]


def source_of(report: dict[str, Any]) -> str:
    """Return on what and when it was measured: date, CPU, BLAS with version and kernels."""
    config = report["context"]["BLAS"]
    kernels = re.search(r"kernels (\w+)", config)
    blas = " ".join(config.split()[:2]) + (f" ({kernels[1]})" if kernels else "")
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
        cpu = model[1] if model else cpu
    return f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d}, {cpu}; {blas}"


def measure(program: Path, isa: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Return the report of stoop_bench on the products of all classes."""
    environment = os.environ | {"STOOP_ISA": isa}
    if isa in CORE_TYPES:
        environment.setdefault("OPENBLAS_CORETYPE", CORE_TYPES[isa])
    command = [program, "--benchmark_filter=^choice/", "--benchmark_format=json", f"--benchmark_min_time={seconds}"]
    command += [f"--benchmark_repetitions={rounds}", "--benchmark_enable_random_interleaving=true"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    if report["context"]["BLAS"].startswith("none"):
        raise SystemExit(f"no BLAS to compare with: {report['context']['BLAS']}; set STOOP_BLAS to the path of one")
    return report


def show(isa: str, found: dict[int, dict[str, dict[str, float]]]) -> None:
    """Print a line for each class: the median share of peak of both, and the ratio with its range."""
    print(f"{isa:<32} {'native':>7} {'blas':>7}  native/blas")
    for place, products in found.items():
        shares = [statistics.median(s[p] for s in products.values()) for p in ("native", "blas")]
        ratio = ratios(products)
        middle = statistics.median(ratio)
        name = ", ".join(CLASSES[place])
        print(
            f"{name:<32} {shares[0]:7.0%} {shares[1]:7.0%}  {middle:.2f} ({ratio[0]:.2f} to {ratio[-1]:.2f} "
            f"of {len(ratio)}) {choose(round(middle, 2))}"
        )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isas", nargs="+", default=["avx512", "avx2"], help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=9, help="of each product, default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.01, help="of a round, at least; default: %(default)s")
    parser.add_argument("--check", action="store_true", help="print what would be written, write nothing")
    parser.add_argument("--program", type=Path, default=PROGRAM, help="stoop_bench, default: %(default)s")
    parser.add_argument("--json", type=Path, help="folder for the reports of stoop_bench")
    options = parser.parse_args()
    text = TABLE.read_text(encoding="utf-8")
    for isa in options.isas:
        report = measure(options.program, isa, options.rounds, options.seconds)
        if options.json:
            (options.json / f"choice-{isa}.json").write_text(json.dumps(report), encoding="utf-8")
        found = speeds(report)
        show(isa, found)
        lines = render(
            isa, [statistics.median(ratios(found[place])) for place in range(len(CLASSES))], source_of(report)
        )
        print(lines)
        text = replace(text, isa, lines)
    if not options.check:
        TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
