"""What a unit puts is what the reads give back, also after the journal was closed and opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.errors import JournalClosedError, UnitError
from journal.journal import Journal
from journal.records import ENDED_STATUSES, OPEN_STATUSES, RunRow
from journal.store import CHUNK, Pending, Timer
from journal.unit import Unit
from tests.journal_lab import appending, committed, running


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal") as journal:
        yield journal


def test_records_are_numbered_from_one_without_gaps_also_across_a_restart(tmp_path: Path) -> None:
    for start in (0, 10, 20):
        with Journal.open(tmp_path) as journal:
            assert journal.last_seq(1) == start
            committed(
                journal,
                appending(1, ["a"], ["b", {"x": b"\0"}]),
                appending(2, ["other"]),
                *(appending(1, ["c", n]) for n in range(8)),
            )
            assert [seq for seq, _ in journal.history(1)] == list(range(1, start + 11))
    with Journal.open(tmp_path) as journal:
        assert journal.history(1)[20:23] == [(21, ["a"]), (22, ["b", {"x": b"\0"}]), (23, ["c", 0])]
        assert [seq for seq, _ in journal.history(2)] == [1, 2, 3]
        assert journal.last_seq(2) == 3
        assert journal.history(3) == []
        assert journal.last_seq(3) == 0


def test_a_history_is_read_from_any_record_on(journal: Journal) -> None:
    sizes = [1, 3, 2, 5, 1]
    committed(journal, *(appending(4, *([["r"]] * size)) for size in sizes))
    for after in range(14):
        assert [seq for seq, _ in journal.history(4, after)] == list(range(after + 1, 13))
    assert [len(page) for page in journal.pages(4)] == sizes


def test_the_last_numbers_kept_in_memory_are_bounded_and_rightly_read_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.batch.CACHED_RUNS", 2)
    for _ in range(3):
        for run in (1, 2, 3, 4, 5):
            committed(journal, appending(run, ["r"], ["s"]))
    assert [journal.last_seq(run) for run in (1, 2, 3, 4, 5)] == [6] * 5


def test_a_run_its_id_and_the_order_of_runs(journal: Journal) -> None:
    row = RunRow("order-1", "uuid", "app:order", "app:host", "open", 5, 0, 3, 9, {"k": [1, b"x"]})
    unit = Unit()
    unit.put_run(7, row)
    unit.put_id("order-1", 7)
    committed(journal, unit, *(running(run) for run in range(10, 10 + 2 * CHUNK)))
    assert journal.run(7) == row
    assert journal.run(8) is None
    assert journal.run_of("order-1") == 7
    assert journal.run_of("order-2") is None
    numbers = [7, *range(10, 10 + 2 * CHUNK)]
    assert [run for run, _ in journal.runs()] == numbers
    assert [run for run, _ in journal.runs(newest_first=True)] == numbers[::-1]
    assert [run for run, _ in journal.runs(limit=3)] == numbers[:3]
    assert [run for run, _ in journal.runs(newest_first=True, limit=3)] == numbers[:-4:-1]
    assert next(journal.runs()) == (7, row)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["open"], [3 * CHUNK, *range(1, CHUNK + 1)]),
        (["failed"], range(CHUNK + 1, 3 * CHUNK)),
        (["u7", f"id-{CHUNK + 5}"], [7, CHUNK + 5]),
        (["a" * 40], [3 * CHUNK]),
        (["ope"], []),  # a part is none
        (["\udc80"], []),
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_rows_in_which_a_text_stands(
    journal: Journal, texts: list[str], found: list[int], newest_first: bool
) -> None:
    last = RunRow("a" * 40, "u", "w", "h", "completed", 1, 2, extra={"search": {"door": "open"}})
    unit = Unit()
    unit.put_run(3 * CHUNK, last)
    statuses = ["open"] * CHUNK + ["failed"] * (2 * CHUNK - 1)
    rows = [running(run, status=status) for run, status in enumerate(statuses, 1)]
    committed(journal, *rows, unit)
    got = [run for run, _ in journal.runs(newest_first=newest_first, texts=texts)]
    assert got == sorted(found, reverse=newest_first)
    limited = journal.runs(newest_first=newest_first, texts=texts, limit=2)
    assert [run for run, _ in limited] == got[:2]


@pytest.mark.parametrize("status", sorted(OPEN_STATUSES | ENDED_STATUSES))
def test_a_row_says_whether_its_run_is_open(journal: Journal, status: str) -> None:
    committed(journal, running(1, status=status))
    row = journal.run(1)
    assert row is not None
    assert row.is_open == (status in ("open", "suspended"))


def test_long_texts_are_told_apart_and_given_back(journal: Journal) -> None:
    long = "é" * 400
    texts = [long + end for end in ("", "a", "b")]
    unit = Unit()
    for n, text in enumerate(texts):
        unit.put_id(text, n)
        unit.put_dedupe(text.encode(), ["answer", n])
        unit.put_name(text, f"pid {n}")
    committed(journal, unit)
    assert [journal.run_of(text) for text in texts] == [0, 1, 2]
    assert [journal.dedupe(text.encode()) for text in texts] == [["answer", n] for n in range(3)]
    assert [journal.name(text) for text in texts] == ["pid 0", "pid 1", "pid 2"]
    assert journal.run_of(long + "c") is None
    gone = Unit()
    gone.del_dedupe(texts[1].encode())
    gone.del_name(texts[1])
    committed(journal, gone)
    assert [journal.dedupe(text.encode()) is None for text in texts] == [False, True, False]
    assert [journal.name(text) is None for text in texts] == [False, True, False]


def test_timers_come_in_due_order_and_page_by_page(journal: Journal) -> None:
    timers = [Timer(due, run, 1) for due in (5, 300, 2**40) for run in range(1, CHUNK)]
    unit = Unit()
    for due, run, seq in reversed(timers):
        unit.put_timer(run, seq, due)
    committed(journal, unit)
    assert journal.timers_due() == timers
    assert journal.timers_due(3) == timers[:3]
    assert journal.timers_due(2, after=timers[CHUNK]) == timers[CHUNK + 1 : CHUNK + 3]
    assert journal.timers_due(before_ns=300) == timers[: CHUNK - 1]
    gone = Unit()
    gone.del_timer(1, 1, 5)
    gone.del_timer(1, 99, 5)
    committed(journal, gone)
    assert journal.timers_due(1) == [timers[1]]


def test_rows_that_keep_a_run_busy(journal: Journal) -> None:
    unit = Unit()
    for run in (2, 1):
        for seq in (20, 3):
            unit.put_activity(run, seq, ["call", run, seq])
            unit.put_outbox(run, seq, {"to": run})
        unit.put_ready(run)
    committed(journal, unit)
    places = [(1, 3), (1, 20), (2, 3), (2, 20)]
    assert list(journal.activities()) == [Pending(*p, ["call", *p]) for p in places]
    assert list(journal.outbox()) == [Pending(*p, {"to": p[0]}) for p in places]
    assert journal.activities_of(2) == [
        Pending(2, 3, ["call", 2, 3]),
        Pending(2, 20, ["call", 2, 20]),
    ]
    assert [row.seq for row in journal.outbox_of(1)] == [3, 20]
    assert journal.outbox_of(3) == []
    assert list(journal.ready()) == [1, 2]
    gone = Unit()
    gone.del_activity(1, 3)
    gone.del_outbox(2, 20)
    gone.del_ready(1)
    committed(journal, gone)
    assert [(run, seq) for run, seq, _ in journal.activities()] == places[1:]
    assert [(run, seq) for run, seq, _ in journal.outbox()] == places[:3]
    assert list(journal.ready()) == [2]


def test_a_source_is_kept_as_it_was_first_put(journal: Journal) -> None:
    unit = Unit()
    unit.put_source(b"digest", b"\xff source")
    unit.put_source(b"digest", b"another")
    committed(journal, unit)
    assert journal.source(b"digest") == b"\xff source"
    assert journal.source(b"other") is None


def test_a_source_that_was_deleted_is_kept_again(journal: Journal) -> None:
    put, mark, gone, again = Unit(), Unit(), Unit(), Unit()
    put.put_source(b"digest", b"first")
    mark.mark_sources()
    gone.del_source(b"digest")
    again.put_source(b"digest", b"second")
    committed(journal, put, mark, gone)
    assert journal.source(b"digest") is None
    committed(journal, again)
    assert journal.source(b"digest") == b"second"


def test_a_deleted_run_is_gone_and_its_neighbours_and_successor_are_not(journal: Journal) -> None:
    for run in (1, 2, 3):
        unit = running(run, "same id", "completed", 100 + run)
        unit.append(run, [["a"]] * CHUNK)
        unit.append(run, [["b"]])
        unit.put_ended(run, 100 + run)
        unit.put_outbox(run, 1, "row")
        committed(journal, unit)
    gone = Unit()
    gone.delete_run(2)
    gone.delete_run(99)
    committed(journal, gone)
    assert [run for run, _ in journal.runs()] == [1, 3]
    assert [journal.last_seq(run) for run in (1, 2, 3)] == [CHUNK + 1, 0, CHUNK + 1]
    assert journal.ended(200) == [(101, 1), (103, 3)]
    assert [run for run, _, _ in journal.outbox()] == [1, 3]
    assert journal.run_of("same id") == 3
    gone = Unit()
    gone.delete_run(3)
    committed(journal, gone)
    assert journal.run_of("same id") is None


def test_ended_runs_come_oldest_first(journal: Journal) -> None:
    unit = Unit()
    for run, ended in ((1, 30), (2, 10), (3, 20)):
        unit.put_ended(run, ended)
    committed(journal, unit)
    assert journal.ended(30) == [(10, 2), (20, 3)]
    assert journal.ended(31, limit=1) == [(10, 2)]


def test_a_run_number_is_never_used_again_also_when_its_run_was_deleted(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        assert [journal.next_run() for _ in range(3)] == [1, 2, 3]
        committed(journal, running(3, status="completed"))
        gone = Unit()
        gone.delete_run(3)
        committed(journal, gone)
    with Journal.open(tmp_path) as journal:
        assert list(journal.runs()) == []
        assert journal.next_run() == 4


def test_a_unit_that_cannot_be_written_is_refused_where_it_is_built(journal: Journal) -> None:
    unit = Unit()
    unit.append(1, [["good"]])
    with pytest.raises(UnitError):
        unit.append(1, [["bad", object()]])
    with pytest.raises(UnitError, match="at least one record"):
        unit.append(1, [])
    with pytest.raises(UnitError, match='status "ended"'):
        unit.put_run(1, RunRow("id", "u", "e", "h", "ended", 1))
    committed(journal, appending(2, ["before"]), unit, appending(2, ["after"]))
    assert journal.history(1) == [(1, ["good"])]
    assert journal.last_seq(2) == 2


def test_close_writes_what_was_submitted_and_then_everything_is_refused(tmp_path: Path) -> None:
    answers: list[Exception | None] = []
    journal = Journal.open(tmp_path)
    for n in range(5000):
        journal.submit(appending(1, ["n", n]), answers.append)
    journal.close()
    journal.close()
    assert answers == [None] * 5000
    with pytest.raises(JournalClosedError):
        journal.submit(Unit(), answers.append)
    with pytest.raises(JournalClosedError):
        journal.history(1)
    with Journal.open(tmp_path) as journal:
        assert [record[1] for _, record in journal.history(1)] == list(range(5000))
