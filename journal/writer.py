"""The writer: one thread that commits what callers submit.

Group commit: while one transaction syncs, the next batch gathers; the batch is whatever is queued.
A commit with fsync costs about the same for one unit as for hundreds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from journal import faults
from journal.environment import Environment
from journal.errors import (
    JournalClosedError,
    JournalCorruptError,
    JournalError,
    JournalLossError,
    translate,
)
from journal.files import Handles, Transaction
from journal.handover import Handover

#: Called on the writer thread: None once the unit is on disk, else why it is not.
Done = Callable[[Exception | None], None]

#: Called when nothing more can be written until the environment is opened again; must not block.
OnGone = Callable[[JournalError], None]

#: Called when `Writer.trouble` has come or gone; must not block.
OnTrouble = Callable[[], None]

#: Between two looks whether a disk that failed is well again, seconds.
LOOK_S: Final = 1.0

#: Units in one transaction at most, so that the first of many need not wait for the last.
#: Throughput grows little beyond: 130 k records/s in batches of 100, 350 k/s in batches of 1000.
BATCH_UNITS: Final = 1000

SUBMIT_BEFORE: Final = faults.declare("journal.submit.before")
SUBMIT_AFTER: Final = faults.declare("journal.submit.after")
DONE_AFTER: Final = faults.declare("journal.done.after")

logger = logging.getLogger("perdure.journal")

UnitT = TypeVar("UnitT")
_UnitT = TypeVar("_UnitT", contravariant=True)


class Batches(Protocol[_UnitT]):
    """What units do to the databases. Used on the writer's thread."""

    def apply(self, txn: Transaction, handles: Handles, units: Sequence[_UnitT]) -> None:
        """Write a batch; from the start again when the map had to grow."""
        ...

    def committed(self, units: Sequence[_UnitT]) -> None:
        """The batch is on disk."""
        ...


class Writer(Generic[UnitT]):
    """Owns the thread "journal-writer", which alone writes to the environment."""

    def __init__(self, env: Environment, batches: Batches[UnitT]) -> None:
        self._env = env
        self._batches = batches
        #: Transactions synced to disk, and units in them.
        self.commits = 0
        self.units = 0
        self._queue: Handover[tuple[UnitT, Done] | None] = Handover()
        # Guards what follows together with the queue: nothing comes behind the None of close(), and
        # nothing that rests on a lost unit behind the loss.
        self._lock = threading.Lock()
        self._closed = False
        self._losses = 0
        self._cause = ""  # of the last loss
        self._trouble: JournalError | None = None
        self._submitted = self._answered = 0
        self._watchers: list[OnGone] = []
        self._on_trouble: list[OnTrouble] = []
        self._gone: JournalError | None = None
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def losses(self) -> int:
        """How often units were lost."""
        return self._losses

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing can be written at the moment; None while all is well."""
        return self._trouble

    @property
    def busy(self) -> bool:
        """Whether a unit waits for its answer."""
        return self._answered < self._submitted

    def watch(self, on_gone: OnGone, on_trouble: OnTrouble | None = None) -> None:
        """Hear, on the writer thread, once that nothing can be written before a new open, and each
        time that other trouble has come or gone."""
        with self._lock:
            gone = self._gone
            if on_trouble is not None:
                self._on_trouble.append(on_trouble)
            if gone is None:
                self._watchers.append(on_gone)
        if gone is not None:
            on_gone(gone)

    def submit(self, unit: UnitT, done: Done, losses: int | None) -> None:
        """Queue a unit; see Journal.submit."""
        self._env.check_process()
        faults.point(SUBMIT_BEFORE)
        with self._lock:
            if self._closed:
                raise JournalClosedError(f"journal {self._env.path} is closed")
            if losses not in (None, self._losses):
                raise JournalLossError(self._cause)
            self._submitted += 1
            self._queue.put((unit, done))
        faults.point(SUBMIT_AFTER)

    def close(self) -> None:
        """Write what is queued, and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Wait for one unit, take all others that are there, commit, answer; until None comes."""
        queue = self._queue
        last = False
        while not last:
            batch: list[tuple[UnitT, Done]] = []
            queue.wait(None if self._trouble is None else LOOK_S)
            while queue and len(batch) < BATCH_UNITS and not last:
                item = queue.take()
                if item is None:
                    last = True
                else:
                    batch.append(item)
            if batch:
                self._write(batch)
            elif not last:
                self._look()
        queue.close()

    def _write(self, batch: list[tuple[UnitT, Done]]) -> None:
        units = [unit for unit, _ in batch]
        troubled = self._trouble is not None
        try:
            self._env.write(lambda txn, handles: self._batches.apply(txn, handles, units))
        except Exception as error:
            logger.error("%s", error)
            for done in [done for _, done in batch] + self._lose(error):
                self._answer(done, error)
            if isinstance(error, JournalCorruptError) or self._env.gone:
                self._tell(error)
            elif not troubled:
                self._tell_trouble()
        else:
            self.commits += 1
            self.units += len(units)
            self._batches.committed(units)
            for _, done in batch:
                self._answer(done, None)
            if troubled:
                self._look()

    def _tell(self, error: Exception) -> None:
        with self._lock:
            if self._gone is None:
                self._gone = translate(error, self._env.path)
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(self._gone)

    def _tell_trouble(self) -> None:
        for tell in self._on_trouble:
            tell()

    def _look(self) -> None:
        """Whether the trouble is over: the disk takes a transaction, and has room for more."""
        try:
            self._env.write(lambda txn, handles: None)
            self._env.check_room()
        except Exception as error:
            self._trouble = translate(error, self._env.path)
        else:
            self._trouble = None
            logger.info("journal %s: it can be written again", self._env.path)
            self._tell_trouble()

    def _lose(self, error: Exception) -> list[Done]:
        """Take what is queued behind a lost batch: it may rest on that."""
        lost: list[Done] = []
        with self._lock:
            self._trouble = translate(error, self._env.path)
            self._cause = str(self._trouble)
            self._losses += 1
            while self._queue:
                if (item := self._queue.take()) is not None:
                    lost.append(item[1])
            if self._closed:
                self._queue.put(None)
        return lost

    def _answer(self, done: Done, error: Exception | None) -> None:
        try:
            done(error)
            faults.point(DONE_AFTER)
        except BaseException:  # SystemExit would end the thread, and with it the journal
            logger.exception("journal: the callback of a unit failed")
        self._answered += 1
