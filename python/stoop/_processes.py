"""The processes that train one model together: a communicator of mpi4py, and what they tell each other."""

from __future__ import annotations

import atexit
import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from stoop import _core
from stoop._checks import integer
from stoop._errors import message

_SECONDS_BEFORE_ABORT = 1.0  # in which the other processes may print what they raised
_duplicates: list[tuple[Any, Any]] = []  # a communicator of the user's, and ours


class Processes:
    """A communicator as trainers use it: a duplicate of its own, so that no message meets those of the user.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    shards : int
        Into how many parts an update is cut.

    Raises
    ------
    ImportError
        If mpi4py is missing.
    TypeError, ValueError
        For what is no communicator, and for sizes that do not fit.
    RuntimeError
        If MPI was started without support for threads.
    """

    def __init__(self, comm: Any, shards: object) -> None:
        self._mpi = MPI = _mpi()
        if not isinstance(comm, MPI.Intracomm):
            given = f"comm is a {type(comm).__name__}"
            raise TypeError(message("Trainer", given, "expected a communicator of mpi4py", "give MPI.COMM_WORLD"))
        if comm.Get_size() > 1:
            _abort_on_errors(comm)
        if MPI.Query_thread() < MPI.THREAD_FUNNELED:
            given, hint = "MPI was started without threads", 'set mpi4py.rc.thread_level = "funneled" before MPI'
            raise RuntimeError(message("Trainer", given, "expected MPI_THREAD_FUNNELED at least", hint))
        self.given = comm
        self.shards = integer("Trainer", "shards", shards, 1, hint="8 allows for 1, 2, 4 and 8 processes")
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.is_alone = False  # a callback runs in this process, and the others wait
        self.is_interrupted = False
        self.check_thread("Trainer")
        self._comm = _duplicate(MPI, comm)
        self.world = _core.World(self.shards, self.rank, self.size, self._comm.Allgather, self._comm.Alltoall)

    def check_thread(self, where: str) -> None:
        """Refuse a thread that may not call MPI."""
        MPI = self._mpi
        if MPI.Query_thread() < MPI.THREAD_SERIALIZED and not MPI.Is_thread_main():
            hint = 'call it there, or set mpi4py.rc.thread_level = "multiple" before MPI is imported'
            raise RuntimeError(message(where, "a call in another thread", "expected the one that started MPI", hint))

    @contextmanager
    def call(self, where: str) -> Iterator[None]:
        """Make a call that all processes make: what is raised before they have met is told to the others.

        Ctrl-C is noted meanwhile, and raised at the end, since the others would wait for a process that left.
        """
        if self.is_alone or self.size == 1:
            yield
            return
        self.check_thread(where)
        before = self.world.calls
        with self._noting_interrupts():
            try:
                yield
            except BaseException as error:
                if self.world.calls == before:
                    self.world.decline(where, reason_of(error))
                elif isinstance(error, MemoryError):
                    self.abort()
                raise
        if self.is_interrupted:
            self.is_interrupted = False
            raise KeyboardInterrupt

    @contextmanager
    def _noting_interrupts(self) -> Iterator[None]:
        """Note Ctrl-C. The second one is handled as ever."""
        self.is_interrupted = False
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self.is_interrupted:
                handler(number, frame)
            self.is_interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)

    @contextmanager
    def alone(self, core: Any) -> Iterator[None]:
        """Let this process work without the others, which wait for it."""
        self.is_alone = True
        core.work_alone(True)
        try:
            yield
        finally:
            self.is_alone = False
            core.work_alone(False)

    def abort(self) -> None:
        """End all processes after the error that is handled, of which the others know nothing and wait."""
        traceback.print_exc()
        sys.stderr.flush()
        self._comm.Abort(1)

    def gather(self, value: Any) -> list[Any]:
        """Return what each process gives, by rank; each is something that JSON holds."""
        own = json.dumps(value).encode()
        lengths = np.empty(self.size, np.int64)
        self._comm.Allgather(np.array([len(own)], np.int64), lengths)
        texts = np.empty(int(lengths.sum()), np.uint8)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        self._comm.Allgatherv(np.frombuffer(own, np.uint8), [texts, (lengths, starts), self._mpi.UNSIGNED_CHAR])
        return [json.loads(texts[start:end].tobytes()) for start, end in zip(starts, ends)]

    def broadcast(self, value: Any) -> Any:
        """Return what rank 0 gives, which is something that JSON holds."""
        text = json.dumps(value).encode() if self.rank == 0 else b""
        length = np.array([len(text)], np.int64)
        self._comm.Bcast(length, 0)
        buffer = np.frombuffer(text, np.uint8).copy() if self.rank == 0 else np.empty(int(length[0]), np.uint8)
        self._comm.Bcast(buffer, 0)
        return json.loads(buffer.tobytes())

    def broadcast_arrays(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Write the arrays of rank 0 into those of the others, which have the same shapes."""
        for array in arrays:
            self._comm.Bcast(array, 0)

    def lead(self, where: str, action: Callable[[], None]) -> None:
        """Let rank 0 do something. What it raises ends the call in all."""
        raised: BaseException | None = None
        if self.rank == 0:
            try:
                action()
            except Exception as error:  # noqa: BLE001  raised below
                raised = error
        reason = self.broadcast(None if raised is None else reason_of(raised))
        if raised is not None:
            raise raised
        if reason is not None:
            raise error_of(where, 0, reason)


def reason_of(error: BaseException) -> str:
    """Return what an error says, for other processes."""
    text = str(error)
    return text if text.startswith("[") else f"{type(error).__name__}: {text}".rstrip(": ")


def error_of(where: str, rank: int, reason: str) -> RuntimeError:
    """Return the error for the other processes when one has raised."""
    said = reason.split("] ", 1)[1] if reason.startswith("[") and "] " in reason else reason
    given = f"rank {rank} raised an error: {said.rstrip('.')}"
    return RuntimeError(message(where, given, "expected none", "so all processes ended this call"))


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        given, hint = "mpi4py is missing", "install it with `pip install 'stoop[mpi]'`, and an MPI"
        raise ImportError(message("Trainer", given, "expected it for comm", hint)) from error
    return MPI


def _duplicate(MPI: Any, comm: Any) -> Any:
    """Return the duplicate of a communicator, which all trainers with it share until it is freed."""
    found = next((own for given, own in _duplicates if given == comm), None)
    if found is None:
        found = comm.Dup()
        found.Set_errhandler(MPI.ERRORS_RETURN)
        if not _duplicates:
            atexit.register(_free_all, MPI)
        _duplicates.append((comm, found))
    return found


def _free_all(MPI: Any) -> None:
    if not MPI.Is_finalized():
        for _, own in _duplicates:
            own.Free()


def _abort_on_errors(comm: Any) -> None:
    """End all processes after an exception that nobody catches: the others would wait for this one for ever."""
    before = sys.excepthook
    if getattr(before, "_aborts_mpi", False):
        return

    def hook(kind: Any, error: Any, where: Any) -> None:
        before(kind, error, where)
        sys.stderr.flush()
        time.sleep(_SECONDS_BEFORE_ABORT)
        comm.Abort(1)

    hook._aborts_mpi = True  # type: ignore[attr-defined]
    sys.excepthook = hook
