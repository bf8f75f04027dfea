"""What a trainer does with a communicator, as far as one process shows it; test_parallel.py has more than one."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import stoop
from fits import assert_same, state
from helpers import bits


class Intracomm:
    """A communicator of one process, as mpi4py has them."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.is_freed = False

    def Get_size(self) -> int:
        return self.size

    def Get_rank(self) -> int:
        return 0

    def Dup(self) -> Intracomm:
        return Intracomm(self.size)

    def Free(self) -> None:
        self.is_freed = True

    def Set_errhandler(self, handler: object) -> None:
        pass

    def Allgather(self, send: Any, receive: Any) -> None:
        raise AssertionError("one process has nobody to tell")

    Alltoall = Allgather


@pytest.fixture
def mpi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = types.ModuleType("mpi4py.MPI")
    vars(module).update(
        Intracomm=Intracomm,
        COMM_NULL=None,
        ERRORS_RETURN=0,
        THREAD_SINGLE=0,
        THREAD_FUNNELED=1,
        THREAD_SERIALIZED=2,
        Query_thread=lambda: 1,
        Is_thread_main=lambda: True,
        Is_finalized=lambda: False,
    )
    package = types.ModuleType("mpi4py")
    vars(package)["MPI"] = module
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", module)
    monkeypatch.setattr("stoop._processes._duplicates", [])
    monkeypatch.setattr("atexit.register", lambda *_: None)
    return module


RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int32)


def trainer(**settings: Any) -> stoop.Trainer:
    layers = [stoop.Dense(16, "tanh"), stoop.Dropout(0.1), stoop.Dense(2)]
    return stoop.Trainer(stoop.Model(layers, 5), optimizer="adam", **settings)


def test_one_process_has_shards_too(mpi: Any) -> None:
    plain, shared = trainer(), trainer(comm=Intracomm())
    for each in (plain, shared):
        each.fit(X, Y, 2, 64, verbose=0)
    assert bits(plain.model) != bits(shared.model)  # sums of shards are rounded otherwise
    for name, values in plain.model.parameters().items():
        np.testing.assert_allclose(values, shared.model.parameters()[name], rtol=0, atol=1e-5)
    assert (shared.comm is not None, shared.shards, plain.comm, plain.shards) == (True, 8, None, None)
    uncut = trainer(comm=Intracomm(), shards=1)
    uncut.fit(X, Y, 2, 64, verbose=0)
    assert bits(plain.model) == bits(uncut.model)


def test_copies_train_without_the_others(mpi: Any) -> None:
    shared = trainer(comm=Intracomm())
    shared.fit(X, Y, 1, 64, verbose=0)
    for made in (copy.deepcopy(shared), pickle.loads(pickle.dumps(shared))):
        assert made.comm is None
        assert_same(state(made), state(shared))
        made.fit(X, Y, 1, 64, verbose=0)


def test_trainers_share_a_duplicate(mpi: Any) -> None:
    comm, other = Intracomm(), Intracomm()
    found = [trainer(comm=given)._processes for given in (comm, comm, other)]
    own = [each._comm for each in found if each is not None]
    assert own[0] is own[1]
    assert own[0] is not own[2]
    assert comm not in own


@pytest.mark.parametrize("shards", [0, 3, 2.5, "8", None])
def test_wrong_shards(mpi: Any, shards: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"\[Trainer\]"):
        trainer(comm=Intracomm(), shards=shards)


def test_wrong_communicators(mpi: Any) -> None:
    with pytest.raises(TypeError, match=r"\[Trainer\] comm is a str; expected a communicator of mpi4py"):
        trainer(comm="world")


def test_mpi_without_threads(mpi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "Query_thread", lambda: 0)
    with pytest.raises(RuntimeError, match="expected MPI_THREAD_FUNNELED at least"):
        trainer(comm=Intracomm())


def test_another_thread_is_refused(mpi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "Is_thread_main", lambda: False)
    with pytest.raises(RuntimeError, match="a call in another thread"):
        trainer(comm=Intracomm())


def test_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"pip install 'stoop\[mpi\]'"):
        trainer(comm="world")


def test_uncaught_exceptions_end_all(
    mpi: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aborted: list[int] = []
    monkeypatch.setattr(mpi, "COMM_WORLD", types.SimpleNamespace(Abort=aborted.append), raising=False)
    monkeypatch.setattr("stoop._processes._SECONDS_BEFORE_ABORT", 0.0)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    for _ in range(2):  # installed once
        stoop._processes._abort_on_errors(mpi)  # type: ignore[attr-defined]
    sys.excepthook(LookupError, LookupError("nothing there"), None)
    assert aborted == [1]
    assert "LookupError: nothing there" in capsys.readouterr().err
