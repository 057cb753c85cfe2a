"""The VMs of a worker, and the runs in them.

A run is pinned to a VM by its run id, for as long as it is in memory. The SDK steps runs on the
threads of its executor, so each VM has a lock. What is lost with a VM (it hit its cap) or with a
step that the SDK interrupted is rebuilt: a step that does not find its run fails the workflow
task, and the server's history is replayed. The run that stepped when a VM hit its cap is rebuilt in
a VM of its own: if that hits it too, nothing else is to blame.

Long before that, when a VM has outgrown its share of the worker's cache, the runs that were longest
without a step are to leave memory.
"""

from __future__ import annotations

import logging
import math
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from hosts import sources
from runtime.commands import Command
from runtime.inputs import Input, ReplyTo, drop
from runtime.lua.machine import Definition, Machine, OutOfMemoryError
from runtime.routing.router import Router

logger = logging.getLogger(__name__)


#: Runs leave until this share of the budget is left, so that they do not for each new one.
_KEPT: Final = 0.75
#: What cannot leave may be more than the budget; look again when the VM has grown by so much.
_GROWTH: Final = 1.25


class RunLostError(Exception):
    """A run is not in its VM any more: it is to be rebuilt from its history."""


class InMemory(NamedTuple):
    """A run in a VM.

    Attributes:
        idle: whether it asks its node for nothing now: that would be asked again.
    """

    run_id: str
    entry: str
    idle: Callable[[], bool]


class RunVm:
    """A VM that steps runs; safe to call from any thread.

    Args:
        make: makes its machine, with the definitions of now.
        renewed: told of the runs in memory when the definitions are others.
        crowded: told of runs that are to leave memory.
        budget: bytes of runs above which some are to leave.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Machine],
        router: Router,
        renewed: Callable[[Sequence[InMemory]], None] = lambda runs: None,
        crowded: Callable[[Sequence[InMemory]], None] = lambda runs: None,
        budget: float = math.inf,
    ) -> None:
        self.name = name
        self._make = make
        self._router = router
        self._renewed = renewed
        self._crowded = crowded
        self._budget = budget
        self._lock = threading.Lock()
        #: By PID; the one that was longest without a step comes first.
        self._runs: dict[str, InMemory] = {}
        self._renew()
        self._pinned: set[str] = set()
        #: Run ids of those whose step has hit the cap.
        self._suspects: set[str] = set()

    def _renew(self) -> None:
        """Begin with a machine without runs."""
        self._machine = self._make()
        self._runs.clear()
        self._empty = self._machine.memory
        self._limit = self._budget

    def of(self, run_id: str) -> RunVm:
        """This one, or for a run that is under suspicion to fill it one of its own."""
        return self.fresh(f"{self.name}, of {run_id}") if run_id in self._suspects else self

    def fresh(self, name: str) -> RunVm:
        """A VM of the same kind, without runs and with the definitions of now."""
        return RunVm(name, self._make, self._router)

    @property
    def live(self) -> int:
        """How many runs are in it."""
        return len(self._runs)

    def begin(self, pid: str, run_id: str, entry: str, idle: Callable[[], bool]) -> None:
        """A run of an entry comes into memory; another of the same workflow id leaves it."""
        with self._lock:
            if pid in self._runs:
                self._machine.step([drop(pid)], 0)
            self._runs[pid] = InMemory(run_id, entry, idle)

    def end(self, pid: str, run_id: str) -> None:
        """A run leaves memory."""
        with self._lock:
            if self._has(pid, run_id):
                del self._runs[pid]
                self._machine.step([drop(pid)], 0)

    def _has(self, pid: str, run_id: str) -> bool:
        return pid in self._runs and self._runs[pid].run_id == run_id

    def step(self, pid: str, run_id: str, batch: Sequence[Input]) -> list[Command]:
        """Step a run; its commands. Raises RunLostError, or OutOfMemoryError when it has filled
        the VM by itself: then it is not in memory any more, either."""
        with self._lock:
            if not self._has(pid, run_id):
                raise RunLostError(f"{pid} is not in memory any more: it is replayed")
            self._runs[pid] = self._runs.pop(pid)
            try:
                commands = self._machine.step(batch)[1]
                if self._size > self._limit:
                    self._trim()
                return commands
            except OutOfMemoryError as error:
                logger.error("%s: %s; the VM was replaced", self.name, error)
                alone = len(self._runs) == 1
                self._renew()
                self._pinned.clear()
                if alone:
                    raise
                self._suspects.add(run_id)
                raise RunLostError(f"{pid}: {error}: it is replayed") from error
            except BaseException:
                # The SDK may have interrupted the step: what is left of the run is worth nothing.
                self._runs.pop(pid, None)
                self._machine.step([drop(pid)], 0)
                raise

    @property
    def _size(self) -> int:
        return self._machine.memory - self._empty

    def _trim(self) -> None:
        """Tell which runs are to leave, which they do a little later."""
        self._machine.collect()
        size = self._size
        if size > self._budget:
            count = int(len(self._runs) * (1 - self._budget * _KEPT / size)) + 1
            *others, _ = self._runs.values()  # the last one is about to ask for something
            self._crowded([each for each in others if each.idle()][:count])
        self._limit = max(self._budget, size * _GROWTH)

    def pin(self, entry: str, blob: bytes, digest: bytes) -> str:
        """Define a source under a name of its own, which is returned."""
        name = sources.pinned_name(entry, digest)
        with self._lock:
            if name not in self._pinned:
                self._machine.define(sources.renamed(blob, digest))
                self._pinned.add(name)
        return name

    def redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        """Run what starts from now on by new definitions, and answer."""
        with self._lock:
            self._machine.define(changed, gone)
            runs = list(self._runs.values())
        self._renewed(runs)
        self._router.answer(reply)


class RunVms:
    """The VMs of a worker."""

    def __init__(self, vms: Sequence[RunVm]) -> None:
        self.all = vms

    def of(self, run_id: str) -> RunVm:
        """The VM that a run is pinned to."""
        return self.all[zlib.crc32(run_id.encode()) % len(self.all)].of(run_id)
