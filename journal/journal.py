"""A journal: what a node owns, writes and reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Final

from journal.batch import Batches
from journal.environment import Environment, open_owned
from journal.errors import JournalError
from journal.files import data_size
from journal.owner import OwnerLock
from journal.store import Store
from journal.unit import Unit
from journal.writer import Done, OnGone, OnTrouble, Writer

#: Bytes of the map to start with. It is address space, not memory or disk; it grows by itself.
MAP_SIZE: Final = 64 << 20


class Journal(Store):
    """An open journal, owned by this process. Get one from `Journal.open`; close it at the end.

    It can be used as a context manager. All methods may be called from any thread.
    """

    def __init__(self, env: Environment, owner: OwnerLock) -> None:
        super().__init__(env)
        self._owner = owner
        highest = self.highest_run()
        self._numbers = count(highest + 1)
        self._writer: Writer[Unit] = Writer(env, Batches(highest))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        on_progress: Callable[[str], None] | None = None,
        map_size: int = MAP_SIZE,
    ) -> Journal:
        """Open the journal in the folder `path`, which is created when it is not there.

        Args:
            on_progress: called with a line for a person when something was found or made.
            map_size: bytes of the map to start with.

        Raises JournalOwnedError when another node, or this process, has it open;
        JournalFormatError, JournalCorruptError or JournalPathError when it cannot be used.
        """
        env, owner = open_owned(path, map_size)
        try:
            journal = cls(env, owner)
        except BaseException:
            env.close()
            owner.release()
            raise
        if on_progress:
            on_progress(_found(env.path, env))
        return journal

    def submit(self, unit: Unit, done: Done, *, losses: int | None = None) -> None:
        """Hand a unit to the writer; `done` is called once, on the writer thread.

        Units are committed in the order of submission. `done(None)` means that the unit is on disk,
        synced. `done(error)` means that nothing of it is, nor of any unit that was submitted after
        it and before this answer: a unit never lands on top of a lost one. JournalFullError and
        JournalIOError may pass. `done` should only hand on: the next commit waits for it. What it
        raises is logged.

        Args:
            losses: `journal.losses` as it was when the caller last knew that all it had submitted
                was on disk or on its way. A caller that hears of losses later than they happen
                (from an inbox, say) gives it, and is refused what rests on a lost unit; it then
                reads `losses` and, from the journal, how its runs stand. None: never refused.

        Raises JournalLossError when `losses` is out of date, JournalClosedError after close(),
        JournalForkedError in a forked child.
        """
        self._writer.submit(unit, done, losses)

    def commit(self, unit: Unit) -> None:
        """Write a unit and wait until it is on disk; raises what `submit` would answer."""
        answer: Future[None] = Future()

        def done(error: Exception | None) -> None:
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

        self.submit(unit, done)
        answer.result()

    def watch(self, on_gone: OnGone, on_trouble: OnTrouble | None = None) -> None:
        """Hear that nothing can be written; see `Writer.watch`."""
        self._writer.watch(on_gone, on_trouble)

    @property
    def losses(self) -> int:
        """How often units were answered with an error since the journal was opened."""
        return self._writer.losses

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing can be written at the moment; None while all is well."""
        return self._writer.trouble

    @property
    def busy(self) -> bool:
        """Whether a unit that was submitted waits for its answer."""
        return self._writer.busy

    @property
    def commits(self) -> int:
        """Transactions synced to disk since the journal was opened."""
        return self._writer.commits

    @property
    def units(self) -> int:
        """Units in those transactions."""
        return self._writer.units

    def next_run(self) -> int:
        """A number for a new run, above all that ever had a row; some may be skipped."""
        return next(self._numbers)

    def close(self) -> None:
        """Commit what was submitted, then close; not to be called from a `done`."""
        self.env.check_process()
        self._writer.close()
        self.env.close()
        self._owner.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _found(folder: str, env: Environment) -> str:
    if env.is_new:
        return f"journal {folder}: created"
    stale = f", {env.stale_readers} dead readers cleared" if env.stale_readers else ""
    return f"journal {folder}: {data_size(folder) >> 10} KiB{stale}"
