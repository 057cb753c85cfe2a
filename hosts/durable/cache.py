"""The cache of live runs: a budget in bytes for each VM.

A run that waits need not be in memory, since its history rebuilds it. So when a VM has outgrown its
budget the runs that were longest without an input leave it, until the rest should fit; then Lua's
garbage is collected, and what is left is the new measure. The VM's total is exact; what one run has
of it is taken to be the average.

Only runs that wait leave: nothing of them is on its way to the disk, and no effect of theirs is
still to be performed. So the shard waits for the disk first, and no number of inputs that come at
once can make more runs live than the budget and one bite of inputs allow.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Final

from runtime import inputs

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: Bytes of a live run outside its VM: 3 KB of Python objects, and as much that allocators keep
#: while runs come and go. With it the resident memory stays within the budget.
PYTHON_SHARE: Final = 6_000

#: Evict down to this share of the budget, so that it is not done for each new run.
_KEPT: Final = 0.75
#: What cannot leave may be more than the budget; look again when the VM has grown by so much.
_GROWTH: Final = 1.25


class Cache:
    """Keeps the runs of a shard within a budget. Used on the shard's thread, between steps.

    Args:
        budget: bytes; what the VM takes when it is empty does not count.
    """

    def __init__(self, shard: Shard, budget: int) -> None:
        self._shard = shard
        self._budget = budget
        self.new_machine()

    def new_machine(self) -> None:
        """The machine is a fresh one."""
        self._empty = self._shard.machine.memory
        self._limit = self._budget

    @property
    def full(self) -> bool:
        """Whether runs ought to leave."""
        return self._size() > self._limit

    def trim(self) -> None:
        """Evict what is too much."""
        runs = self._shard.runs
        size = self._size()
        evictable = runs.evictable(self._shard.flights.settled)
        surplus = (size - self._budget * _KEPT) / size
        count = min(len(evictable), int(len(runs) * surplus) + 1)
        leaving = nsmallest(count, evictable, key=lambda execution: execution.used)
        self._shard.machine.step([inputs.drop(execution.pid) for execution in leaving], 0)
        for execution in leaving:
            runs.forget(execution)
        self._shard.machine.collect()
        self._limit = max(self._budget, int(self._size() * _GROWTH))

    def _size(self) -> int:
        share = len(self._shard.runs) * PYTHON_SHARE
        return self._shard.machine.memory - self._empty + share
