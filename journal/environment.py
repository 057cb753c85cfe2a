"""The LMDB environment under a journal: short reads, durable writes, growth, failure.

**Reads and the map.** Growing the map, opening anew after a failure and closing all pull the map
from under open read transactions. So each of them, and each read transaction, holds one lock; reads
copy out a bounded chunk and let go.

**A failed commit.** LMDB writes data pages, syncs them, then writes one of two meta pages through a
descriptor that syncs by itself. When the first part fails, no meta page names the new pages, and
the pages a later transaction stands on were all synced before it or are written again by it: that a
second fsync may falsely succeed on Linux cannot hurt. When the meta page fails, LMDB gives the
environment up (MDB_PANIC), and the disk may hold either meta page. So after every failed commit the
environment is opened anew and asked for its last transaction:

- the failed one is not there: it is reported as failed. Its number is used again, so that the next
  commit overwrites the meta page in doubt. (Were the node to die before any such commit, the batch
  might surface, unacknowledged, at the next boot: the disk refused to say.)
- the failed one is there: one more small commit puts it beyond doubt, and it is reported as done.
- neither can be found out: the environment stays closed, every later use raises JournalIOError, and
  only a new open of the journal goes on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Final

import lmdb

from journal import faults
from journal.databases import DATABASES, META, Database
from journal.encoding import encode
from journal.errors import (
    JournalClosedError,
    JournalError,
    JournalForkedError,
    JournalFullError,
    JournalIOError,
    JournalPathError,
    translate,
)
from journal.files import Handles, Transaction, open_files, try_room
from journal.owner import OwnerLock

TXN_BEFORE: Final = faults.declare("journal.txn.before")
GROW_BEFORE: Final = faults.declare("journal.grow.before")
GROW_AFTER: Final = faults.declare("journal.grow.after")
COMMIT_BEFORE: Final = faults.declare("journal.commit.before")
COMMIT_AFTER: Final = faults.declare("journal.commit.after")

#: Written after a failed commit that turned out to be there.
SETTLED: Final = b"settled"

#: Bytes of the map of a copy beyond that of the journal.
_COPY_SPARE: Final = 16 << 20
#: Rows of a copy that are written in one transaction.
_COPY_ROWS: Final = 2000

logger = logging.getLogger("perdure.journal")


class Environment:
    """An open environment with its databases; what `open_files` raises.

    Args:
        path: folder, which exists.
        map_size: bytes of the map to start with; it grows by doubling.
        create: make a new journal when there is none.
        readonly: read a journal that another process may own.
        databases: what is in it; the first is "meta".
    """

    def __init__(
        self,
        path: str,
        map_size: int,
        *,
        create: bool = False,
        readonly: bool = False,
        databases: Sequence[Database] = DATABASES,
    ) -> None:
        self.path = path
        self._map_size = map_size
        self._databases = databases
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._problem: JournalError = JournalClosedError(f"journal {path} is closed")
        opened = open_files(path, map_size, create=create, readonly=readonly, databases=databases)
        self._env: lmdb.Environment | None = opened.env
        self._handles = opened.handles
        self.journal_id = opened.journal_id
        self.created_ns = opened.created_ns
        self.is_new = opened.is_new
        self.stale_readers = opened.env.reader_check()

    @contextmanager
    def read(self) -> Iterator[tuple[Transaction, Handles]]:
        """A read transaction, for a short while: no other starts and no map grows meanwhile.

        Raises JournalForkedError, JournalClosedError, and for what goes wrong inside the block
        JournalCorruptError or JournalIOError.
        """
        self.check_process()
        with self._lock:
            env = self._opened()
            try:
                with self._begin_read(env) as txn:
                    yield txn, self._handles
            except (lmdb.Error, OSError) as error:
                raise translate(error, self.path) from error

    def copy(self, folder: str, databases: Sequence[Database] = DATABASES) -> None:
        """Write one consistent state, synced, as the environment of an empty folder.

        Row by row in the order of keys, so that its pages are full: LMDB's own copy leaves out what
        is free, and keeps pages as they are, some of them half empty.
        """
        try:
            with self.read() as (source, handles), closing(self._empty_copy(folder)) as copied:
                for database, handle in zip(databases, handles, strict=True):
                    target = copied.open_db(database.name.encode())
                    rows = iter(source.cursor(handle)) if handle else iter(())
                    while batch := list(islice(rows, _COPY_ROWS)):
                        with copied.begin(write=True, db=target) as txn, txn.cursor() as cursor:
                            cursor.putmulti(batch, append=True)
                copied.sync(True)
        except (lmdb.Error, OSError) as error:
            raise translate(error, folder) from error

    def _empty_copy(self, folder: str) -> lmdb.Environment:
        map_size = self._opened().info()["map_size"] + _COPY_SPARE
        return lmdb.open(folder, map_size=map_size, max_dbs=32, lock=False, sync=False)

    def write(self, apply: Callable[[Transaction, Handles], None]) -> None:
        """Run `apply` in a write transaction and sync it to disk; always on the same thread.

        `apply` runs again from the start when the map had to grow. Raises a JournalError, after
        which nothing of it is in the journal (the top of this file says what that rests on).
        """
        try:
            while not self._try_write(apply):
                self._grow()
        except (JournalIOError, lmdb.Error, OSError) as error:
            raise self._explained(error) from error

    def check_room(self) -> None:
        """Raise JournalFullError, or JournalIOError, when the data file cannot grow now."""
        try:
            try_room(self.path)
        except OSError as error:
            raise translate(error, self.path) from error

    def _explained(self, error: Exception) -> JournalError:
        """What a failed write is told as: LMDB calls one that was cut short an I/O error."""
        told = translate(error, self.path)
        if isinstance(told, JournalIOError) and not self.gone:
            try:
                self.check_room()
            except JournalFullError as full:
                return full
            except JournalIOError:
                pass
        return told

    def close(self) -> None:
        """Close; every later use raises JournalClosedError."""
        with self._lock:
            self._close(JournalClosedError(f"journal {self.path} is closed"))

    @property
    def gone(self) -> bool:
        """It could not be opened anew after a failure, and only a new open of it goes on."""
        return self._env is None and not isinstance(self._problem, JournalClosedError)

    def check_process(self) -> None:
        """Raise JournalForkedError in any process but the one that opened the journal."""
        if os.getpid() != self._pid:
            raise JournalForkedError(
                f"journal {self.path} belongs to process {self._pid} and cannot be used in its "
                f"child {os.getpid()}: start children by spawn, or use the journal in the parent"
            )

    def _begin_read(self, env: lmdb.Environment) -> Transaction:
        try:
            return env.begin()
        except lmdb.MapResizedError:
            env.set_mapsize(0)  # the owner, another process, has grown it: take its size
            return env.begin()

    def _try_write(self, apply: Callable[[Transaction, Handles], None]) -> bool:
        """False when the map was full; nothing is written then."""
        faults.point(TXN_BEFORE)
        txn = self._opened().begin(write=True)
        number = txn.id()
        try:
            apply(txn, self._handles)
        except lmdb.MapFullError:
            txn.abort()
            return False
        except BaseException:
            txn.abort()
            raise
        try:
            if faults.point(COMMIT_BEFORE):
                txn.abort()
            else:
                txn.commit()
            faults.point(COMMIT_AFTER)
        except lmdb.MapFullError:
            txn.abort()
            return False
        except (lmdb.Error, OSError) as error:
            txn.abort()
            if not self._survived(number, error):
                raise
        return True

    def _survived(self, number: int, cause: Exception) -> bool:
        """After a failed commit: open anew and see whether transaction `number` is there."""
        logger.warning("journal %s: opening anew after a failed commit: %s", self.path, cause)
        unknown = JournalIOError(
            f"journal {self.path}: {cause}; what was written could not be found out: "
            "it has to be opened again when the disk is well"
        )
        with self._lock:
            env = self._reopen(unknown)
            if env.info()["last_txnid"] < number:
                return False
            try:
                with env.begin(write=True) as txn:
                    txn.put(SETTLED, encode(SETTLED, number), db=self._handles[META])
            except lmdb.Error as error:
                self._close(unknown)
                raise unknown from error
            return True

    def _grow(self) -> None:
        """Double the map, with no transaction open."""
        faults.point(GROW_BEFORE)
        env = self._opened()
        env.reader_check()  # a reader that died keeps old pages from being used again
        size = env.info()["map_size"] * 2
        with self._lock:
            try:
                env.set_mapsize(size)
            except (lmdb.Error, OverflowError) as error:
                full = JournalFullError(
                    f"journal {self.path}: the map cannot grow to {size >> 20} MiB ({error}): "
                    "raise the limit of address space (ulimit -v); nothing is lost"
                )
                self._reopen(full)
                raise full from error
            self._map_size = size
        logger.info("journal %s: map grown to %d MiB", self.path, size >> 20)
        faults.point(GROW_AFTER)

    def _reopen(self, problem: JournalError) -> lmdb.Environment:
        """Close and open; `problem` is what this and every later use raises when that fails."""
        self._close(problem)
        try:
            opened = open_files(self.path, self._map_size, databases=self._databases)
        except JournalError as error:
            raise problem from error
        self._env, self._handles = opened.env, opened.handles
        return opened.env

    def _opened(self) -> lmdb.Environment:
        if self._env is None:
            raise self._problem.with_traceback(None)
        return self._env

    def _close(self, problem: JournalError) -> None:
        env, self._env, self._problem = self._env, None, problem
        if env is not None:
            env.close()


def open_owned(
    path: str | os.PathLike[str], map_size: int, databases: Sequence[Database] = DATABASES
) -> tuple[Environment, OwnerLock]:
    """Own the folder `path` and open what is in it; both are made when they are not there.

    Raises JournalOwnedError, and what `open_files` raises.
    """
    folder = os.path.abspath(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        text = f"journal {folder}: the folder cannot be made: {error.strerror}"
        raise JournalPathError(text) from error
    owner = OwnerLock(folder)
    try:
        env = Environment(folder, map_size, create=not owner.journal_id, databases=databases)
    except BaseException:
        owner.release()
        raise
    owner.name(env.journal_id)
    return env, owner
