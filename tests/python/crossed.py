"""One object after another of what cases.py lists, each under the identifier that a test has for it."""

from __future__ import annotations

from typing import Any, NamedTuple

from cases import ACTIVATIONS, INITIALIZERS, KINDS, LOSSES, OPTIMIZERS, Arguments, Draw, Loss, Optimizer, registry
from stoop import initializers

# ---- what is promised ----


def listed() -> list[tuple[str, str]]:
    """Kind and name of all that are classes."""
    return [(kind, name) for kind in KINDS if kind != "initializer" for name in KINDS[kind]]


def place(kind: str) -> str:
    """How programs reach it: "losses." or, for layers, nothing but `stoop` itself."""
    return {"loss": "losses.", "optimizer": "optimizers.", "schedule": "schedules."}.get(kind, "")


def contract(kind: str, name: str) -> Arguments:
    """The arguments of the constructor in order, with their defaults."""
    case = KINDS[kind][name]
    before = {"learning_rate": case.default_rate} if kind == "optimizer" else {}
    after = {"activation": {"trainable": True}, "layer": {"trainable": True}, "schedule": {"per": "step"}}
    return {**before, **case.arguments, **after.get(kind, {})}


def call(kind: str, name: str) -> Arguments:
    """Arguments with which it can be made."""
    return dict(KINDS[kind][name].variants()[0])


# ---- one object after another, by an identifier of a test ----


def label(name: str, arguments: Arguments) -> str:
    """ "sgd momentum=0.9"."""
    return " ".join([name, *(f"{key}={_short(value)}" for key, value in arguments.items())])


def _short(value: Any) -> str:
    if isinstance(value, float | int | str | bool):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def activation_layers(*, others: bool = True) -> dict[str, Any]:
    """A layer for each activation, and for each of its other arguments."""
    classes = registry("activation")
    return {
        label(name, arguments): classes[name](**arguments)
        for name, case in ACTIVATIONS.items()
        for arguments in case.variants()[: None if others else 1]
    }


class LossCase(NamedTuple):
    name: str
    loss: Any
    kind: str  # of targets
    draw: Draw
    case: Loss

    def outputs(self, about: int) -> int:
        return self.case.outputs(about)


def loss_cases() -> dict[str, LossCase]:
    """Each loss with each of its arguments on each kind of targets."""
    classes = registry("loss")
    return {
        f"{label(name, arguments)} of {kind}": LossCase(name, classes[name](**arguments), kind, draw, case)
        for name, case in LOSSES.items()
        for arguments in case.variants()
        for kind, draw in case.targets.items()
    }


def first_of_each(made: dict[str, LossCase]) -> list[str]:
    """The first identifier of each loss that has other arguments than its defaults, else of each loss."""
    chosen = {case.name: key for key, case in reversed(made.items())}
    chosen |= {case.name: key for key, case in reversed(made.items()) if "=" in key}
    return sorted(chosen.values(), key=list(made).index)


class OptimizerCase(NamedTuple):
    name: str
    arguments: Arguments
    case: Optimizer

    def make(self, learning_rate: Any = None, **others: Any) -> Any:
        rate = self.case.rate if learning_rate is None else learning_rate
        return registry("optimizer")[self.name](learning_rate=rate, **{**self.arguments, **others})


def optimizer_cases(*, full_batch: bool = False) -> dict[str, OptimizerCase]:
    """Each optimizer with each of its arguments; those of the full batch or the others."""
    return {
        label(name, arguments): OptimizerCase(name, arguments, case)
        for name, case in OPTIMIZERS.items()
        if case.full_batch == full_batch
        for arguments in case.variants()
    }


def calls(kind: str) -> dict[str, Any]:
    """An object for each call of a schedule or layer that is listed."""
    return {
        label(name, arguments): registry(kind)[name](**arguments)
        for name, case in KINDS[kind].items()
        for arguments in case.variants()
    }


def everything() -> dict[str, Any]:
    """An object for each entry of all kinds."""
    made = {**activation_layers(), **calls("layer"), **calls("schedule")}
    made |= {key: case.loss for key, case in loss_cases().items()}
    for full_batch in (False, True):
        made |= {key: case.make() for key, case in optimizer_cases(full_batch=full_batch).items()}
    for name, value in INITIALIZERS.items():
        made[name] = getattr(initializers, name) if value is None else getattr(initializers, name)(value)
    return made


def is_steady(loss: str, optimizer: str) -> bool:
    """Gradients of these losses are sums of signs: 0, or what rounding leaves, whose sign is all that Rprop takes."""
    return not (loss.startswith(("mae", "hinge", "quantile")) and optimizer.startswith("rprop"))
