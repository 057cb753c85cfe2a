"""The files of a journal: creating them, and checking that they are what this version reads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import uuid4

import lmdb

from journal import faults
from journal.databases import ACTIVITIES, BUSY, DATABASES, META, Database
from journal.encoding import decode, encode, mark
from journal.errors import (
    BadRecordError,
    JournalFormatError,
    JournalPathError,
    corrupt,
)

#: Version of the whole layout.
FORMAT_VERSION: Final = 4
#: The first format in which runs with pending activities have a mark.
MARKS_SINCE: Final = 4

#: The row that says so. Every later version can read it: [format, uuid, created_ns, ...].
IDENTITY: Final = b"journal"

CREATE_BEFORE: Final = faults.declare("journal.create.before")
CREATE_AFTER: Final = faults.declare("journal.create.after")
UPGRADE_BEFORE: Final = faults.declare("journal.upgrade.before")
UPGRADE_AFTER: Final = faults.declare("journal.upgrade.after")

#: Bytes by which the data file must be able to grow, or its disk counts as full.
ROOM: Final = 1 << 20

#: Where in a meta page LMDB has the number of its transaction (struct MDB_meta, 64 bits).
_META_TXNID: Final = 144
#: Looks at the meta pages before they count as damaged.
_LOOKS: Final = 3

#: lmdb's handles of the databases, in the order of DATABASES; None for one that a journal of an
#: older format, open to be read only, does not have.
Handles = list[Any]
Transaction: TypeAlias = "lmdb.Transaction[bytes]"

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.NotFoundError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    BadRecordError,
)


class Opened(NamedTuple):
    """An LMDB environment that was found to be a journal.

    Attributes:
        journal_id: UUID of the journal.
        created_ns: when it was created, nanoseconds since the epoch.
        is_new: True when it was created just now.
    """

    env: lmdb.Environment
    handles: Handles
    journal_id: str
    created_ns: int
    is_new: bool


def open_files(
    path: str,
    map_size: int,
    *,
    create: bool = False,
    readonly: bool = False,
    databases: Sequence[Database] = DATABASES,
) -> Opened:
    """Open the journal in the folder `path`.

    The first of `databases` is "meta", where the journal says what it is. Without `create` a
    missing or empty data file is damage: LMDB itself would make a new one.

    Raises JournalFormatError, JournalCorruptError or JournalPathError.
    """
    lost = corrupt(path, "data.mdb is missing or empty")
    if not create and not readonly and not data_size(path):
        raise lost
    try:
        env = lmdb.open(
            path,
            map_size=map_size,
            readonly=readonly,
            mode=0o644,
            max_dbs=32,
            max_spare_txns=1,
        )
        try:
            is_new = env.info()["last_txnid"] == 0
            if is_new and not create:
                raise lost
            if is_new:
                _create(env, path, databases)
            _check_length(env, path)
            _check_transactions(env, path)
            return Opened(env, *_identify(env, path, databases, readonly), is_new)
        except BaseException:
            env.close()
            raise
    except _DAMAGE as error:
        raise corrupt(path, f"data.mdb is damaged, or not a journal ({error})") from error
    except (lmdb.Error, OSError) as error:
        raise JournalPathError(
            f"journal {path}: cannot be opened ({error}): "
            "the folder must exist on a local disk, be writable, and have space"
        ) from error


def data_size(path: str) -> int:
    """Bytes of the data file, 0 when there is none."""
    try:
        return os.stat(os.path.join(path, "data.mdb")).st_size
    except FileNotFoundError:
        return 0


def try_room(path: str) -> None:
    """Try whether the data file can grow by `ROOM`; raises OSError when it cannot."""
    probe = os.path.join(path, ".room")
    at, left = data_size(path), bytes(ROOM)
    descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while left:
            written = os.pwrite(descriptor, left, at)
            at, left = at + written, left[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(probe)


def _create(env: lmdb.Environment, path: str, databases: Sequence[Database]) -> None:
    faults.point(CREATE_BEFORE)
    with env.begin(write=True) as txn:
        meta = [env.open_db(database.name.encode(), txn) for database in databases][META]
        identity = (FORMAT_VERSION, str(uuid4()), time.time_ns())
        txn.put(IDENTITY, encode(IDENTITY, identity), db=meta)
    # LMDB syncs the file, not the folder entries that lead to it.
    for folder in (path, os.path.dirname(os.path.abspath(path))):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    faults.point(CREATE_AFTER)


def _check_length(env: lmdb.Environment, path: str) -> None:
    """Refuse a file that was cut: reading past its end would kill the process (SIGBUS)."""
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if (size := data_size(path)) < needed:
        raise corrupt(path, f"data.mdb was cut: it has {size} bytes of at least {needed}")


def _check_transactions(env: lmdb.Environment, path: str) -> None:
    """Refuse a file whose two meta pages are not of two transactions in a row.

    LMDB takes the page with the higher number, and has no checksum for it: with a bit flipped in
    the number it would go back to the state before the last transaction. Not seen is the flip
    by which the older number becomes two higher, or the newer two lower.
    """
    size = env.stat()["psize"]
    for _ in range(_LOOKS):
        with open(os.path.join(path, "data.mdb"), "rb", buffering=0) as file:
            pages = file.read(2 * size)
        numbers = [
            int.from_bytes(pages[at + _META_TXNID : at + _META_TXNID + 8], sys.byteorder)
            for at in (0, size)
        ]
        if abs(numbers[0] - numbers[1]) == 1 or numbers == [0, 0]:
            return
        # An owner may have written one of them while they were read.
    raise corrupt(path, "its meta pages are damaged: transactions {} and {}".format(*numbers))


def _identify(
    env: lmdb.Environment, path: str, databases: Sequence[Database], readonly: bool
) -> tuple[Handles, str, int]:
    # Each handle by a transaction of its own: a read transaction would not keep it.
    meta = env.open_db(databases[META].name.encode(), create=False)
    with env.begin() as txn:
        data = txn.get(IDENTITY, db=meta)
    if data is None:
        raise corrupt(path, "data.mdb does not say what format it has")
    version, journal_id, created_ns, *_ = decode(META, IDENTITY, data)
    if version > FORMAT_VERSION:
        raise JournalFormatError(
            f"journal {path} has format {version}, and this version of Perdure reads up to "
            f"format {FORMAT_VERSION}: use the newer Perdure that wrote it"
        )
    if version < FORMAT_VERSION and not readonly:
        _upgrade(env, databases, version, journal_id, created_ns)
    return [_handle(env, database, readonly) for database in databases], journal_id, created_ns


def _handle(env: lmdb.Environment, database: Database, readonly: bool) -> Any:
    try:
        return env.open_db(database.name.encode(), create=False)
    except lmdb.NotFoundError:
        if not readonly:
            raise
        return None


def _upgrade(
    env: lmdb.Environment,
    databases: Sequence[Database],
    version: int,
    journal_id: str,
    created_ns: int,
) -> None:
    """Make a journal of an older format one of this; its rows stay as they are."""
    faults.point(UPGRADE_BEFORE)
    identity = (FORMAT_VERSION, journal_id, created_ns)
    while True:
        try:
            with env.begin(write=True) as txn:
                handles = [env.open_db(database.name.encode(), txn) for database in databases]
                txn.put(IDENTITY, encode(IDENTITY, identity), db=handles[META])
                if databases is DATABASES and version < MARKS_SINCE:
                    _mark_busy(txn, handles)
            break
        except lmdb.MapFullError:
            # The map of a file that is larger than what was asked for is just that large.
            env.set_mapsize(env.info()["map_size"] * 2)
    faults.point(UPGRADE_AFTER)


def _mark_busy(txn: Transaction, handles: Handles) -> None:
    """Before format 4 each pending activity had a row, and its run no mark."""
    for key in txn.cursor(handles[ACTIVITIES]).iternext(values=False):
        run = key[:8]
        txn.put(run, mark(run), db=handles[BUSY])
