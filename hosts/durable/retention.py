"""Retention: ended runs answer for a while, and are deleted then.

With a run go its history, its payloads that no other run holds, its index rows, its workflow id
when no later run has that, the idempotency keys it was asked for and sent messages with, and, now
and then, code that no run is pinned to any more.
"""

from __future__ import annotations

import logging
import threading
from itertools import islice
from typing import Final

from hosts.durable import keys
from hosts.durable.trusted_time import TrustedTime
from hosts.timers import Timer, Timers
from journal.errors import BadRecordError, JournalError
from journal.journal import Journal
from journal.unit import Unit

logger = logging.getLogger(__name__)

#: Runs that are deleted in one transaction.
_BATCH: Final = 50
#: Between two looks for code that nobody uses, ns.
_SOURCES_NS: Final = 3600 * 1_000_000_000
#: Between two looks, ns; a tenth of the retention where that is less.
_LOOK_NS: Final = 60_000_000_000


class Retention:
    """Deletes the ended runs of a journal when their time has come, on a thread of its own.

    Args:
        retention: nanoseconds after its end in which a run can be read.
    """

    def __init__(self, journal: Journal, timers: Timers, retention: int) -> None:
        self._journal = journal
        self._timers = timers
        self._retention = retention
        self._time = TrustedTime(journal, timers.clock, retention)
        self._sources_due = 0
        self._due = threading.Event()
        self._stopping = False
        self._timer: Timer | None = None
        self._thread = threading.Thread(target=self._run, name="perdure-retention", daemon=True)

    def start(self) -> None:
        """Begin with what came due while the node was down."""
        self._thread.start()
        self._due.set()

    def stop(self) -> None:
        """Delete nothing more; comes back when the thread has ended."""
        self._stopping = True
        if self._timer is not None:
            self._timers.cancel(self._timer)
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            try:
                self.sweep()
            except JournalError as error:
                logger.error("ended runs are not deleted now: %s", error)
            next_look = self._timers.clock.monotonic() + min(_LOOK_NS, self._retention // 10 + 1)
            self._timer = self._timers.add(next_look, self._due.set, background=True)

    def sweep(self) -> int:
        """Delete the runs whose time has come; how many. Raises JournalError."""
        now = self._time.now()
        if now is None:
            return 0
        before = now - self._retention
        deleted, last = 0, (0, 0)
        while not self._stopping and before > 0:
            rows = self._journal.ended(before, _BATCH, last, on_bad=_told)
            if not rows:
                break
            last = rows[-1]
            unit = Unit()
            # What still has a message to deliver is looked at again next time.
            runs = [run for _, run in rows if not self._journal.outbox_of(run)]
            for run in runs:
                self._forget(run, unit)
            self._journal.commit(unit)
            deleted += len(runs)
        if deleted:
            logger.info("journal %s: %d ended runs deleted", self._journal.path, deleted)
            if (monotonic := self._timers.clock.monotonic()) >= self._sources_due:
                self._sources_due = monotonic + _SOURCES_NS
                self.sweep_sources()
        return deleted

    def sweep_sources(self) -> int:
        """Delete the code that no run is pinned to; how many versions. Raises JournalError."""
        mark = Unit()
        mark.mark_sources()
        self._journal.commit(mark)
        unused = set(self._journal.sources())
        # The oldest runs come first, and old code is theirs.
        for number, row in self._journal.runs():
            if not unused or self._stopping:
                return 0
            unused.discard((row.extra or {}).get("source", b""))
            for record in islice(self._journal.records(number), 1):
                unused.discard(record[1]["source"])
        unit = Unit()
        for digest in unused:
            unit.del_source(digest)
        self._journal.commit(unit)
        return len(unused)

    def _forget(self, run: int, unit: Unit) -> None:
        """Delete a run, and what names it."""
        try:
            row = self._journal.run(run)
            for record in self._journal.records(run) if row is not None else ():
                for key in keys.of_record(row.host if row else "", record):
                    unit.del_dedupe(key.encode())
        except BadRecordError as error:
            logger.warning("run %d is deleted, hurt as it is: %s", run, error)
        unit.delete_run(run)


def _told(error: BadRecordError) -> None:
    logger.error("%s", error)
