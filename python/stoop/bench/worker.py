"""One process per engine, so that thread pools and allocators of different libraries never meet.

The parent asks, the worker answers and then blocks on its pipe: while one engine is timed, the others sleep.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from stoop.bench.engine import Engine, load_engine
from stoop.bench.workloads import Array, Workload, constant_loss, make_data, mean_loss

REQUIRED_FALL = 0.2  # the loss must end at least this far, relatively, below that of the best constant prediction
CHECK_ROWS = 2048
ANSWER_TIMEOUT_SECONDS = 900.0  # a compiler may be at work


class EngineError(RuntimeError):
    """The engine raised, died or did not learn."""


class UnsupportedError(RuntimeError):
    """The library does not load or lacks a feature of the workload."""


class OutOfTimeError(RuntimeError):
    """There was no answer in the time given; the worker can only be closed."""


@dataclass(frozen=True)
class Preparation:
    """The figures of an engine that has shown that it trains."""

    constant_loss: float  # of the best constant prediction
    trained_loss: float
    epoch_seconds: float


class Worker:
    """The parent's end of one engine, which starts to import its library at once."""

    def __init__(self, engine: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, engine, threads), daemon=True)
        self._process.start()
        self._waiting = False  # for an answer
        child.close()

    def version(self, timeout: float = ANSWER_TIMEOUT_SECONDS) -> str:
        """Wait until the library is there; return its name and version."""
        answer = self._ask(timeout, "version")
        assert isinstance(answer, str)
        return answer

    def prepare(self, workload: Workload, keep: bool, timeout: float = ANSWER_TIMEOUT_SECONDS) -> Preparation:
        """Build the network, train it and check that the loss fell; what was built before stays only with `keep`."""
        answer = self._ask(timeout, "prepare", workload, keep)
        assert isinstance(answer, Preparation)
        return answer

    def resume(self, workload: Workload, timeout: float = ANSWER_TIMEOUT_SECONDS) -> None:
        """Go back to a workload prepared before, by another worker if need be, with an epoch that is not timed."""
        self._ask(timeout, "resume", workload)

    def sample(self, epochs: int, timeout: float = ANSWER_TIMEOUT_SECONDS) -> float:
        """Return the seconds that training for `epochs` took."""
        answer = self._ask(timeout, "sample", epochs)
        assert isinstance(answer, float)
        return answer

    def close(self) -> None:
        """End the process, at once if it is at work."""
        self._connection.close()  # a worker that listens sees the end of its input and returns
        self._process.join(0 if self._waiting else 5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, timeout: float, method: str, *arguments: object) -> object:
        try:
            self._connection.send((method, arguments))
            self._waiting = True
            if not self._connection.poll(max(0.0, min(timeout, ANSWER_TIMEOUT_SECONDS))):
                raise OutOfTimeError(f"no answer to {method!r} within {min(timeout, ANSWER_TIMEOUT_SECONDS):.0f} s")
            answer = self._connection.recv()
            self._waiting = False
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise EngineError(f"the worker died (exit code {self._process.exitcode})") from error
        if isinstance(answer, (EngineError, UnsupportedError)):
            raise answer
        return answer


class _Session:
    """The worker's end: the same methods, executed."""

    def __init__(self, engine: str, threads: int) -> None:
        self._threads = threads
        self._engine: Engine | None = None  # of the workload at hand
        self._built: dict[str, Engine] = {}
        self._engine_class: type[Engine] | str
        try:
            self._engine_class = load_engine(engine)
        except ImportError as error:
            self._engine_class = f"does not load ({error})"

    def version(self) -> str:
        return self._loaded().version()

    def prepare(self, workload: Workload, keep: bool) -> Preparation:
        engine_class = self._loaded()
        if reason := engine_class.missing(workload):
            raise UnsupportedError(reason)
        if not keep:
            self._engine = None  # its memory is needed
            self._built.clear()
        x, y = make_data(workload)
        self._engine = self._built[workload.name] = engine_class(workload, x, y, self._threads)
        constant, trained = _learn(self._engine, workload, x, y)  # warms up and compiles as well
        return Preparation(constant, trained, epoch_seconds=self.sample(1))

    def resume(self, workload: Workload) -> None:
        if workload.name not in self._built:
            self.prepare(workload, keep=True)
        self._engine = self._built[workload.name]
        self.sample(1)  # caches, and compilers that forget

    def sample(self, epochs: int) -> float:
        assert self._engine is not None
        start = time.perf_counter()
        self._engine.run(epochs)
        return time.perf_counter() - start

    def _loaded(self) -> type[Engine]:
        if isinstance(self._engine_class, str):
            raise UnsupportedError(self._engine_class)
        return self._engine_class


def _learn(engine: Engine, workload: Workload, x: Array, y: Array) -> tuple[float, float]:
    """Train until the loss has fallen as far as it must; return that of a constant prediction and the last one."""
    constant = constant_loss(workload, y)
    trained = constant
    for _ in range(workload.check_epochs):
        engine.run(1)
        trained = mean_loss(workload, engine.predict(x[:CHECK_ROWS]), y[:CHECK_ROWS])
        if trained <= (1 - REQUIRED_FALL) * constant:  # false for NaN too
            return constant, trained
    raise EngineError(
        f"does not learn: loss {trained:.4g} after {workload.check_epochs} epochs, "
        f"at most {(1 - REQUIRED_FALL) * constant:.4g} expected"
    )


def _serve(connection: Connection, engine: str, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which closes the workers
    session = _Session(engine, threads)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = getattr(session, method)(*arguments)
        except (EngineError, UnsupportedError) as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends its case, not the run
            traceback.print_exc()
            answer = EngineError(f"{type(error).__name__}: {error}")
        connection.send(answer)
