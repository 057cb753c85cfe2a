"""Placement: which VM of a host a new process goes to, and how many a host may have."""

from __future__ import annotations

import threading
from typing import Final

#: More processes than any VM holds.
UNLIMITED: Final = 1 << 53


class Placement:
    """Counts the processes of each VM. Safe to call from any thread.

    A VM tells how many it holds after each turn (`report`); what was placed and has not been seen
    there yet counts as well, so that no burst of spawns looks into an old picture.

    Args:
        vms: how many there are; they go by their index.
        most: processes that the host may have; 0 for no limit.
    """

    def __init__(self, vms: int, most: int = 0) -> None:
        self.most = most
        self._live = [0] * vms
        self._coming = [0] * vms
        self._outside = 0
        self._open = True
        self._lock = threading.Lock()

    def place(self, parent: int | None) -> int | None:
        """The VM for a new process, which counts from now on; None when the host is full.

        A child goes to the VM of its parent unless that has more than twice the load of the
        least, everything else to the one with the least.
        """
        with self._lock:
            if self._full():
                return None
            loads = self._loads()
            least = min(loads)
            if parent is None or loads[parent] > 2 * least:
                parent = loads.index(least)
            self._coming[parent] += 1
            return parent

    def admit(self) -> bool:
        """A process comes that lives in none of the VMs; false when the host is full."""
        with self._lock:
            if self._full():
                return False
            self._outside += 1
            return True

    def leave(self) -> int:
        """One that was admitted is over; the number of processes in the whole host."""
        with self._lock:
            self._outside -= 1
            return self._total()

    def give_back(self, vm: int) -> None:
        """What was placed there is not going to come."""
        with self._lock:
            self._coming[vm] -= 1

    def report(self, vm: int, live: int, arrived: int) -> int:
        """A VM holds `live` processes, `arrived` of which were placed there and are new.

        Returns the number of processes in the whole host.
        """
        with self._lock:
            self._live[vm] = live
            self._coming[vm] -= arrived
            return self._total()

    def room(self, vm: int) -> int:
        """How many processes a VM may hold before it has to ask where the next one goes.

        With a limit on their number every spawn asks, for only the host can count them all.
        """
        with self._lock:
            if self.most or not self._open:
                return 0
            others = [load for index, load in enumerate(self._loads()) if index != vm]
            return 2 * min(others) if others else UNLIMITED

    def close(self) -> int:
        """No VM makes a process without asking from now on; the number there is."""
        with self._lock:
            self._open = False
            return self._total()

    @property
    def population(self) -> int:
        """Processes in the whole host."""
        with self._lock:
            return self._total()

    def _total(self) -> int:
        return sum(self._loads()) + self._outside

    def _full(self) -> bool:
        return self.most > 0 and self._total() >= self.most

    def _loads(self) -> list[int]:
        return [live + coming for live, coming in zip(self._live, self._coming, strict=True)]
