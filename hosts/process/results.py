"""Results of ended processes, for those who ask late, and those who wait for one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from runtime.clock import Clock
from runtime.inputs import ReplyTo

#: How many results are kept, how long (ns), and how many bytes they may have together. The oldest
#: go first.
KEPT: Final = 10_000
KEPT_FOR: Final = 600_000_000_000
KEPT_BYTES: Final = 64 << 20

#: Those who wait for one process are looked through each time they are so many more.
_LOOKED_THROUGH: Final = 64


class Result(NamedTuple):
    """How a process ended: whether well, and with which encoded value or error."""

    ok: bool
    value: bytes


class Results:
    """The results of one host, by PID. Safe to call from any thread.

    Args:
        waits: whether somebody still waits for an answer at that address.
    """

    def __init__(self, clock: Clock, waits: Callable[[ReplyTo], bool] = lambda reply: True) -> None:
        self._clock = clock
        self._waits = waits
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, Result]] = OrderedDict()
        self._bytes = 0
        self._waiting: dict[str, list[ReplyTo]] = {}

    def add(self, pid: str, result: Result) -> list[ReplyTo]:
        """A process ended; those who wait for it."""
        with self._lock:
            self._kept[pid] = (self._clock.monotonic(), result)
            self._bytes += len(result.value)
            self._forget()
            return self._waiting.pop(pid, [])

    def get(self, pid: str, reply: ReplyTo) -> Result | None:
        """The result, or None, and then `reply` waits for it."""
        with self._lock:
            self._forget()
            if pid in self._kept:
                return self._kept[pid][1]
            waiting = self._waiting.setdefault(pid, [])
            waiting.append(reply)
            if len(waiting) % _LOOKED_THROUGH == 0:
                # Who asks again and again with a short timeout leaves these behind.
                waiting[:] = filter(self._waits, waiting)
            return None

    def give_up(self, pid: str, reply: ReplyTo) -> bool:
        """`reply` waits no longer; false when it did not wait any more."""
        with self._lock:
            waiting = self._waiting.get(pid, [])
            if reply not in waiting:
                return False
            waiting.remove(reply)
            if not waiting:
                del self._waiting[pid]
            return True

    def take_waiting(self, prefix: str) -> list[ReplyTo]:
        """Those who wait for processes whose PIDs begin with `prefix`; they wait no longer."""
        with self._lock:
            pids = [pid for pid in self._waiting if pid.startswith(prefix)]
            return [reply for pid in pids for reply in self._waiting.pop(pid)]

    def _forget(self) -> None:
        oldest = self._clock.monotonic() - KEPT_FOR
        while self._kept:
            made, result = next(iter(self._kept.values()))
            if made >= oldest and len(self._kept) <= KEPT and self._bytes <= KEPT_BYTES:
                return
            self._kept.popitem(last=False)
            self._bytes -= len(result.value)
