"""Which process a trial of a shared study belongs to, and whether that process lives."""

from __future__ import annotations

import math
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

_PULSE = "stoop:pulse:"
_INTERVAL, _GRACE = 5.0, 60.0  # seconds between two beats, and without one until a process counts as dead


class Owner:
    """The running process, by a name that says where it runs and since when."""

    def __init__(self) -> None:
        self.name = "|".join([_place(), str(os.getpid()), _start_of(os.getpid()), uuid.uuid4().hex])


class Watchman:
    """Beats for this process, and listens to the others.

    A process on the same machine is dead when there is none of its number that began when it did. Any other is dead
    when its pulse has not changed for a minute, by the clock of this process: clocks of machines need not agree.

    Parameters
    ----------
    owner : Owner
        This process.
    """

    def __init__(self, owner: Owner) -> None:
        self._own = owner.name
        self._beaten = -math.inf
        self._count = 0
        self._heard: dict[str, tuple[Any, float]] = {}  # the last pulse of a process, and when it was new

    def beat(self, study: Any) -> None:
        """Let the others know that this process lives, every few seconds."""
        now = time.monotonic()
        if now - self._beaten >= _INTERVAL:
            self._beaten = now
            self._count += 1
            study.set_user_attr(_PULSE + self._own, self._count)

    def leave(self, study: Any) -> None:
        """Say that this process is done, if it ever beat."""
        if self._count:
            study.set_user_attr(_PULSE + self._own, None)

    def is_dead(self, study: Any, trial: Any, attribute: str) -> bool:
        """Return whether the process is dead that this attribute of a trial names; None is one that died early."""
        owner: str | None = trial.user_attrs.get(attribute)
        if owner == self._own:
            return False
        if owner is not None:
            place, pid, start, _ = owner.split("|")
            if place == _place() and _start_of(int(pid)) != "hidden":
                return _start_of(int(pid)) != start
        key = owner or f"trial {trial.number} {trial.state.name}"
        pulse = study.user_attrs.get(_PULSE + key)
        now = time.monotonic()
        heard, since = self._heard.get(key, (pulse, now))
        if heard != pulse:
            since = now
        self._heard[key] = (pulse, since)
        return now - since > _GRACE


def _place() -> str:
    """Return a name of the machine since it was started, and of the namespace in which it numbers processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode()}"


def _start_of(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; "gone", also if it waits for its parent, or "hidden"."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "hidden" if _exists(pid) else "gone"
    fields = text.rpartition(")")[2].split()
    return "gone" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
