"""Which function pools wait for which: a call in a queue may hold VMs of other pools meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable


class PoolQueues:
    """The queues of a node's pools, seen as a graph that never has a cycle.

    An edge leads from a pool to another when a call that one of its VMs runs waits in the queue of
    the other, itself or through what it called. Calls wait for each other only along edges, so
    without a cycle none waits for ever. Safe to call from any thread.
    """

    def __init__(self) -> None:
        self._edges: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def enter(self, pool: str, within: Iterable[str]) -> bool:
        """A call that the pools `within` wait for enters a queue; false where it must not."""
        edges = [(each, pool) for each in within]
        with self._lock:
            if not self._reach(pool).isdisjoint(each for each, _ in edges):
                return False
            self._edges.update(edges)
            return True

    def leave(self, pool: str, within: Iterable[str]) -> None:
        """The call is out of the queue."""
        edges = Counter([(each, pool) for each in within])
        with self._lock:
            self._edges -= edges

    def _reach(self, pool: str) -> set[str]:
        """The pool, and all that it waits for."""
        found, new = {pool}, [pool]
        while new:
            here = new.pop()
            for source, target in self._edges:
                if source == here and target not in found:
                    found.add(target)
                    new.append(target)
        return found
