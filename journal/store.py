"""Reading a journal, from any thread.

Every read is a short transaction of its own and copies out; one that yields many rows takes them in
chunks, so that a slow consumer holds no pages. Rows that are written meanwhile may or may not show.

Where a method takes `on_bad`, it is called with each value that fails its checksum, and the rows
after it still come; without it the BadRecordError is raised. Besides that, every method raises
JournalClosedError, JournalForkedError, JournalCorruptError or JournalIOError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, takewhile
from typing import Any, Final, NamedTuple

from journal import attributes, keys, payloads
from journal.batch import HIGHEST_RUN, last_seq
from journal.databases import (
    ACTIVITIES,
    BUSY,
    DATABASES,
    DEDUPE,
    ENDED,
    HISTORY,
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
from journal.encoding import decode, decode_in, has_text
from journal.environment import Environment
from journal.errors import BadRecordError
from journal.records import RunRow
from journal.unit import CLOCK

#: Rows copied out in one transaction.
CHUNK: Final = 256

OnBad = Callable[[BadRecordError], None] | None


def _pass_over(error: BadRecordError) -> None:
    """It is told by whoever needs the row."""


class Timer(NamedTuple):
    """A timer in the order in which timers fall due."""

    due_ns: int
    run: int
    seq: int


class Pending(NamedTuple):
    """A row of an activity or of the outbox."""

    run: int
    seq: int
    row: Any


class Store:
    """The reads of an open environment, `env`."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self._extension = payloads.put_back(self.payload)

    @property
    def path(self) -> str:
        """The folder."""
        return self.env.path

    @property
    def journal_id(self) -> str:
        """UUID given when the journal was created; a copy of it has the same."""
        return self.env.journal_id

    @property
    def created_ns(self) -> int:
        """When it was created, nanoseconds since the epoch."""
        return self.env.created_ns

    def run(self, run: int) -> RunRow | None:
        """How a run stands, None when there is no such run."""
        row = self._get(RUNS, keys.one(run))
        return None if row is None else RunRow(*row)

    def runs(
        self,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        texts: Iterable[str] | None = None,
        on_bad: OnBad = None,
    ) -> Iterator[tuple[int, RunRow]]:
        """All runs by number, which is the order they were started in.

        Args:
            texts: all runs in whose row one of these stands, under whatever name, and perhaps
                others: the rest is passed over unread, in a tenth of the time.
        """
        has = None if texts is None else has_text(texts)
        for key, row in self._rows(RUNS, reverse=newest_first, limit=limit, has=has, on_bad=on_bad):
            yield keys.numbers(key)[0], RunRow(*row)

    def highest_run(self) -> int:
        """The highest run number that ever had a row, deleted runs included; 0 for none."""
        return self._get(META, HIGHEST_RUN) or 0

    def run_of(self, workflow_id: str) -> int | None:
        """Number of the current run of a workflow id."""
        key = keys.text(workflow_id)
        row = self._get(IDS, key)
        return row[0] if row and row[1] in (None, workflow_id) else None

    def pages(self, run: int, after: int = 0) -> Iterator[list[tuple[int, list[Any]]]]:
        """The history of a run as (seq, record), page by page, beginning after seq `after`; as
        `records`."""
        for first, page in self._pages(run, after):
            yield list(enumerate(page, first))

    def records(self, run: int) -> Iterator[list[Any]]:
        """The history of a run, record by record, read as it is consumed.

        Raises BadRecordError at a page that is hurt, and at one before which records are missing.
        """
        return chain.from_iterable(page for _, page in self._pages(run, 0))

    def _pages(self, run: int, after: int) -> Iterator[tuple[int, list[list[Any]]]]:
        """Pages of records, each with the number of its first one."""
        expected = after + 1
        start, stop = keys.two(run, expected), keys.two(run, keys.NUMBER_MAX)
        for key, records in self._rows(HISTORY, start, stop):
            last = keys.second(key)
            first = last - len(records) + 1
            if first == expected:
                yield first, records
            elif first < expected == after + 1:
                yield expected, records[expected - first :]
            else:
                raise BadRecordError(
                    DATABASES[HISTORY].name, key, run, f"begins with {first}, not {expected}"
                )
            expected = last + 1

    def history(self, run: int, after: int = 0) -> list[tuple[int, list[Any]]]:
        """The history of a run as (seq, record), beginning after seq `after`; as `pages`."""
        return [item for page in self.pages(run, after) for item in page]

    def last_seq(self, run: int) -> int:
        """Number of the last record of a run, 0 when it has none."""
        with self.env.read() as (txn, handles):
            return last_seq(txn, handles, run)

    def timers_due(
        self,
        limit: int | None = None,
        after: Timer | None = None,
        before_ns: int = keys.NUMBER_MAX,
        on_bad: OnBad = None,
    ) -> list[Timer]:
        """The first `limit` timers in due order, those behind `after`, those due before a time."""
        start = keys.three(*after) + b"\0" if after else b""
        rows = self._rows(TIMERS, start, keys.one(before_ns), limit=limit, on_bad=on_bad)
        return [Timer(*keys.numbers(key)) for key, _ in rows]

    def timers_of(self, run: int) -> list[Timer]:
        """The timers of a run; looks at every timer there is."""
        timers = (Timer(*keys.numbers(key)) for key, _ in self._rows(TIMERS, on_bad=_pass_over))
        return [timer for timer in timers if timer.run == run]

    def busy_runs(self, on_bad: OnBad = None) -> list[int]:
        """Runs that have pending activities, sorted."""
        return [keys.numbers(key)[0] for key, _ in self._rows(BUSY, on_bad=on_bad)]

    def activities(self, on_bad: OnBad = None) -> Iterator[Pending]:
        """What the histories do not tell of pending activities, by run and seq."""
        return self._pending(ACTIVITIES, on_bad)

    def activities_of(self, run: int) -> list[Pending]:
        """The same of one run, by seq."""
        return self._pending_of(ACTIVITIES, run)

    def outbox(self, on_bad: OnBad = None) -> Iterator[Pending]:
        """All messages to be delivered, by run and seq."""
        return self._pending(OUTBOX, on_bad)

    def outbox_of(self, run: int) -> list[Pending]:
        """The messages of a run to be delivered, by seq."""
        return self._pending_of(OUTBOX, run)

    def ready(self, on_bad: OnBad = None) -> Iterator[int]:
        """Runs marked as having inputs that no step has consumed."""
        for key, _ in self._rows(READY, on_bad=on_bad):
            yield keys.numbers(key)[0]

    def found(
        self, name: str, value: attributes.Value, operator: str, on_bad: OnBad = None
    ) -> Iterator[int]:
        """Runs whose attribute may compare so to a value; one may come that does not.

        Args:
            operator: = < <= > or >=.
        """
        place, kind = attributes.place(name, value), attributes.kind(name, value)
        start = place if operator in ("=", ">", ">=") else kind
        stop = attributes.end(kind if operator in (">", ">=") else place)
        for key, _ in self._rows(SEARCH, start, stop, on_bad=on_bad):
            yield attributes.run_of(key)

    def attribute_names(self) -> list[str]:
        """The names of all attributes that runs have, sorted; one look for each."""
        found: list[str] = []
        start = b""
        while key := next((key for key, _ in self._rows(SEARCH, start, limit=1)), None):
            name = attributes.name_of(key)
            found.append(name)
            start = attributes.behind(name)
        return found

    def dedupe(self, key: bytes) -> Any:
        """What was answered to an idempotency key, None when it is not known."""
        return self._get_text(DEDUPE, key)

    def source(self, digest: bytes) -> bytes | None:
        """The source with a content hash."""
        blob: bytes | None = self._get(SOURCES, keys.text(digest))
        return blob

    def sources(self) -> list[bytes]:
        """The content hashes of all sources."""
        return [key for key, _ in self._rows(SOURCES, on_bad=_pass_over)]

    def clock(self) -> tuple[int, int] | None:
        """What the wall clock said when it was last noted, and for how long it was not to be
        trusted then, ns; None before that."""
        noted = self._get(META, CLOCK)
        return None if noted is None else (noted[0], noted[1])

    def payload(self, digest: bytes, length: int) -> bytes:
        """A large payload by its digest; raises BadRecordError where a chunk is hurt or gone."""
        parts = payloads.chunk_keys(digest, length)
        with self.env.read() as (txn, handles):
            chunks = [txn.get(key, db=handles[PAYLOADS]) for key in parts]
        payload = bytearray()
        for key, chunk in zip(parts, chunks, strict=True):
            if chunk is None:
                raise BadRecordError(DATABASES[PAYLOADS].name, key, 0, "is not there")
            payload += decode(PAYLOADS, key, chunk)
        return bytes(payload)

    def ended(
        self,
        before_ns: int,
        limit: int | None = None,
        after: tuple[int, int] = (0, 0),
        on_bad: OnBad = None,
    ) -> list[tuple[int, int]]:
        """(ended_ns, run) of runs that ended before a time, the oldest first, behind `after`."""
        start, stop = keys.two(*after) + b"\0", keys.one(before_ns)
        rows = self._rows(ENDED, start, stop, limit=limit, on_bad=on_bad)
        return [(ended, run) for ended, run in (keys.numbers(key) for key, _ in rows)]

    def name(self, name: str) -> Any:
        """What a name is bound to, None when it is not."""
        return self._get_text(NAMES, name)

    def _pending(self, db: int, on_bad: OnBad) -> Iterator[Pending]:
        for key, row in self._rows(db, on_bad=on_bad):
            run, seq = keys.numbers(key)
            yield Pending(run, seq, row)

    def _pending_of(self, db: int, run: int) -> list[Pending]:
        rows = self._rows(db, keys.one(run), keys.two(run, keys.NUMBER_MAX))
        return [Pending(run, keys.numbers(key)[1], row) for key, row in rows]

    def _get(self, db: int, key: bytes) -> Any:
        with self.env.read() as (txn, handles):
            data = txn.get(key, db=handles[db]) if handles[db] else None
        return None if data is None else decode(db, key, data)

    def _get_text(self, db: int, text: str | bytes) -> Any:
        row = self._get(db, keys.text(text))
        return row[0] if row and row[1] in (None, text) else None

    def _rows(
        self,
        db: int,
        start: bytes = b"",
        stop: bytes = keys.END,
        *,
        reverse: bool = False,
        limit: int | None = None,
        has: Callable[[bytes], bool] | None = None,
        on_bad: OnBad = None,
    ) -> Iterator[tuple[bytes, Any]]:
        """Keys and decoded values with start <= key < stop, `limit` of them at most; with `has`
        only values of which it is true before they are decoded."""
        chunk = CHUNK if limit is None or has is not None else min(limit, CHUNK)
        rows = self._down(db, stop, chunk) if reverse else self._up(db, start, stop, chunk)
        if has is not None:
            rows = (row for row in rows if has(row[1]))
        database, extension = DATABASES[db], self._extension
        for key, data in islice(rows, limit):
            try:
                row = decode_in(database, key, data, extension)
            except BadRecordError as error:
                if on_bad is None:
                    raise
                on_bad(error)
            else:
                yield key, row

    def _up(self, db: int, start: bytes, stop: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
        while True:
            with self.env.read() as (txn, handles):
                if not handles[db]:
                    return
                with txn.cursor(handles[db]) as cursor:
                    # A cursor that found nothing would begin with the first row of all.
                    rows = cursor.iternext() if cursor.set_range(start) else iter(())
                    chunk = list(islice(takewhile(lambda row: row[0] < stop, rows), size))
            yield from chunk
            if len(chunk) < size:
                return
            start = chunk[-1][0] + b"\0"

    def _down(self, db: int, stop: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
        while True:
            with self.env.read() as (txn, handles), txn.cursor(handles[db]) as cursor:
                found = cursor.prev() if cursor.set_range(stop) else cursor.last()
                chunk = list(islice(cursor.iterprev(), size)) if found else []
            yield from chunk
            if len(chunk) < size:
                return
            stop = chunk[-1][0]
