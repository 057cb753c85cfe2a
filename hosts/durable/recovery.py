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
        pending: (shard, run, number) of each activity that was running.
    """

    def __init__(
        self, pending: Iterable[tuple[Shard, int, int]], shards: list[Shard], timers: Timers
    ) -> None:
        self._pending = deque(pending)
        self._shards = shards
        self._timers = timers
        self._turn = 0

    def start(self) -> None:
        """Begin with the first; everything else waits until the last is over."""
        if self._pending:
            for shard in self._shards:
                shard.activities.places.held = True
            self._next(0)

    def _next(self, turn: int) -> None:
        """The activity of `turn` is over, or was watched long enough."""
        if turn != self._turn:
            return
        self._turn += 1
        if not self._pending:
            for shard in self._shards:
                shard.post(shard.activities.places.release)
            return
        shard, run, seq = self._pending.popleft()
        over = partial(self._next, self._turn)

        def watched() -> None:
            shard.post(partial(shard.activities.harmless, run, seq))
            shard.post(over)

        self._timers.add(self._timers.clock.monotonic() + ALONE_NS, watched)
        shard.post(partial(shard.activities.rerun_alone, run, seq, partial(shard.post, over)))
