"""Threads beside other runtimes and limits: OpenMP variables, forks after PyTorch, threads that cannot be made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers import run_python

TRAIN = """
import os, sys
import numpy as np
import stoop

rng = np.random.default_rng(0)
X = rng.standard_normal((3000, 64), dtype=np.float32)
y = rng.integers(5, size=3000)

def train():
    model = stoop.Model([stoop.Dense(256, activation="relu"), stoop.Dense(5)], input_dim=64)
    stoop.Trainer(model, num_threads=2).fit(X, y, epochs=1, batch_size=500, verbose=0)
    return model.predict(X).tobytes()
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_no_openmp_runtime_is_loaded() -> None:
    code = TRAIN + "train()\nprint(any('gomp' in line or 'libomp' in line for line in open('/proc/self/maps')))"
    assert run_python("-c", code).stdout.strip() == "False"


@pytest.mark.parametrize(
    "setting", [{"OMP_PROC_BIND": "true"}, {"OMP_PLACES": "{0}", "OMP_PROC_BIND": "close"}, {"GOMP_CPU_AFFINITY": "0"}]
)
def test_openmp_variables_leave_all_cores(setting: dict[str, str]) -> None:
    code = "import stoop; print(stoop.get_num_threads(), stoop.show_config('dicts')['threads']['usable_cores'])"
    assert run_python("-c", code, **setting).stdout == run_python("-c", code).stdout


# Both have OpenMP runtimes and threads of a BLAS. Whichever comes first, both work, and the bits are the same.
PEERS = {
    "torch": "import torch\n"
    "def use_peer():\n"
    "    a = torch.randn(300, 300, requires_grad=True)\n"
    "    (a @ a).sum().backward()\n",
    "sklearn": "from sklearn.ensemble import HistGradientBoostingClassifier\n"
    "def use_peer():\n"
    "    a = np.arange(900.0).reshape(300, 3)\n"
    "    HistGradientBoostingClassifier(max_iter=3).fit(a, a[:, 0] > 400)\n",
}


@pytest.mark.parametrize("peer", sorted(PEERS))
@pytest.mark.parametrize("first", ["stoop", "peer"])
def test_beside_another_library(peer: str, first: str) -> None:
    pytest.importorskip(peer)
    code = "import numpy as np\n" + (TRAIN + PEERS[peer] if first == "stoop" else PEERS[peer] + TRAIN)
    code += "import hashlib\nuse_peer() if sys.argv[1] == 'peer' else None\nbefore = train()\nuse_peer()\n"
    code += "assert train() == before\nprint(hashlib.sha256(before).hexdigest())\n"
    alone = TRAIN + "import hashlib\nprint(hashlib.sha256(train()).hexdigest())\n"
    assert run_python("-c", code, first, timeout=120).stdout == run_python("-c", alone).stdout


# PyTorch makes OpenMP threads, which a child does not have; those of Stoop are the child's own.
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("first", ["torch", "stoop"])
def test_a_child_forked_after_pytorch_has_trained_works(first: str) -> None:
    code = (
        "import sys, torch\n" + TRAIN + "def use_torch():\n"
        "    a = torch.randn(800, 800, requires_grad=True)\n"
        "    (a @ a).sum().backward()\n"
        f"use_torch() if {first == 'torch'} else train()\n"
        "use_torch()\n"
        f"expected = None if {first == 'torch'} else train()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if train() == (expected or train()) else 3)\n"
        "_, status = os.waitpid(child, 0)\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    run_python("-c", code, timeout=120)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
def test_threads_that_cannot_be_made_mean_a_smaller_team() -> None:
    code = TRAIN + (
        "import resource\n"
        "expected = train()\n"
        "if os.getuid() == 0:\n"
        "    os.setuid(65534)  # no limit holds for root\n"
        "mine = sum(len(os.listdir(f'/proc/{p}/task')) for p in os.listdir('/proc')\n"
        "           if p.isdigit() and os.stat(f'/proc/{p}').st_uid == os.getuid())\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (mine + 4, mine + 4))\n"
        "stoop.set_num_threads(64)\n"
        "model = stoop.Model([stoop.Dense(64), stoop.Dense(5)], input_dim=64)\n"
        "one = model.predict(np.tile(X, (20, 1)))\n"
        "threads = len(os.listdir('/proc/self/task'))\n"
        "stoop.set_num_threads(1)\n"
        "assert one.tobytes() == model.predict(np.tile(X, (20, 1))).tobytes()\n"
        "assert 1 < threads < 64, threads\n"
        "assert train() == expected\n"
    )
    run_python("-c", code)
