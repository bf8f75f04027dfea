"""One process per engine, so that thread pools and allocators of different libraries never meet.

The parent asks, the worker answers and then blocks on its pipe: while one engine is timed, the others sleep.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from engine import Engine, load_engine
from workloads import WORKLOADS, Array, Workload, constant_loss, make_data, mean_loss

REQUIRED_FALL = 0.2  # the loss must end at least this far, relatively, below that of the best constant prediction
CHECK_ROWS = 2048
ANSWER_TIMEOUT_SECONDS = 900.0  # a compiler may be at work


class EngineError(RuntimeError):
    """The engine raised, died or did not learn."""


class UnsupportedError(RuntimeError):
    """The engine is not installed or lacks a feature of the workload."""


@dataclass(frozen=True)
class Preparation:
    """What is known once an engine has shown that it trains."""

    version: str
    constant_loss: float  # of the best constant prediction
    trained_loss: float
    epoch_seconds: float


class Worker:
    """The parent's end of one engine on one workload."""

    def __init__(self, engine: str, workload: Workload, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, engine, workload.name, threads), daemon=True)
        self._process.start()
        child.close()

    def prepare(self) -> Preparation:
        """Builds the network, trains it and checks that the loss fell."""
        answer = self._ask("prepare")
        assert isinstance(answer, Preparation)
        return answer

    def sample(self, epochs: int) -> float:
        """Seconds that training for `epochs` took."""
        answer = self._ask("sample", epochs)
        assert isinstance(answer, float)
        return answer

    def fma_peak(self) -> float | None:
        """GFLOP/s, None from an engine that cannot measure it."""
        answer = self._ask("fma_peak")
        assert answer is None or isinstance(answer, float)
        return answer

    def close(self) -> None:
        self._connection.close()  # the worker sees the end of its input and returns
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _ask(self, method: str, *arguments: object) -> object:
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(ANSWER_TIMEOUT_SECONDS):
                raise EngineError(f"no answer to {method!r} within {ANSWER_TIMEOUT_SECONDS:.0f} s")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise EngineError(f"the worker died (exit code {self._process.exitcode})") from error
        if isinstance(answer, EngineError | UnsupportedError):
            raise answer
        return answer


class _Session:
    """The worker's end: the same methods, executed."""

    def __init__(self, engine: str, workload: Workload, threads: int) -> None:
        self._engine_name, self._workload, self._threads = engine, workload, threads
        self._engine: Engine

    def prepare(self) -> Preparation:
        try:
            engine_class = load_engine(self._engine_name)
        except ImportError as error:
            raise UnsupportedError(f"not installed ({error})") from error
        if reason := engine_class.missing(self._workload):
            raise UnsupportedError(reason)
        x, y = make_data(self._workload)
        self._engine = engine_class(self._workload, x, y, self._threads)
        self.sample(self._workload.check_epochs)  # warms up and compiles as well
        constant, trained = self._check(x, y)
        return Preparation(engine_class.version(), constant, trained, epoch_seconds=self.sample(1))

    def sample(self, epochs: int) -> float:
        start = time.perf_counter()
        self._engine.run(epochs)
        return time.perf_counter() - start

    def fma_peak(self) -> float | None:
        return self._engine.fma_peak()

    def _check(self, x: Array, y: Array) -> tuple[float, float]:
        trained = mean_loss(self._workload, self._engine.predict(x[:CHECK_ROWS]), y[:CHECK_ROWS])
        constant = constant_loss(self._workload, y)
        if not trained <= (1 - REQUIRED_FALL) * constant:  # false for NaN too
            raise EngineError(
                f"does not learn: loss {trained:.4g} after {self._workload.check_epochs} epochs, "
                f"at most {(1 - REQUIRED_FALL) * constant:.4g} expected"
            )
        return constant, trained


def _serve(connection: Connection, engine: str, workload: str, threads: int) -> None:
    session = _Session(engine, WORKLOADS[workload], threads)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = getattr(session, method)(*arguments)
        except (EngineError, UnsupportedError) as error:
            answer = error
        except Exception as error:
            traceback.print_exc()
            answer = EngineError(f"{type(error).__name__}: {error}")
        connection.send(answer)
