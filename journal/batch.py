"""Applying units in one transaction, and numbering records: nobody else gives sequence numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice, takewhile
from typing import Any, Final

from journal import attributes, faults, keys
from journal.databases import (
    ACTIVITIES,
    BUSY,
    DATABASES,
    DEDUPE,
    ENDED,
    HELD,
    HISTORY,
    HOLDERS,
    IDS,
    META,
    NAMES,
    OUTBOX,
    PAYLOADS,
    READY,
    RUNS,
    SEARCH,
    SOURCES,
    TIMERS,
)
from journal.encoding import decode, encode, seal
from journal.errors import BadRecordError
from journal.files import Handles, Transaction
from journal.records import RunRow
from journal.unit import APPEND, DELETE, DELETE_RUN, DELETE_UNUSED, INSERT, KEEP, MARK, PUT, Unit

#: The highest run number that ever had a row or a history.
HIGHEST_RUN: Final = b"runs"

#: Runs whose last sequence number is kept in memory, about 150 bytes each.
CACHED_RUNS: Final = 50_000

_OPS: Final = {
    (APPEND, HISTORY): "append",
    (DELETE_RUN, RUNS): "delete_run",
    (MARK, SOURCES): "mark_sources",
    (DELETE_UNUSED, SOURCES): "del_source",
    (PUT, META): "put_clock",
    (KEEP, SOURCES): f"put_{DATABASES[SOURCES].noun}",
    (INSERT, PAYLOADS): f"put_{DATABASES[PAYLOADS].noun}",
    **{
        (PUT, db): f"put_{DATABASES[db].noun}"
        for db in (
            RUNS,
            IDS,
            TIMERS,
            ACTIVITIES,
            OUTBOX,
            READY,
            DEDUPE,
            ENDED,
            NAMES,
            HELD,
            HOLDERS,
            SEARCH,
            BUSY,
        )
    },
    **{
        (DELETE, db): f"del_{DATABASES[db].noun}"
        for db in (TIMERS, ACTIVITIES, OUTBOX, READY, DEDUPE, NAMES, SEARCH, BUSY)
    },
}
#: Before an op and after it; `skip` before it leaves it out.
OP_POINTS: Final = {
    op: (
        faults.declare(f"journal.op.{name}.before"),
        faults.declare(f"journal.op.{name}.after"),
    )
    for op, name in _OPS.items()
}


def last_seq(txn: Transaction, handles: Handles, run: int) -> int:
    """Number of the last record of `run`, 0 when it has none."""
    prefix = keys.one(run)
    with txn.cursor(handles[HISTORY]) as cursor:
        # The key of a page ends in its last record's number.
        found = cursor.set_range(keys.two(run, keys.NUMBER_MAX))
        if cursor.prev() if found else cursor.last():
            key = cursor.key()
            if key[:8] == prefix:
                return int.from_bytes(key[8:], "big")
    return 0


class Batches:
    """Applies batches of units to transactions; it belongs to the writer thread."""

    def __init__(self, highest_run: int) -> None:
        self._highest_run = highest_run
        # Last sequence numbers, the oldest runs first. While a batch is applied it runs ahead
        # of the disk; _ahead says that the batch was not committed, and so not to be believed.
        self._last: dict[int, int] = {}
        self._ahead = False
        # Keys of the sources that are there, as far as is known, and of those that were put since
        # the last `mark_sources`.
        self._kept: set[bytes] = set()
        self._used: set[bytes] = set()

    def apply(self, txn: Transaction, handles: Handles, units: Sequence[Unit]) -> None:
        """Put all ops of `units` into `txn`, in order."""
        if self._ahead:
            self._last.clear()
            self._kept.clear()
        self._ahead = True
        put, delete = txn.put, txn.delete
        faulty = faults.active()
        for unit in units:
            for verb, db, key, value in unit.ops:
                if faulty and faults.point(OP_POINTS[verb, db][0]):
                    continue
                if verb == PUT:
                    put(key, value, True, True, False, handles[db])
                elif verb == DELETE:
                    delete(key, b"", handles[db])
                elif verb == APPEND:
                    self._append(txn, handles, key, *value)
                elif verb == INSERT:
                    put(key, value, True, False, False, handles[db])
                elif verb == KEEP:
                    # Each run that starts keeps its source; most of them the same.
                    self._used.add(key)
                    if key not in self._kept:
                        put(key, encode(key, value), True, False, False, handles[db])
                        self._kept.add(key)
                elif verb == MARK:
                    self._used.clear()
                elif verb == DELETE_UNUSED:
                    if key not in self._used:
                        delete(key, b"", handles[db])
                        self._kept.discard(key)
                else:
                    self._last.pop(key, None)
                    _delete_run(txn, handles, key)
                if faulty:
                    faults.point(OP_POINTS[verb, db][1])
        highest = max(unit.highest_run for unit in units)
        if highest > self._highest_run:
            put(HIGHEST_RUN, encode(HIGHEST_RUN, highest), db=handles[META])

    def committed(self, units: Sequence[Unit]) -> None:
        """Say that the transaction of the last `apply` is on disk."""
        self._ahead = False
        self._highest_run = max(self._highest_run, *(unit.highest_run for unit in units))
        excess = len(self._last) - CACHED_RUNS
        for run in list(islice(self._last, max(excess, 0))):
            del self._last[run]

    def _append(
        self, txn: Transaction, handles: Handles, run: int, count: int, body: bytes, crc: int
    ) -> None:
        last = self._last.get(run)
        if last is None:
            last = last_seq(txn, handles, run) if run <= self._highest_run else 0
        self._last[run] = last = last + count
        key = keys.two(run, last)
        txn.put(key, seal(key, body, crc), True, False, False, handles[HISTORY])


def _delete_run(txn: Transaction, handles: Handles, run: int) -> None:
    key = keys.one(run)
    data = txn.get(key, db=handles[RUNS])
    if data is None:
        return
    try:
        row = RunRow(*decode(RUNS, key, data))
    except BadRecordError:
        ended = _keys_to(txn, handles[ENDED], key)
        found = _keys_to(txn, handles[SEARCH], key)
    else:
        ended = [keys.two(row.ended_ns, run)]
        search = (row.extra or {}).get("search", {})
        found = [attributes.key(name, value, run) for name, value in search.items()]
        _delete_id(txn, handles, row.workflow_id, run)
    for place in ended:
        txn.delete(place, b"", handles[ENDED])
    for place in found:
        txn.delete(place, b"", handles[SEARCH])
    for held in _keys_from(txn, handles[HELD], key):
        digest = held[8:]
        txn.delete(digest + key, b"", handles[HOLDERS])
        if not _keys_from(txn, handles[HOLDERS], digest, 1):
            _delete_from(txn, handles[PAYLOADS], digest)
    for db in (RUNS, HISTORY, ACTIVITIES, OUTBOX, READY, HELD, BUSY):
        _delete_from(txn, handles[db], key)


def _keys_from(
    txn: Transaction, handle: Any, prefix: bytes, limit: int | None = None
) -> list[bytes]:
    """The keys that begin with `prefix`."""
    with txn.cursor(handle) as cursor:
        rows = cursor.iternext(values=False) if cursor.set_range(prefix) else iter(())
        return list(islice(takewhile(lambda key: key.startswith(prefix), rows), limit))


def _keys_to(txn: Transaction, handle: Any, suffix: bytes) -> list[bytes]:
    """The keys that end with `suffix`; every key is looked at."""
    with txn.cursor(handle) as cursor:
        return [key for key in cursor.iternext(values=False) if key.endswith(suffix)]


def _delete_from(txn: Transaction, handle: Any, prefix: bytes) -> None:
    """Delete the rows whose keys begin with `prefix`."""
    with txn.cursor(handle) as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            found = cursor.delete()


def _delete_id(txn: Transaction, handles: Handles, workflow_id: str, run: int) -> None:
    """Forget a workflow id, unless a later run has it or its row is hurt."""
    key = keys.text(workflow_id)
    data = txn.get(key, db=handles[IDS])
    with suppress(BadRecordError):
        if data is not None and decode(IDS, key, data)[0] == run:
            txn.delete(key, b"", handles[IDS])
