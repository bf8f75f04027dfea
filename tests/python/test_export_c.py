"""Headers that to_c writes: compiled by a compiler of C, they compute what the model computes."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import export_cases
import stoop
from c_programs import Library, clang, compile_with
from helpers import REPOSITORY, refused, relative_error
from stoop import Dense
from stoop.export._steps import steps_of
from stoop.export.c._arena import IN_PLACE, inputs_of, lay_out
from stoop.export.c._text import literal

NAMES = {case: f"case_{index}" for index, case in enumerate(export_cases.CASES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a header of each case."""
    made = tmp_path_factory.mktemp("headers")
    for case, name in NAMES.items():
        stoop.export.to_c(export_cases.model_of(case), made / f"{name}.h", name)
    return made


@pytest.fixture(scope="module")
def library(folder: Path) -> Library:
    return Library(folder, {name: export_cases.model_of(case).output_dim for case, name in NAMES.items()})


@pytest.mark.parametrize("case", export_cases.CASES)
def test_it_computes_what_the_model_computes(case: str, library: Library) -> None:
    X = export_cases.rows_of(case)
    assert relative_error(library(NAMES[case], X), export_cases.model_of(case).predict(X)) < 1e-5


@pytest.mark.parametrize("command", ["cc -std=c99", "c++ -std=c++11", "clang -std=c99", "clang -std=c++11 -x c++"])
def test_it_compiles_without_warnings(command: str, folder: Path) -> None:
    compiler, *options = command.split()
    if compiler == "clang":
        found = clang()
        if found is None:
            pytest.skip("there is no clang")
        compiler = found
    suffix = ".cpp" if "++" in command else ".c"
    source = folder / f"all{suffix}"
    source.write_text("".join(f'#include "{name}.h"\n' for name in NAMES.values()) + "int main(void) { return 0; }\n")
    compile_with([compiler, *options, "-fsyntax-only", source])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["cc -std=c99 -O3", "c++ -std=c++11 -O2", "clang -std=c99 -O2"])
def test_optimisers_find_nothing_to_warn_of(command: str, folder: Path) -> None:
    compiler, *options = command.split()
    source = folder / f"optimised{'.cpp' if '++' in command else '.c'}"
    lines = [f'#include "{name}.h"\nvoid run_{name}(const float* x, float* out);\n' for name in NAMES.values()]
    lines += [f"void run_{name}(const float* x, float* out) {{ {name}_predict(x, out); }}\n" for name in NAMES.values()]
    source.write_text("".join(lines))
    found = clang() if compiler == "clang" else compiler
    if found is None:
        pytest.skip("there is no clang")
    compile_with([found, *options, "-c", source, "-o", folder / "optimised.o"])


def test_there_are_constants_and_mathematics_alone(folder: Path) -> None:
    source, made = folder / "symbols.c", folder / "symbols.o"
    lines = [f'#include "{name}.h"\nvoid run_{name}(const float* x, float* out);\n' for name in NAMES.values()]
    lines += [f"void run_{name}(const float* x, float* out) {{ {name}_predict(x, out); }}\n" for name in NAMES.values()]
    source.write_text("".join(lines))
    compile_with(["cc", "-std=c99", "-O1", "-c", source, "-o", made])
    listed = subprocess.run(["nm", made], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    kinds = {line.split()[-1]: line.split()[-2] for line in listed}
    assert not {name: kind for name, kind in kinds.items() if kind in "bBdDcC"}  # what could change
    used = {name for name, kind in kinds.items() if kind == "U"}
    assert used <= {
        "expf",
        "expm1f",
        "log1pf",
        "logf",
        "tanhf",
        "erfcf",
        "sqrtf",
        "cosf",
        "sinf",
        "floorf",
        "sincosf",
        "memcpy",
        "memset",
    }


def exported(folder: Path, name: str = "model", **arguments: Any) -> tuple[stoop.Model, str]:
    """A model of three outputs, or of as many as `units` says, and the text of its header."""
    layers = [Dense(5, "relu"), Dense(arguments.pop("units", 3))]
    model = stoop.Model(layers, 4, **arguments)
    stoop.export.to_c(model, folder / f"{name}.h", name)
    return model, (folder / f"{name}.h").read_text()


ROWS = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("units", "output", "columns"),
    [(3, "softmax", 3), (3, None, 3), (3, "sigmoid", 3), (1, "sigmoid", 2), (1, None, 1), (2, "softmax", 2)],
)
def test_probabilities_and_classes(units: int, output: str | None, columns: int, tmp_path: Path) -> None:
    model, _ = exported(tmp_path, units=units, output=output)
    proba = Library(tmp_path, {"model": columns}, "predict_proba")("model", ROWS)
    assert relative_error(proba, model.predict_proba(ROWS)) < 1e-6
    many = units > 1 and output == "sigmoid"
    call = "model_classify(x, labels); out[0] = (float)(labels[0] + 2 * labels[1] + 4 * labels[2])"
    text = "int labels[3]; " + call if many else "out[0] = (float)model_classify(x)"
    with (tmp_path / "model.h").open("a") as file:
        file.write(f"static inline void model_number(const float* x, float* out) {{ {text}; }}\n")
    found = Library(tmp_path, {"model": 1}, "number")("model", ROWS)[:, 0]
    classes = model.predict_classes(ROWS)
    np.testing.assert_array_equal(found, classes @ [1, 2, 4] if many else classes)


def test_values_have_neither(tmp_path: Path) -> None:
    _, text = exported(tmp_path, output="identity")
    assert "proba" not in text
    assert "classify" not in text


NAMES_OF_CLASSES = ['plain "quoted"', "Zürich ??/ \\n", "*/ end\n\t7"]


def test_names_of_classes_are_their_text(tmp_path: Path) -> None:
    exported(tmp_path, output="softmax", classes=NAMES_OF_CLASSES)
    program = '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
    program += "".join(
        f'  fwrite(model_classes[{i}], 1, sizeof "{"." * len(name.encode())}", stdout);\n'
        for i, name in enumerate(NAMES_OF_CLASSES)
    )
    (tmp_path / "main.c").write_text(program + "  return 0;\n}\n")
    compile_with(["cc", "-std=c99", "-o", tmp_path / "main", tmp_path / "main.c", "-lm"])
    printed = subprocess.run([tmp_path / "main"], check=True, capture_output=True, timeout=60).stdout
    assert printed.decode().split("\0")[:3] == NAMES_OF_CLASSES


@pytest.mark.parametrize(("classes", "shown"), [([3, 5, 9], '"3", "5", "9"'), (["a", "b", "c"], '"a", "b", "c"')])
def test_classes_of_any_kind(classes: list[Any], shown: str, tmp_path: Path) -> None:
    assert shown in exported(tmp_path, output="softmax", classes=classes)[1]


def test_the_header_says_what_it_is(tmp_path: Path) -> None:
    model, text = exported(tmp_path)
    assert text.startswith("// A network of 4 numbers to 3, computed in float32: model_predict(x, out).\n")
    assert stoop.__version__ in text
    assert "Dense(units=5" in text
    assert text.isascii()
    assert model.num_parameters * 4 == int(re.findall(r"Constants: (\d+) bytes", text)[0])


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = exported(tmp_path)[1], exported(tmp_path, seed=0)[1]
    assert first == second
    assert exported(tmp_path, seed=1)[1] != first


def test_every_weight_is_read_back_exactly(tmp_path: Path) -> None:
    model = stoop.Model([Dense(1, use_bias=False)], 8)
    numbers = np.array([0.1, -0.0, 1e-45, 3.4028235e38, 1.0, -16777217.0, np.pi, 1e10], np.float32)
    model.parameters()["0.weight"][:, 0] = numbers
    stoop.export.to_c(model, tmp_path / "model.h")
    table = re.findall(r"model_weight0\[8\] = \{(.*?)\}", (tmp_path / "model.h").read_text(), re.DOTALL)[0]
    found = np.array([np.float32(text.strip().rstrip("f")) for text in table.split(",")])
    assert found.tobytes() == numbers.tobytes()


def test_two_headers_and_many_threads_in_one_program(tmp_path: Path) -> None:
    a, _ = exported(tmp_path, "a", seed=1)
    b, _ = exported(tmp_path, "b", seed=2)
    predict = Library(tmp_path, {"a": 3, "b": 3})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: predict(name, ROWS), ["a", "b"] * 20))
    for name, out in zip(["a", "b"] * 20, found):
        assert relative_error(out, (a if name == "a" else b).predict(ROWS)) < 1e-6


def test_names_that_begin_alike(tmp_path: Path) -> None:
    layers = [stoop.Dense(4, "relu"), stoop.Residual([stoop.Dense(4)]), stoop.LayerNorm(), stoop.Dense(2)]
    model, X = stoop.Model(layers, 4), np.random.default_rng(0).normal(size=(9, 4))
    for name, dtype in (("a", "int8"), ("a_int", "float32"), ("a_last", "float32"), ("a_layer", "int8")):
        calibration = X if dtype == "int8" else None
        stoop.export.to_c(model, tmp_path / f"{name}.h", name=name, dtype=dtype, calibration=calibration)
    includes = "".join(f'#include "{name}.h"\n' for name in ("a", "a_int", "a_last", "a_layer"))
    (tmp_path / "all.c").write_text(includes, encoding="utf-8")
    compile_with(["cc", "-std=c99", "-fsyntax-only", tmp_path / "all.c"])


def test_memory_that_the_caller_has(tmp_path: Path) -> None:
    model, text = exported(tmp_path)
    assert "#define MODEL_STACK_BYTES 20\n" in text
    with (tmp_path / "model.h").open("a") as file:
        call = "float scratch[MODEL_SCRATCH]; model_predict_with(x, out, scratch);"
        file.write(f"static inline void model_other(const float* x, float* out) {{ {call} }}\n")
    found = Library(tmp_path, {"model": 3}, "other")("model", ROWS)
    assert relative_error(found, model.predict(ROWS)) < 1e-6


@pytest.mark.parametrize("case", export_cases.CASES)
def test_no_value_lies_where_another_is_needed(case: str) -> None:
    steps = steps_of(export_cases.model_of(case))
    sizes = [step.members * step.width for step in steps]
    layout = lay_out(steps, sizes)
    owner: dict[int | tuple[str, int], int] = {}
    for place, step in enumerate(steps):
        for read in inputs_of(step):
            if read >= 0:
                place_of = cells(layout.offsets[read], sizes[read])
                assert {owner[cell] for cell in place_of} == {read}
                same = isinstance(step, IN_PLACE) and layout.offsets[read] == layout.offsets[place]
                assert same or not set(place_of) & set(cells(layout.offsets[place], sizes[place]))
        for cell in cells(layout.offsets[place], sizes[place]):
            owner[cell] = place
    assert layout.offsets[-1] is None


def cells(offset: int | None, size: int) -> list[Any]:
    return [("out", i) for i in range(size)] if offset is None else list(range(offset, offset + size))


# ---- what is refused ----


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "float", "class", "a__b", "_a", "a_", "ä", "x" * 65])
def test_names_that_c_does_not_have(name: str, tmp_path: Path) -> None:
    with refused(ValueError, "name is"):
        exported(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    with refused(TypeError, "name is 3"):
        stoop.export.to_c(stoop.Model([Dense(1)], 1), tmp_path / "a.h", 3)  # type: ignore[arg-type]


def test_models_that_cannot_be_exported(tmp_path: Path) -> None:
    model, path = stoop.Model([Dense(3)], 2), tmp_path / "model.h"
    with refused(TypeError, "Ensemble", "each of its models"):
        stoop.export.to_c(stoop.Ensemble([model]), path)  # type: ignore[arg-type]
    with refused(TypeError, "model is a Trainer", "trainer.model"):
        stoop.export.to_c(stoop.Trainer(model), path)  # type: ignore[arg-type]
    with refused(ValueError, "Normalization", "model.adapt"):
        stoop.export.to_c(stoop.Model([stoop.Normalization(), Dense(3)], 2), path)
    model.parameters()["0.weight"][1, 2] = np.nan
    with refused(ValueError, r"layer 0 \(Dense\)", "NaN"):
        stoop.export.to_c(model, path)
    wide = stoop.Model([Dense(3)], 2, dtype="float64")
    wide.parameters()["0.bias"][0] = 1e300
    with refused(ValueError, r"layer 0 \(Dense\)", "beyond float32"):
        stoop.export.to_c(wide, path)
    with refused(TypeError, "path is a int"):
        stoop.export.to_c(wide, 3)  # type: ignore[arg-type]
    assert not path.exists()


def test_a_write_that_fails_leaves_the_old_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.h"
    path.write_text("old")

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", broken)
        exported(tmp_path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        exported(tmp_path)
    assert path.read_text() == "old"


def test_errors_of_files_name_the_path_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("sealed").write_text("")
    Path("sealed").chmod(0o444)
    Path("link").symlink_to("no/model.h")
    cases = {"no/model.h": 2, "": 2, ".": 21, "file/model.h": 20, "x" * 300: 36, "sealed": 13, "link": 2}
    for path, number in cases.items():
        with pytest.raises(OSError) as error:
            stoop.export.to_c(stoop.Model([Dense(1)], 1), path)
        assert (error.value.errno, error.value.filename) == (number, path)
        assert error.value.__suppress_context__
        assert type(error.value) is type(OSError(number, ""))


CONSTANTS: dict[str, tuple[list[Any], str]] = {
    "elu": ([Dense(2, stoop.ELU(alpha=1e300))], r"layer 0 \(ELU\)|layer 0 \(Dense\) has alpha=1e\+300"),
    "leaky": ([Dense(2), stoop.LeakyReLU(1e39)], r"layer 1 \(LeakyReLU\) has negative_slope=1e\+39"),
    "a large eps": ([Dense(2), stoop.LayerNorm(eps=1e300)], r"layer 1 \(LayerNorm\) has eps=1e\+300"),
    "an eps of nothing": ([Dense(2), stoop.LayerNorm(eps=1e-300)], r"layer 1 \(LayerNorm\) has eps=1e-300"),
}


@pytest.mark.parametrize("case", CONSTANTS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_constants_beyond_float32(case: str, dtype: str, tmp_path: Path) -> None:
    layers, text = CONSTANTS[case]
    model, rows = stoop.Model([*layers, Dense(2)], 4, dtype="float64"), ROWS if dtype == "int8" else None
    with refused(ValueError, text, "beyond float32"):
        stoop.export.to_c(model, tmp_path / "model.h", dtype=dtype, calibration=rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e39, -1e300])
def test_no_literal_is_infinite(value: float) -> None:
    with refused(ValueError, r"\[export.to_c\] a constant of the header", "beyond float32"):
        literal(value)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), "float32"])
def test_the_dtype_may_be_that_of_numpy(dtype: Any, tmp_path: Path) -> None:
    stoop.export.to_c(stoop.Model([Dense(1)], 1), tmp_path / "model.h", dtype=dtype)
    assert "computed in float32" in (tmp_path / "model.h").read_text()


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, ValueError), ("float16", ValueError), (3, TypeError)])
def test_other_dtypes(dtype: Any, error: type[Exception], tmp_path: Path) -> None:
    with refused(error, "dtype", "float32, int8"):
        stoop.export.to_c(stoop.Model([Dense(1)], 1), tmp_path / "model.h", dtype=dtype)


def test_float64_models_are_rounded(tmp_path: Path) -> None:
    model, _ = exported(tmp_path, dtype="float64")
    assert relative_error(Library(tmp_path, {"model": 3})("model", ROWS), model.predict(ROWS)) < 1e-6


def test_inputs_far_from_zero_keep_their_digits(tmp_path: Path) -> None:
    X = (ROWS * [1.0, 10.0, 1e-2, 1.0] + [1e4, 1e6, -300.0, 0.0]).astype(np.float32)
    model = stoop.Model([stoop.Normalization(), Dense(3)], 4)
    model.adapt(X)
    stoop.export.to_c(model, tmp_path / "model.h")
    assert relative_error(Library(tmp_path, {"model": 3})("model", X), model.predict(X)) < 1e-6


def test_logits_of_members_that_are_very_sure(tmp_path: Path) -> None:
    models = {
        output: stoop.Model([stoop.MemberDense(3, members=4)], 4, output=output) for output in ("softmax", "sigmoid")
    }
    for output, model in models.items():
        model.parameters()["0.weight"][...] *= 60.0
        stoop.export.to_c(model, tmp_path / f"{output}.h", output)
    predict = Library(tmp_path, dict.fromkeys(models, 3))
    for output, model in models.items():
        assert relative_error(predict(output, ROWS), model.predict(ROWS)) < 1e-5


def test_the_program_of_a_device(tmp_path: Path) -> None:
    model = stoop.Model([Dense(16, "relu"), Dense(10)], 64)
    X = np.random.default_rng(0).integers(0, 17, (20, 64)).astype(np.float32)
    stoop.export.to_c(model, tmp_path / "digits.h", "digits")
    source = REPOSITORY / "examples" / "c" / "device.c"
    compile_with(["cc", "-std=c99", "-I", tmp_path, "-o", tmp_path / "device", source, "-lm"])
    images = "\n".join(" ".join(f"{x:g}" for x in row) for row in X)
    done = subprocess.run([tmp_path / "device"], input=images, check=True, capture_output=True, text=True, timeout=60)
    assert [int(line) for line in done.stdout.split()] == model.predict_classes(X).tolist()
