"""After a crash: the activities that were running are run again, one at a time.

One that takes the node down is alone when it does, so it is known, counted, and after three times
failed (durability.md, promise 4). One that has run for a while without doing harm no longer holds
up the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final

from hosts.durable.shard import Shard
from hosts.timers import Timers

#: How long an activity is watched alone at most, ns.
ALONE_NS: Final = 2_000_000_000


class Recovery:
    """Reruns activities one at a time across the shards of a host.

    Args:
        busy: runs with activities that were running, each with its shard.
    """

    def __init__(
        self, busy: Iterable[tuple[Shard, int]], shards: list[Shard], timers: Timers
    ) -> None:
        self._busy = deque(busy)
        #: Activities of the run that it has come to.
        self._pending: deque[tuple[Shard, int, int]] = deque()
        self._shards = shards
        self._timers = timers
        self._turn = 0

    def start(self) -> None:
        """Begin with the first; everything else waits until the last is over."""
        if self._busy:
            for shard in self._shards:
                shard.activities.places.held = True
            self._next(0)

    def _next(self, turn: int) -> None:
        """The activity of `turn` is over, or was watched long enough."""
        if turn != self._turn:
            return
        self._turn += 1
        if self._pending:
            self._rerun(*self._pending.popleft())
        elif self._busy:
            shard, run = self._busy.popleft()
            shard.post(partial(self._come_to, shard, run, self._turn))
        else:
            for shard in self._shards:
                shard.post(shard.activities.places.release)

    def _come_to(self, shard: Shard, run: int, turn: int) -> None:
        """On the shard's thread: the activities of a run are next."""
        try:
            for seq in shard.activities.interrupted(run):
                self._pending.append((shard, run, seq))
        finally:
            self._next(turn)

    def _rerun(self, shard: Shard, run: int, seq: int) -> None:
        over = partial(self._next, self._turn)

        def watched() -> None:
            shard.post(partial(shard.activities.harmless, run, seq))
            shard.post(over)

        self._timers.add(self._timers.clock.monotonic() + ALONE_NS, watched)
        shard.post(partial(shard.activities.rerun_alone, run, seq, partial(shard.post, over)))
