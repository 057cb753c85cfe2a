"""After a crash: the activities that were running are run again, one at a time.

One that takes the node down is alone when it does, so it is known, counted, and after three times
failed (durability.md, promise 4). One that has run for a while without doing harm no longer holds
up the others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from hosts.durable.attempts import Key
from hosts.durable.flights import Flight
from hosts.poison import ALONE_NS, POISON_BOOTS, poisoned
from hosts.timers import Timers
from journal.unit import Unit
from runtime.codec import encode

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)


class Reruns:
    """Takes the shards of a host through what was running, from activity to activity.

    Args:
        busy: runs with activities that were running, each with its shard.
    """

    def __init__(
        self, busy: Iterable[tuple[Shard, int]], shards: list[Shard], timers: Timers
    ) -> None:
        self._busy = deque(busy)
        #: Activities of the run that it has come to.
        self._pending: deque[tuple[Shard, Key]] = deque()
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
            for key in shard.poison.interrupted(run):
                self._pending.append((shard, key))
        finally:
            self._next(turn)

    def _rerun(self, shard: Shard, key: Key) -> None:
        over = partial(self._next, self._turn)

        def watched() -> None:
            shard.post(partial(shard.poison.harmless, key))
            shard.post(over)

        self._timers.add(self._timers.clock.monotonic() + ALONE_NS, watched)
        shard.post(partial(shard.poison.rerun, key, partial(shard.post, over)))


class Poison:
    """Runs activities of one shard alone, and counts the boots in which that took the node down.

    Used on the shard's thread.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        #: What is called once they are over, by activity that runs alone.
        self._on_end: dict[Key, Callable[[], None]] = {}

    def interrupted(self, run: int) -> list[Key]:
        """The activities of a run that a crash interrupted."""
        execution = self._shard.runs.find_run(run)
        if execution is None:
            return []
        under_way = self._shard.activities.under_way
        return [
            (run, seq)
            for seq, activity in execution.activities.items()
            if activity.restored and (run, seq) not in under_way
        ]

    def rerun(self, key: Key, on_end: Callable[[], None]) -> None:
        """Run one of them again; `on_end` is called once it is over."""
        found = self._shard.runs.find_activity(key)
        if found is None or found[0].suspended:
            on_end()
            return
        execution, activity = found
        if activity.cancelled:
            self._shard.activities.cancel(execution, key[1])
            on_end()
            return
        if activity.alone >= POISON_BOOTS:
            error = poisoned(activity.record[2], activity.alone)
            logger.error("%s, activity %d: %s", execution.pid, key[1], error.message)
            self._shard.touch(execution, ["activity_failed", key[1], encode(error)])
            on_end()
            return
        self._on_end[key] = on_end
        self._shard.activities.journal_attempt(execution, activity, alone=True)

    def over(self, key: Key) -> None:
        """An attempt that ran alone is over; its activity may be tried again later."""
        on_end = self._on_end.pop(key, None)
        if on_end is not None:
            on_end()
            self.harmless(key)

    def harmless(self, key: Key) -> None:
        """An activity has run alone for long enough, or to its end: it is not what took the node
        down."""
        self._count(key, lambda alone: 0)

    def close(self) -> None:
        """The host stops in order, so what runs alone now has not taken the node down: this boot
        does not count. Functions that run are left to end, and are run again at the next."""
        for key in self._on_end:
            self._count(key, lambda alone: alone - 1)

    def _count(self, key: Key, change: Callable[[int], int]) -> None:
        found = self._shard.runs.find_activity(key)
        if found is not None and found[1].alone:
            found[1].alone = change(found[1].alone)
            unit = Unit()
            found[1].keep(key[0], unit)
            self._shard.submit(unit, Flight(key[0]))
