"""How Optuna draws the parameters of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoop.search._spaces import Choice, Integers, OneMinusLogUniform, Parameter


def suggest(asking: Any, name: str, parameter: Any) -> None:
    """Let Optuna choose a value."""
    stored = _stored_name(name, parameter)
    if isinstance(parameter, Choice):
        asking.suggest_categorical(stored, _choices(parameter))
    elif isinstance(parameter, Integers):
        asking.suggest_int(stored, parameter.low, parameter.high, log=parameter.log)
    elif isinstance(parameter, OneMinusLogUniform):
        asking.suggest_float(stored, 1.0 - parameter.high, 1.0 - parameter.low, log=True)
    else:
        asking.suggest_float(stored, parameter.low, parameter.high, log=parameter.scale == "log")


def _choices(parameter: Choice) -> list[Any]:
    """Return what Optuna can store for the choices: themselves, or texts."""
    values = list(parameter.values)
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    plain = plain and len(set(values)) == len(values)  # Optuna takes 1, 1.0 and True for the same
    return values if plain else parameter.labels()


def _stored_name(name: str, parameter: Parameter) -> str:
    return f"1 - {name}" if isinstance(parameter, OneMinusLogUniform) else name


def params_of(space: Mapping[str, Parameter], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that `build` gets."""
    params = {}
    for name, parameter in space.items():
        value = stored[_stored_name(name, parameter)]
        if isinstance(parameter, OneMinusLogUniform):
            value = min(max(1.0 - value, parameter.low), parameter.high)
        elif isinstance(parameter, Choice):
            value = parameter.values[_choices(parameter).index(value)]
        params[name] = value
    return params


def numbered_tpe(optuna: Any, seed: int) -> Any:
    """Return a sampler that draws trial i by the seed and i, so that processes that share a study do not draw alike."""

    class NumberedTPE(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def __init__(self) -> None:
            self._tpe = optuna.samplers.TPESampler(seed=0)

        def before_trial(self, study: Any, trial: Any) -> None:
            state = (seed + 0x9E3779B97F4A7C15 * (trial.number + 1)) % 2**64
            self._tpe = optuna.samplers.TPESampler(seed=(state ^ state >> 32) % 2**32)
            self._tpe.before_trial(study, trial)

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self._tpe.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self._tpe.sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return self._tpe.sample_independent(study, trial, name, distribution)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            self._tpe.after_trial(study, trial, state, values)

    return NumberedTPE()
