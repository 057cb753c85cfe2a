"""Values by key in an environment of its own, on disk before they are acknowledged.

Written like a journal: one writer thread, a batch a transaction, a checksum for each value; and
owned like one, by a lock on its folder. Values that have expired are not seen; some of them go with
each commit, so that they do not pile up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from journal.databases import DATABASES, META, Database
from journal.encoding import decode_in, encode
from journal.environment import Environment, open_owned
from journal.errors import BadRecordError, JournalError
from journal.files import Handles, Transaction
from journal.owner import OwnerLock
from journal.writer import Done, OnGone, OnTrouble, Writer

#: Bytes of the map to start with; it grows by itself.
MAP_SIZE: Final = 16 << 20
#: Bytes of a key: LMDB's limit of 511, less the 8 of a due time in front of it.
MAX_KEY: Final = 503
#: Expired values that one commit takes away.
SWEPT: Final = 100

_VALUES: Final = Database("values", "value", 0, -1)  # key -> [expires_ns or 0, value]
_EXPIRY: Final = Database("expiry", "expiry", 0, -1)  # expires_ns, key -> nothing
_DATABASES: Final = (DATABASES[META], _VALUES, _EXPIRY)
_AT_VALUES, _AT_EXPIRY = 1, 2


class Change:
    """A key gets a value, or loses it.

    Args:
        key: 1 to MAX_KEY bytes.
        value: None to delete.
        now: nanoseconds since the epoch.
        expires: when the value is no longer seen, on the same clock; 0 for never.

    Attributes:
        existed: after the commit, whether there was a value that had not expired.
    """

    __slots__ = ("existed", "expires", "key", "now", "value")

    def __init__(self, key: bytes, value: bytes | None, now: int, expires: int = 0) -> None:
        self.key = key
        self.value = value
        self.now = now
        self.expires = expires
        self.existed = False


class KeyValues:
    """An open environment of values. Safe to use from any thread."""

    def __init__(self, env: Environment, owner: OwnerLock) -> None:
        self._env = env
        self._owner = owner
        self._writer: Writer[Change] = Writer(env, _Changes())

    @classmethod
    def open(cls, path: str | os.PathLike[str], map_size: int = MAP_SIZE) -> KeyValues:
        """Open the values in a folder, which is created when it is not there.

        Raises JournalOwnedError, JournalFormatError, JournalCorruptError or JournalPathError.
        """
        return cls(*open_owned(path, map_size, _DATABASES))

    def get(self, key: bytes, now: int) -> bytes | None:
        """The value of a key, None when it has none or that has expired.

        Raises BadRecordError for a damaged value; other JournalErrors as `Environment.read`.
        """
        with self._env.read() as (txn, handles):
            data = txn.get(key, db=handles[_AT_VALUES])
        if data is None:
            return None
        expires, value = decode_in(_VALUES, key, data)
        return None if 0 < expires <= now else value

    def submit(self, change: Change, done: Done) -> None:
        """Hand a change to the writer; `done(None)` on its thread once it is on disk.

        `done(error)` when nothing of it is. Raises JournalClosedError and JournalForkedError.
        """
        self._writer.submit(change, done, None)

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing can be written at the moment; None while all is well."""
        return self._writer.trouble

    @property
    def busy(self) -> bool:
        """Whether a change that was submitted waits for its answer."""
        return self._writer.busy

    def watch(self, on_gone: OnGone, on_trouble: OnTrouble | None = None) -> None:
        """Hear that nothing can be written; see `Writer.watch`."""
        self._writer.watch(on_gone, on_trouble)

    def close(self) -> None:
        """Commit what was submitted, then close; not to be called from a `done`."""
        self._writer.close()
        self._env.close()
        self._owner.release()


class _Changes:
    """Applies changes; see `journal.writer.Batches`."""

    def apply(self, txn: Transaction, handles: Handles, units: Sequence[Change]) -> None:
        values, expiry = handles[_AT_VALUES], handles[_AT_EXPIRY]
        for change in units:
            key, expires = change.key, _expires(txn, handles, change.key)
            change.existed = expires == 0 or (expires or 0) > change.now
            if expires:
                txn.delete(_due(expires, key), db=expiry)
            if change.value is None:
                txn.delete(key, db=values)
                continue
            txn.put(key, encode(key, (change.expires, change.value)), db=values)
            if change.expires:
                txn.put(_due(change.expires, key), b"", db=expiry)
        self._sweep(txn, handles, max(change.now for change in units))

    def committed(self, units: Sequence[Change]) -> None:
        pass

    def _sweep(self, txn: Transaction, handles: Handles, now: int) -> None:
        with txn.cursor(handles[_AT_EXPIRY]) as cursor:
            for _ in range(SWEPT):
                if not cursor.first():
                    return
                row = cursor.key()
                expires, key = int.from_bytes(row[:8], "big"), row[8:]
                if expires > now:
                    return
                if _expires(txn, handles, key) == expires:
                    txn.delete(key, db=handles[_AT_VALUES])
                cursor.delete()


def _expires(txn: Transaction, handles: Handles, key: bytes) -> int | None:
    """When the value of a key expires, 0 for never, None when there is none."""
    data = txn.get(key, db=handles[_AT_VALUES])
    if data is None:
        return None
    try:
        expires, _ = decode_in(_VALUES, key, data)
    except BadRecordError:
        return 0  # damaged: it can be overwritten and deleted
    return int(expires)


def _due(expires: int, key: bytes) -> bytes:
    return expires.to_bytes(8, "big") + key
