"""Loading stoop's CBLAS leaves NumPy's own alone: its kernels, its threads, its results, the environment.

Each case runs in a process of its own, because which library is loaded first is a property of the process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import stoop
import stoop._core
from helpers import run_python

pytest.importorskip("threadpoolctl", reason="threadpoolctl shows what NumPy's BLAS is set to")

# argv: the order, the file of stoop._core, the CBLAS to load. Prints one JSON object.
# The core is loaded from its file because `import stoop` would import NumPy first.
SCRIPT = """
import ctypes, hashlib, importlib.util, json, os, sys

order, core_file, blas_file = sys.argv[1:]
result = {}

def environment():
    getenv = ctypes.CDLL(None).getenv  # os.environ is a copy made at the start
    getenv.restype = ctypes.c_char_p
    return [str(getenv(name)) for name in (b"OPENBLAS_CORETYPE", b"OPENBLAS_NUM_THREADS")]

def load_stoop():
    spec = importlib.util.spec_from_file_location("_core", core_file)
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    result["numpy_came_first"] = "numpy" in sys.modules
    core.set_blas_path(blas_file)
    result["blas"] = core.blas_info()

def look_at_numpy():
    import numpy as np
    import threadpoolctl
    a = np.random.default_rng(0).standard_normal((301, 301)).astype(np.float32)
    return {
        "product": hashlib.sha256((a @ a).tobytes()).hexdigest(),
        "libraries": {
            os.path.realpath(library["filepath"]): [library.get("architecture"), library["num_threads"]]
            for library in threadpoolctl.threadpool_info()
            if library["user_api"] == "blas"
        },
    }

before = environment()
if order == "numpy first":
    result["before"] = look_at_numpy()
if order != "numpy alone":
    load_stoop()
result["environment"] = [before, environment()]
result["numpy"] = look_at_numpy()
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def blas_file() -> str:
    info = stoop._core.blas_info()
    if not info["loaded"]:
        pytest.skip(f"no CBLAS: {info['error']}")
    return str(Path(info["path"]).resolve())


def look(order: str, blas_file: str, core_type: str) -> dict[str, Any]:
    done = run_python("-c", SCRIPT, order, str(stoop._core.__file__), blas_file, OPENBLAS_CORETYPE=core_type)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# Empty: left to OpenBLAS, so a type that stoop sets for its own copy must not leak. Named: the user's choice stands.
@pytest.mark.parametrize("core_type", ["", "Haswell"])
@pytest.mark.parametrize("order", ["numpy first", "stoop first"])
def test_numpy_is_not_disturbed(order: str, core_type: str, blas_file: str) -> None:
    alone = look("numpy alone", blas_file, core_type)["numpy"]
    if blas_file in alone["libraries"]:
        pytest.skip("NumPy uses the very same library file")
    both = look(order, blas_file, core_type)
    assert both["blas"]["loaded"], both["blas"]["error"]
    if order == "stoop first" and both["numpy_came_first"]:
        pytest.skip("the extension module imports NumPy itself")

    seen = both["numpy"]["libraries"]
    assert {file: seen[file] for file in alone["libraries"]} == alone["libraries"]
    assert both["numpy"]["product"] == alone["product"]
    if order == "numpy first":
        assert both["before"] == alone
    before, after = both["environment"]
    assert after == before


def test_stoop_has_its_own_copy_on_one_thread(blas_file: str) -> None:
    both = look("numpy first", blas_file, "")
    libraries = both["numpy"]["libraries"]
    if blas_file not in libraries:
        pytest.skip("threadpoolctl does not know this kind of BLAS")
    if blas_file in both["before"]["libraries"]:
        assert "already in use" in both["blas"]["config"]
    else:
        assert libraries[blas_file][1] == 1


def test_show_config_names_the_library(blas_file: str) -> None:
    assert Path(blas_file).name in json.dumps(stoop.show_config(mode="dicts"), default=str)
