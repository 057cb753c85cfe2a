"""Checking a journal without changing it: `perdure journal verify`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from journal import attributes, keys, payloads
from journal.batch import HIGHEST_RUN
from journal.databases import (
    ACTIVITIES,
    BUSY,
    DATABASES,
    ENDED,
    HELD,
    HISTORY,
    HOLDERS,
    IDS,
    META,
    OUTBOX,
    PAYLOADS,
    READY,
    RUNS,
    SEARCH,
    SOURCES,
    TIMERS,
)
from journal.encoding import decode
from journal.environment import Environment
from journal.errors import BadRecordError
from journal.files import IDENTITY, MARKS_SINCE, Handles, Transaction
from journal.journal import MAP_SIZE, Journal
from journal.records import RunRow

#: Whose rows keep a run busy, so that it must be open. An ended run may have messages to deliver.
_OPEN_ONLY = frozenset({TIMERS, ACTIVITIES, READY, BUSY})


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes:
        db: name of the database.
        key: the row.
        run: the run it belongs to, 0 when the key does not tell.
        problem: for a person.
    """

    db: str
    key: bytes
    run: int
    problem: str


def verify(journal: Journal | str | os.PathLike[str]) -> list[Finding]:
    """All that is wrong with a journal; an empty list for a sound one.

    Checks every checksum, that histories have no gaps, and that every row of an index refers to a
    run that it can refer to. Reads one snapshot. Given a path it may be used while a node owns the
    journal, and should be used in a process of its own: damage to LMDB's pages can crash it. Given
    an open journal it keeps the map from growing until it is through.

    Raises what opening a journal raises.
    """
    if isinstance(journal, Journal):
        return _verify(journal.env)
    env = Environment(os.path.abspath(journal), MAP_SIZE, readonly=True)
    try:
        return _verify(env)
    finally:
        env.close()


def _verify(env: Environment) -> list[Finding]:
    with env.read() as (txn, handles):
        return list(_Check(txn, handles).findings())


class _Check:
    """One pass over all databases of a snapshot."""

    def __init__(self, txn: Transaction, handles: Handles) -> None:
        self._txn = txn
        self._handles = handles
        self._bad: list[Finding] = []
        self._runs: dict[int, RunRow | None] = {}
        self._held: set[bytes] = set()
        self._sources: set[bytes] = set()
        self._busy: set[bytes] = set()
        self._lengths: dict[bytes, int] = {}

    def findings(self) -> Iterator[Finding]:
        """Everything found, checksums last."""
        for key, data in self._txn.cursor(self._handles[RUNS]):
            row = self._decode(RUNS, key, data)
            self._runs[DATABASES[RUNS].run(key)] = None if row is None else RunRow(*row)
        self._held = set(self._keys(HELD))
        self._sources = set(self._keys(SOURCES))
        # In an older format each row of an activity is a mark.
        identity = self._txn.get(IDENTITY, db=self._handles[META]) or b""
        marks = BUSY if decode(META, IDENTITY, identity)[0] >= MARKS_SINCE else ACTIVITIES
        self._busy = {key[:8] for key in self._keys(marks)}
        for db, database in enumerate(DATABASES):
            last = (0, 0)
            if not self._handles[db]:
                continue  # of an older format
            for key, data in self._txn.cursor(self._handles[db]):
                if database.width and len(key) != database.width:
                    yield _finding(db, key, f"its key has {len(key)} bytes, not {database.width}")
                    continue
                value = self._decode(db, key, data) if db not in (RUNS, PAYLOADS) else None
                if db == HISTORY:
                    last, problem = self._page(key, value, last)
                else:
                    problem = self._row(db, key, value)
                if problem:
                    yield _finding(db, key, problem)
        yield from self._payloads()
        yield from self._bad

    def _page(
        self, key: bytes, records: list[Any] | None, before: tuple[int, int]
    ) -> tuple[tuple[int, int], str]:
        """(run, last seq) of a page, and what is wrong with it."""
        run, last = keys.numbers(key)
        if run not in self._runs:
            return (run, last), "there is no such run"
        expected = before[1] + 1 if before[0] == run else 1
        if records is not None and last - len(records) + 1 != expected:
            return (run, last), f"begins with {last - len(records) + 1}, not {expected}"
        problem = self._source(records or [])
        if problem:
            return (run, last), problem
        for digest, length in payloads.references(records):
            self._lengths[digest] = length
            if key[:8] + digest not in self._held:
                return (run, last), f"its run does not hold its payload {digest.hex()}"
        return (run, last), ""

    def _source(self, records: list[Any]) -> str:
        for record in records:
            told = record[1] if record[0] == "started" and len(record) > 1 else None
            digest = told.get("source") if isinstance(told, dict) else None
            if digest is not None and digest not in self._sources:
                return f"its source {digest.hex()} is not there"
        return ""

    def _payloads(self) -> Iterator[Finding]:
        """What is wrong with large payloads: each is held, whole, and what its digest says."""
        holders = set(self._keys(HOLDERS))
        for key in self._held:
            if key[8:] + key[:8] not in holders:
                yield _finding(HELD, key, "its payload does not know its run")
        held = {key[8:] for key in self._held}
        there = set()
        for digest, rows in groupby(self._rows(PAYLOADS), lambda row: row[0][:32]):
            there.add(digest)
            first, length, content = b"", 0, sha256()
            for key, data in rows:
                first = first or key
                chunk = self._decode(PAYLOADS, key, data)
                content.update(chunk or b"")
                length += len(chunk or b"")
            if digest not in held:
                yield _finding(PAYLOADS, first, "no run holds it")
            elif content.digest() != digest:
                told = f"{length} bytes of {self._lengths.get(digest, length)}"
                yield _finding(PAYLOADS, first, f"{told} are not what was stored")
        for digest in sorted(held - there):
            yield _finding(PAYLOADS, digest, "is not there")

    def _keys(self, db: int) -> Iterator[bytes]:
        return (key for key, _ in self._rows(db))

    def _attribute(self, key: bytes) -> str:
        run = attributes.run_of(key)
        if run not in self._runs:
            return "there is no such run"
        row = self._runs[run]
        search = (row.extra or {}).get("search", {}) if row else {}
        if row and key not in (attributes.key(name, each, run) for name, each in search.items()):
            return f"run {run} has no such attribute"
        return ""

    def _rows(self, db: int) -> Iterator[tuple[bytes, bytes]]:
        handle = self._handles[db]
        return iter(self._txn.cursor(handle)) if handle else iter(())

    def _row(self, db: int, key: bytes, value: Any) -> str:
        """What is wrong with a row of an index, or an empty text."""
        run = DATABASES[db].run(key)
        if db in _OPEN_ONLY or db in (OUTBOX, ENDED, HELD, HOLDERS):
            if run not in self._runs:
                return "there is no such run"
            row = self._runs[run]
            if row and db in _OPEN_ONLY and not row.is_open:
                return f"its run is {row.status}"
            if row and db == ENDED and (row.is_open or row.ended_ns != keys.numbers(key)[0]):
                return f"its run is {row.status}, ended at {row.ended_ns}"
            if db == ACTIVITIES and key[:8] not in self._busy:
                return "its run is not marked as busy: it would not be run again"
        elif db == SEARCH:
            return self._attribute(key)
        elif db == IDS and value and value[0] not in self._runs:
            return f"there is no run {value[0]}"
        elif db == META and key == HIGHEST_RUN and value < max(self._runs, default=0):
            return f"says {value}, and there is run {max(self._runs)}"
        return ""

    def _decode(self, db: int, key: bytes, data: bytes) -> Any:
        try:
            return decode(db, key, data)
        except BadRecordError as error:
            self._bad.append(Finding(error.db, key, error.run, error.problem))
            return None


def _finding(db: int, key: bytes, problem: str) -> Finding:
    database = DATABASES[db]
    return Finding(database.name, key, database.run(key), problem)
