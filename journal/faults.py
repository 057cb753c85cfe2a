"""Named places where a test can kill the process, fail the disk, or leave a step out.

    PERDURE_FAULT="journal.commit.before:3"             kill -9 at the third pass
    PERDURE_FAULT="journal.commit.before:1:raise-eio"   OSError(EIO) at the first pass
    PERDURE_FAULT="journal.commit.before:2+:skip"       at the second pass and every later one

Actions: `kill` (default), `raise-enospc`, `raise-eio` (OSError with that errno), and `skip`: the
step after the point is left out, where the code at the point can (a planted bug, for tests of the
tests). A module declares its points as constants, so that `points()` lists them all once the
module is imported:

    BEFORE = faults.declare("host.effect.before")
    ...
    faults.point(BEFORE)

Off, a point costs one function call.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from typing import Final

VARIABLE: Final = "PERDURE_FAULT"
ACTIONS: Final = ("kill", "raise-enospc", "raise-eio", "skip")

_SPEC = re.compile(r"([\w.-]+):([1-9]\d*)(\+?)(?::([\w-]+))?")
_ERRNO = {"raise-enospc": errno.ENOSPC, "raise-eio": errno.EIO}

_declared: dict[str, None] = {}


class _Fault:
    """One armed fault and how often its point was passed."""

    def __init__(self, spec: str) -> None:
        match = _SPEC.fullmatch(spec)
        action = match and (match[4] or "kill")
        if not match or action not in ACTIONS:
            raise ValueError(
                f'{VARIABLE}="{spec}": write it as name:nth[:action], nth as 3 or 3+, '
                f"action one of {', '.join(ACTIONS)}"
            )
        self.name = match[1]
        self._first = int(match[2])
        self._on = bool(match[3])
        self._action = action
        self._passed = 0
        self._lock = threading.Lock()

    def hit(self, name: str) -> bool:
        if name != self.name:
            return False
        with self._lock:
            self._passed += 1
            due = self._passed == self._first or (self._on and self._passed > self._first)
        if not due:
            return False
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._action in _ERRNO:
            code = _ERRNO[self._action]
            raise OSError(code, f"{os.strerror(code)} (fault at {name})")
        return True


def _from_environment() -> _Fault | None:
    spec = os.environ.get(VARIABLE)
    return _Fault(spec) if spec else None


_armed: _Fault | None = _from_environment()


def declare(name: str) -> str:
    """Add a point to the list and return its name."""
    _declared[name] = None
    return name


def points() -> list[str]:
    """All points of the modules imported so far, in order of declaration."""
    return list(_declared)


def arm(spec: str | None) -> None:
    """Arm one fault in this process, in place of the environment variable; None disarms.

    Raises ValueError when `spec` is malformed or names no declared point.
    """
    global _armed
    fault = _Fault(spec) if spec else None
    if fault and fault.name not in _declared:
        raise ValueError(f'no fault point "{fault.name}": there are {", ".join(points())}')
    _armed = fault


def active() -> bool:
    """True while a fault is armed; spares hot loops the making of names."""
    return _armed is not None


def point(name: str) -> bool:
    """Pass the point: True means that the step after it is to be left out."""
    return _armed is not None and _armed.hit(name)
