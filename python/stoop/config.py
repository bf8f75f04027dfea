"""Shows and sets what stoop runs on: threads, instruction set, BLAS, build."""

import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from stoop import _core, _latency
from stoop._blas import register_blas
from stoop._checks import thread_count
from stoop._console import say
from stoop._errors import refuse_name


def set_num_threads(n: int) -> None:
    """Set the upper limit of threads for training and prediction in this process; a small step uses fewer.

    It starts as ``STOOP_NUM_THREADS`` or, unset, as the number of usable cores (affinity mask and cgroup quota).

    Raises
    ------
    ValueError, TypeError
        If n is no integer in [1, 1024].
    """
    _core.set_num_threads(thread_count("set_num_threads", "n", n))


def get_num_threads() -> int:
    """Return the upper limit of threads."""
    return _core.get_num_threads()


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Set the upper limit of threads inside a ``with`` block. It holds for the whole process, not for one thread.

    Raises
    ------
    ValueError, TypeError
        If n is no integer in [1, 1024].
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show version, compiler, instruction sets, BLAS, threads and CUDA: what a report of a problem should contain.

    It also measures, within some milliseconds, how long a line of cache takes from one core to another and back: about
    100 ns where the cores share a cache (near), 250 ns and more where they do not (far).

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        Print it, or return it as nested dicts, as ``numpy.show_config`` does.

    Returns
    -------
    dict or None
        Nested dicts for ``mode="dicts"``.

    Raises
    ------
    ValueError
        For another mode.
    """
    if mode not in ("stdout", "dicts"):
        refuse_name("show_config", "mode", str(mode), ("stdout", "dicts"))
    config = _collect()
    if mode == "dicts":
        return config
    for section, entries in config.items():
        say(section)
        for key, value in entries.items():
            if value not in ("", None) and value == value:  # not the error of a BLAS that was loaded, nor NaN
                say(f"  {key.replace('_', ' '):<19} {_text(value)}")
    return None


def machine_line() -> str:
    """Return one line that says on what a figure was measured: instruction set, threads, BLAS, version."""
    register_blas()
    blas = _core.blas_info()
    name = " ".join(str(blas["config"]).split()[:2]) if blas["loaded"] else "none"
    return (
        f"stoop {_core.build_info()['version']}, {_core.active_isa()}, {get_num_threads()} threads "
        f"({_core.usable_cores()} cores usable), BLAS {name}"
    )


def _collect() -> dict[str, Any]:
    register_blas()
    build = _core.build_info()
    blas = _core.blas_info()
    latency = _latency.measure()
    return {
        "stoop": {"version": build["version"], "python": platform.python_version(), "numpy": np.__version__},
        "build": {key: build[key] for key in ("compiler", "flags", "build_type")},
        "cpu": {
            "isa": _core.active_isa(),
            "isa_available": _core.available_isas(),
            "bfloat16": _core.active_bfloat16() or "not available",
            "bfloat16_available": _core.available_bfloat16(),
            "products": _core.active_gemm(),
            "machine": platform.machine(),
        },
        "threads": {
            "num_threads": get_num_threads(),
            "usable_cores": _core.usable_cores(),
            "core_latency_ns": math.nan if latency is None else round(latency, 1),  # to another core and back
            "core_distance": _latency.MEANING[_latency.distance(latency)],
        },
        "blas": {key: blas[key] for key in ("loaded", "path", "config", "error")},
        "cuda": {"available": build["cuda"]},
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    return str(value)
