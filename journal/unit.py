"""A unit: changes that are on disk together or not at all.

Values are packed while the unit is built, on the caller's thread; so what cannot be written is
refused there (UnitError), and costs neither the writer nor its other units anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from journal import attributes, keys, payloads
from journal.databases import (
    ACTIVITIES,
    BUSY,
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
from journal.encoding import encode, mark, pack
from journal.errors import UnitError
from journal.records import ENDED_STATUSES, OPEN_STATUSES, RunRow

PUT: Final = 0
DELETE: Final = 1
INSERT: Final = 2
APPEND: Final = 3
DELETE_RUN: Final = 4
MARK: Final = 5
DELETE_UNUSED: Final = 6
KEEP: Final = 7

#: Where the time is noted.
CLOCK: Final = b"clock"

_NIL = b""

#: (verb, database, key, value). APPEND has the run as key and (count, body, crc) as value,
#: DELETE_RUN the run as key alone, KEEP a blob that is not encoded.
Op = tuple[int, int, Any, Any]


class Unit:
    """A list of changes, in order.

    Every method raises UnitError, and changes nothing, when a key is out of range or a value is
    not MessagePack-able. A unit that was submitted is not to be changed or submitted again.
    """

    __slots__ = ("highest_run", "ops")

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.highest_run = 0

    def join(self, other: Unit) -> None:
        """Add the changes of another unit behind those of this one."""
        self.ops += other.ops
        if other.highest_run > self.highest_run:
            self.highest_run = other.highest_run

    def append(self, run: int, records: Sequence[Sequence[Any]]) -> None:
        """Add records to the history of `run`; they are numbered on from its last one.

        They share one page, which is read and checked as a whole. Large payloads in them are stored
        beside it, see payloads.py.
        """
        if not records:
            raise UnitError(f"run {run}: append needs at least one record")
        body = pack(records)
        if not 0 <= run <= keys.NUMBER_MAX:
            keys.one(run)
        if len(body) > payloads.INLINE_MAX:
            prefix = keys.one(run)
            large: dict[bytes, bytes] = {}
            slim = payloads.take_out(records, large)
            if large:
                body = pack(slim)
                for digest, payload in large.items():
                    self._hold(prefix, digest, payload)
        self.ops.append((APPEND, HISTORY, run, (len(records), body, crc32(body))))
        if run > self.highest_run:
            self.highest_run = run

    def _hold(self, run: bytes, digest: bytes, payload: bytes) -> None:
        for key, chunk in payloads.chunks(digest, payload):
            self.ops.append((INSERT, PAYLOADS, key, encode(key, chunk)))
        for db, key in ((HELD, run + digest), (HOLDERS, digest + run)):
            self.ops.append((PUT, db, key, mark(key)))

    def put_run(self, run: int, row: RunRow) -> None:
        """Say how a run stands."""
        if row.status not in OPEN_STATUSES and row.status not in ENDED_STATUSES:
            raise UnitError(
                f'run {run}: status "{row.status}" is none of '
                + ", ".join(sorted(OPEN_STATUSES | ENDED_STATUSES))
            )
        key = keys.one(run)
        self.ops.append((PUT, RUNS, key, encode(key, row)))
        if run > self.highest_run:
            self.highest_run = run

    def delete_run(self, run: int) -> None:
        """Forget an ended run: history, row, indexes; its workflow id if it still names this run.

        Its timers are not looked for: the unit that ended the run deleted them.
        """
        keys.one(run)
        self.ops.append((DELETE_RUN, RUNS, run, _NIL))

    def put_id(self, workflow_id: str, run: int) -> None:
        """Make `run` the current one of a workflow id."""
        key = keys.text(workflow_id)
        full = workflow_id if keys.is_hashed(key) else None
        self.ops.append((PUT, IDS, key, encode(key, (run, full))))

    def put_timer(self, run: int, seq: int, due_ns: int) -> None:
        """Add a timer, due at a wall clock time."""
        key = keys.three(due_ns, run, seq)
        self.ops.append((PUT, TIMERS, key, mark(key)))

    def del_timer(self, run: int, seq: int, due_ns: int) -> None:
        """Remove a timer; nothing happens when there is none."""
        self.ops.append((DELETE, TIMERS, keys.three(due_ns, run, seq), _NIL))

    def put_busy(self, run: int) -> None:
        """Mark a run that has pending activities."""
        key = keys.one(run)
        self.ops.append((PUT, BUSY, key, mark(key)))

    def del_busy(self, run: int) -> None:
        """Remove the mark; nothing happens when there is none."""
        self.ops.append((DELETE, BUSY, keys.one(run), _NIL))

    def put_activity(self, run: int, seq: int, row: Any) -> None:
        """Add or replace what the history does not tell of a pending activity."""
        key = keys.two(run, seq)
        self.ops.append((PUT, ACTIVITIES, key, encode(key, row)))

    def del_activity(self, run: int, seq: int) -> None:
        """Remove that; nothing happens when there is none."""
        self.ops.append((DELETE, ACTIVITIES, keys.two(run, seq), _NIL))

    def put_outbox(self, run: int, seq: int, row: Any) -> None:
        """Add or replace a message to be delivered."""
        key = keys.two(run, seq)
        self.ops.append((PUT, OUTBOX, key, encode(key, row)))

    def del_outbox(self, run: int, seq: int) -> None:
        """Remove a delivered message; nothing happens when there is none."""
        self.ops.append((DELETE, OUTBOX, keys.two(run, seq), _NIL))

    def put_ready(self, run: int) -> None:
        """Mark a run that has inputs no step has consumed."""
        key = keys.one(run)
        self.ops.append((PUT, READY, key, mark(key)))

    def del_ready(self, run: int) -> None:
        """Remove the mark; nothing happens when there is none."""
        self.ops.append((DELETE, READY, keys.one(run), _NIL))

    def put_search(self, run: int, name: str, value: attributes.Value) -> None:
        """Find `run` by an attribute; its row says so too, see `RunRow.extra`."""
        key = attributes.key(name, value, run)
        self.ops.append((PUT, SEARCH, key, mark(key)))

    def del_search(self, run: int, name: str, value: attributes.Value) -> None:
        """Find it so no longer; nothing happens when it was not."""
        self.ops.append((DELETE, SEARCH, attributes.key(name, value, run), _NIL))

    def put_dedupe(self, key: bytes, value: Any) -> None:
        """Remember what was answered to an idempotency key."""
        place = keys.text(key)
        full = key if keys.is_hashed(place) else None
        self.ops.append((PUT, DEDUPE, place, encode(place, (value, full))))

    def del_dedupe(self, key: bytes) -> None:
        """Forget an idempotency key; nothing happens when it is not there."""
        self.ops.append((DELETE, DEDUPE, keys.text(key), _NIL))

    def put_source(self, digest: bytes, blob: bytes) -> None:
        """Keep a source under its content hash; ignored when it is already there.

        A unit by which a run comes to be pinned to a source has to have it in any case: that keeps
        it from being deleted meanwhile. The writer encodes it, when it has not seen it yet.
        """
        self.ops.append((KEEP, SOURCES, keys.text(digest), blob))

    def mark_sources(self) -> None:
        """From here on it is noted which sources are put: see `del_source`."""
        self.ops.append((MARK, SOURCES, _NIL, _NIL))

    def del_source(self, digest: bytes) -> None:
        """Forget a source, unless it was put since `mark_sources`."""
        self.ops.append((DELETE_UNUSED, SOURCES, keys.text(digest), _NIL))

    def put_clock(self, wall_ns: int, left_ns: int) -> None:
        """Note what the wall clock says; see `Store.clock`."""
        self.ops.append((PUT, META, CLOCK, encode(CLOCK, (wall_ns, left_ns))))

    def put_ended(self, run: int, ended_ns: int) -> None:
        """Enter a run into the retention index."""
        key = keys.two(ended_ns, run)
        self.ops.append((PUT, ENDED, key, mark(key)))

    def put_name(self, name: str, value: Any) -> None:
        """Bind a name."""
        key = keys.text(name)
        full = name if keys.is_hashed(key) else None
        self.ops.append((PUT, NAMES, key, encode(key, (value, full))))

    def del_name(self, name: str) -> None:
        """Unbind a name; nothing happens when it is not bound."""
        self.ops.append((DELETE, NAMES, keys.text(name), _NIL))
