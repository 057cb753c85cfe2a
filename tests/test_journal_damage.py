"""Promise 12: a bad record hurts one run; `verify` lists what is wrong, each thing by its key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from journal import keys
from journal.databases import ACTIVITIES, BUSY, DATABASES, HISTORY, IDS, META, READY, RUNS
from journal.encoding import encode
from journal.errors import BadRecordError, JournalCorruptError
from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from tests.journal_lab import appending, commit, committed, running

RUN_COUNT = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound journal of five open runs, each with one row of every kind, their text in each."""
    with Journal.open(tmp_path) as journal:
        for run in range(1, RUN_COUNT + 1):
            unit = running(run, f"workflow-{run}-id")
            unit.append(run, [["step", f"first-{run}-page"]])
            unit.append(run, [["step", f"second-{run}-page"]] * 2)
            unit.put_timer(run, 1, 100 + run)
            unit.put_activity(run, 2, f"activity-{run}-row")
            unit.put_busy(run)
            unit.put_outbox(run, 3, f"outbox-{run}-row")
            unit.put_ready(run)
            committed(journal, unit)
    assert verify(tmp_path) == []
    return tmp_path


def flip(path: Path, text: bytes) -> None:
    """Flip one bit of every place in the data file that holds `text`."""
    data = path / "data.mdb"
    whole = data.read_bytes()
    assert text in whole
    data.write_bytes(whole.replace(text, bytes([text[0] ^ 1]) + text[1:]))


def raw(path: Path, change: Callable[[lmdb.Transaction, list[object]], None]) -> None:
    """Change rows behind the journal's back."""
    with lmdb.open(str(path), max_dbs=32) as env:
        handles: list[object] = [env.open_db(database.name.encode()) for database in DATABASES]
        with env.begin(write=True) as txn:
            change(txn, handles)


def test_a_flipped_bit_in_a_page_hurts_only_reads_of_that_page(path: Path) -> None:
    flip(path, b"second-3-page")
    with Journal.open(path) as journal:
        with pytest.raises(BadRecordError, match="checksum") as caught:
            journal.history(3)
        assert (caught.value.db, caught.value.run) == ("history", 3)
        assert caught.value.key == keys.two(3, 3)
        assert caught.value.key.hex() in str(caught.value)
        pages = journal.pages(3)
        assert next(pages) == [(1, ["step", "first-3-page"])]
        for run in (1, 2, 4, 5):
            assert len(journal.history(run)) == 3
        # The writer still knows the last number, and nobody is handed records behind the gap.
        assert commit(journal, appending(3, ["more"]), appending(4, ["more"])) == [None, None]
        assert journal.last_seq(3) == 4
        with pytest.raises(BadRecordError):
            journal.history(3)
        assert journal.history(3, after=3) == [(4, ["more"])]
    assert verify(path) == [("history", keys.two(3, 3), 3, "its checksum does not match")]


def test_rows_behind_a_bad_one_are_still_found(path: Path) -> None:
    for text in (b"activity-2-row", b"outbox-3-row", b"workflow-4-id"):
        flip(path, text)
    with Journal.open(path) as journal:
        bad: list[BadRecordError] = []
        assert [run for run, _, _ in journal.activities(bad.append)] == [1, 3, 4, 5]
        assert [run for run, _, _ in journal.outbox(bad.append)] == [1, 2, 4, 5]
        assert [run for run, _ in journal.runs(on_bad=bad.append)] == [1, 2, 3, 5]
        assert [(error.db, error.run) for error in bad] == [
            ("activities", 2),
            ("outbox", 3),
            ("runs", 4),
        ]
        with pytest.raises(BadRecordError):
            list(journal.activities())
        with pytest.raises(BadRecordError):
            journal.run(4)
        assert journal.run(5)
    # The id is a key too: no checksum sees that, but nobody asks for such an id either.
    assert {finding[:3] for finding in verify(path)} >= {
        ("activities", keys.two(2, 2), 2),
        ("outbox", keys.two(3, 3), 3),
        ("runs", keys.one(4), 4),
    }


def test_a_run_whose_row_is_bad_can_be_deleted_with_its_place_in_the_retention_index(
    path: Path,
) -> None:
    with Journal.open(path) as journal:
        unit = running(2, "workflow-2-id", "completed", 77)
        unit.put_ended(2, 77)
        unit.put_ended(3, 78)
        committed(journal, unit)
    flip(path, b"workflow-2-id")
    with Journal.open(path) as journal:
        unit = Unit()
        unit.delete_run(2)
        committed(journal, unit)
        assert journal.ended(1000) == [(78, 3)]
        assert journal.last_seq(2) == 0
        assert [run for run, _ in journal.runs()] == [1, 3, 4, 5]


def delete_a_page(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.delete(keys.two(2, 1), db=dbs[HISTORY])  # type: ignore[arg-type]


def delete_a_run(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.delete(keys.one(2), db=dbs[RUNS])  # type: ignore[arg-type]


def forget_the_highest(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.put(b"runs", encode(b"runs", 1), db=dbs[META])  # type: ignore[arg-type]


def put_a_short_key(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.put(b"short", encode(b"short", None), db=dbs[READY])  # type: ignore[arg-type]


def move_a_row(txn: lmdb.Transaction, dbs: list[object]) -> None:
    row = txn.pop(keys.two(2, 2), db=dbs[ACTIVITIES])  # type: ignore[arg-type]
    assert row
    txn.put(keys.two(3, 9), bytes(row), db=dbs[ACTIVITIES])  # type: ignore[arg-type]


def unmark(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.delete(keys.one(4), db=dbs[BUSY])  # type: ignore[arg-type]


def strand_an_id(txn: lmdb.Transaction, dbs: list[object]) -> None:
    txn.put(b"id", encode(b"id", [99, None]), db=dbs[IDS])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (delete_a_page, [("history", 2, "begins with 2, not 1")]),
        (
            delete_a_run,
            [
                ("ids", 0, "there is no run 2"),
                ("history", 2, "there is no such run"),
                ("history", 2, "there is no such run"),
                ("timers", 2, "there is no such run"),
                ("activities", 2, "there is no such run"),
                ("outbox", 2, "there is no such run"),
                ("ready", 2, "there is no such run"),
                ("busy", 2, "there is no such run"),
            ],
        ),
        (forget_the_highest, [("meta", 0, "says 1, and there is run 5")]),
        (put_a_short_key, [("ready", 0, "its key has 5 bytes, not 8")]),
        (move_a_row, [("activities", 3, "its checksum does not match")]),
        (
            unmark,
            [("activities", 4, "its run is not marked as busy: it would not be run again")],
        ),
        (strand_an_id, [("ids", 0, "there is no run 99")]),
    ],
)
def test_verify_finds(
    path: Path,
    change: Callable[[lmdb.Transaction, list[object]], None],
    found: list[tuple[str, int, str]],
) -> None:
    raw(path, change)
    assert [(f.db, f.run, f.problem) for f in verify(path)] == found
    with Journal.open(path) as journal:
        assert [(f.db, f.run, f.problem) for f in verify(journal)] == found


def test_verify_finds_rows_that_an_ended_run_left_behind(path: Path) -> None:
    with Journal.open(path) as journal:
        unit = running(1, "workflow-1-id", "failed", 50)
        unit.put_ended(1, 50)
        unit.put_ended(1, 51)
        unit.put_ended(2, 52)
        committed(journal, unit)
        assert [(f.db, f.run, f.problem) for f in verify(journal)] == [
            ("timers", 1, "its run is failed"),
            ("activities", 1, "its run is failed"),
            ("ready", 1, "its run is failed"),
            ("ended", 1, "its run is failed, ended at 50"),
            ("ended", 2, "its run is open, ended at 0"),
            ("busy", 1, "its run is failed"),
        ]


def test_another_process_verifies_a_journal_that_is_in_use_and_has_grown(tmp_path: Path) -> None:
    program = "import sys; from journal.verify import verify; print(verify(sys.argv[1]))"
    with Journal.open(tmp_path, map_size=1 << 20) as journal:
        committed(journal, running(1), *(appending(1, [b"x" * 100_000]) for _ in range(900)))
        child = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (child.stdout, child.stderr) == ("[]\n", "")
        committed(journal, appending(1, ["still owned"]))


def test_a_flip_in_the_number_of_a_transaction_takes_nobody_back_to_an_older_one(
    path: Path,
) -> None:
    data = path / "data.mdb"
    whole = data.read_bytes()
    unseen = 0
    for page in (0, 4096):
        for bit in range(64):
            hurt = bytearray(whole)
            hurt[page + 144 + bit // 8] ^= 1 << bit % 8
            data.write_bytes(hurt)
            try:
                Journal.open(path).close()
            except JournalCorruptError as error:
                assert "meta pages are damaged" in str(error) or "was cut" in str(error)  # noqa: PT017
            else:
                unseen += 1
    # That which makes the older number two higher, or the newer two lower, looks like a sound file.
    assert unseen <= 2
