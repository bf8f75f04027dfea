"""The header around the statements of a model: names, sizes, classes and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from stoop import _core
from stoop.export.c._code import Code
from stoop.export.c._text import functions, strings
from stoop.model import Model


@dataclass(frozen=True)
class Body:
    """Statements that read `x` and write `out`, and how many floats of `scratch` they need."""

    code: Code
    scratch: int
    dtype: str


def header(model: Model, name: str, body: Body) -> str:
    """Return the text of the header, in ASCII."""
    code, upper = body.code, name.upper()
    public = [_predict(name, body), *_of_classes(model, name, code)]
    tables = list(code.tables)
    if model._core.classes is not None and model.output != "identity":
        names = strings(f"{name}_classes", model._core.classes[0])
        tables.append(f"// The names of the classes in the order of the outputs.\n{names}")
    parts = [
        _opening(model, name, body),
        f"#ifndef STOOP_{upper}_H\n#define STOOP_{upper}_H",
        "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>",
        _sizes(model, upper, body),
        *tables,
        functions(name, code.used),
        *public,
        "#endif",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(model: Model, name: str, body: Body) -> str:
    layers = [f"//   {layer!r}" for layer in model.layers]
    dims, version = f"{model.input_dim} numbers to {model.output_dim}", _core.build_info()["version"]
    return "\n".join(
        [
            f"// A network of {dims}, computed in {body.dtype}: {name}_predict(x, out).",
            f"// Made by stoop.export.to_c of Stoop {version}: make it anew instead of changing it.",
            f"// Constants: {body.code.table_bytes} bytes. Scratch memory on the stack: {4 * body.scratch} bytes.",
            "// Nothing is allocated and nothing global changes. Compile it without -ffast-math.",
            "// Layers:",
            *layers,
        ]
    )


def _sizes(model: Model, upper: str, body: Body) -> str:
    return "\n".join(
        [
            f"#define {upper}_INPUT_DIM {model.input_dim}",
            f"#define {upper}_OUTPUT_DIM {model.output_dim}",
            f"#define {upper}_SCRATCH {max(body.scratch, 1)}  // floats",
            "// What predict has of the stack beside the frames of its calls, which take up to some 300 bytes.",
            f"#define {upper}_STACK_BYTES {4 * max(body.scratch, 1)}",
        ]
    )


def _predict(name: str, body: Body) -> str:
    upper, unused = name.upper(), [] if body.scratch else ["  (void)scratch;"]
    lines = [
        f"// Writes the {upper}_OUTPUT_DIM outputs for the {upper}_INPUT_DIM numbers of x. No two arrays may overlap.",
        f"static inline void {name}_predict_with(const float* x, float* out, float* scratch) {{",
        *unused,
        *body.code.lines,
        "}",
        "",
        f"static inline void {name}_predict(const float* x, float* out) {{",
        f"  float scratch[{upper}_SCRATCH];",
        f"  {name}_predict_with(x, out, scratch);",
        "}",
    ]
    return "\n".join(lines)


def _of_classes(model: Model, name: str, code: Code) -> list[str]:
    """Return the functions for probabilities and classes, as `Model.predict_proba` and `Model.predict_classes`."""
    outputs, upper = model.output_dim, name.upper()
    meaning = model.output or ("sigmoid" if outputs == 1 else "softmax")
    if meaning == "identity":
        return []
    second = meaning == "sigmoid" and outputs == 1 and model.output is not None
    columns = 2 if second else outputs
    if meaning == "softmax":
        code.used.add("softmax")
        lines = [f"  {name}_predict(x, proba);", f"  {name}_softmax(proba, {upper}_OUTPUT_DIM);"]
    else:
        code.used.add("sigmoid")
        lines = [f"  {name}_predict(x, proba);"]
        if second:
            lines += [f"  proba[1] = {name}_sigmoid(proba[0]);", f"  proba[0] = {name}_sigmoid(-proba[0]);"]
        else:
            lines += [f"  for (size_t i = 0; i < {upper}_OUTPUT_DIM; ++i) proba[i] = {name}_sigmoid(proba[i]);"]
    proba = [
        f"#define {upper}_PROBA_DIM {columns}",
        "",
        f"// Writes the {upper}_PROBA_DIM probabilities.",
        f"static inline void {name}_predict_proba(const float* x, float* proba) {{",
        *lines,
        "}",
    ]
    return ["\n".join(proba), "\n".join(_classify(meaning, outputs, name))]


def _classify(meaning: str, outputs: int, name: str) -> list[str]:
    upper = name.upper()
    start = [f"  float out[{upper}_OUTPUT_DIM];", f"  {name}_predict(x, out);"]
    if meaning == "sigmoid" and outputs > 1:
        loop = f"  for (size_t i = 0; i < {upper}_OUTPUT_DIM; ++i) labels[i] = out[i] > 0.0f;"
        what = f"// Writes 1 for each of the {upper}_OUTPUT_DIM labels that holds, else 0."
        return [what, f"static inline void {name}_classify(const float* x, int* labels) {{", *start, loop, "}"]
    if meaning == "sigmoid":
        rest = ["  return out[0] > 0.0f;"]
    else:
        rest = [
            "  int best = 0;",
            f"  for (int i = 1; i < {upper}_OUTPUT_DIM; ++i) best = out[i] > out[best] ? i : best;",
            "  return best;",
        ]
    return [
        "// Returns the index of the class.",
        f"static inline int {name}_classify(const float* x) {{",
        *start,
        *rest,
        "}",
    ]
