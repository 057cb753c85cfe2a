"""Large payloads are stored once, out of line, and go with the last run that holds them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from journal import faults
from journal.databases import DATABASES, META
from journal.encoding import encode
from journal.errors import BadRecordError
from journal.files import IDENTITY
from journal.journal import Journal
from journal.payloads import CHUNK, INLINE_MAX
from journal.unit import Unit
from journal.verify import verify
from tests.journal_lab import appending, committed, running


def rows(journal: Journal, database: str) -> list[bytes]:
    handle = next(n for n, each in enumerate(DATABASES) if each.name == database)
    with journal.env.read() as (txn, handles):
        return [bytes(key) for key, _ in txn.cursor(handles[handle])]


@pytest.mark.parametrize(
    "length", [INLINE_MAX, INLINE_MAX + 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5_000_000]
)
def test_a_payload_comes_back_as_it_was(tmp_path: Path, length: int) -> None:
    payload = os.urandom(length)
    with Journal.open(tmp_path) as journal:
        started = ["started", {"args": payload, "messages": [["topic", payload]]}]
        committed(journal, running(1), appending(1, started, ["message", "t", payload, None]))
        assert len(rows(journal, "payloads")) == (length > INLINE_MAX) * (-(-length // CHUNK))
    with Journal.open(tmp_path) as journal:
        assert journal.history(1) == [(1, started), (2, ["message", "t", payload, None])]
    assert verify(tmp_path) == []


def test_many_small_ones_stay_in_their_page(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        committed(journal, running(1), appending(1, *[["message", b"x" * 1000]] * 50))
        assert rows(journal, "payloads") == []
        assert journal.history(1) == [(n, ["message", b"x" * 1000]) for n in range(1, 51)]


def test_one_payload_of_many_runs_is_stored_once_and_goes_with_the_last(tmp_path: Path) -> None:
    payload = os.urandom(200_000)
    with Journal.open(tmp_path) as journal:
        for run in (1, 2, 3):
            committed(journal, running(run, status="completed", ended_ns=run))
            committed(journal, appending(run, ["started", payload]), appending(run, [payload]))
        stored = rows(journal, "payloads")
        assert len(stored) == -(-len(payload) // CHUNK)
        for run in (2, 1, 3):
            assert rows(journal, "payloads") == stored
            unit = Unit()
            unit.delete_run(run)
            committed(journal, unit)
        for database in ("payloads", "held", "holders", "history", "runs"):
            assert rows(journal, database) == []
    assert verify(tmp_path) == []


def test_a_payload_that_is_needed_again_in_the_transaction_that_dropped_it(tmp_path: Path) -> None:
    payload = os.urandom(100_000)
    with Journal.open(tmp_path) as journal:
        committed(journal, running(1, status="completed"), appending(1, [payload]))
        unit = Unit()
        unit.delete_run(1)
        committed(journal, unit, running(2), appending(2, [payload]))
        assert journal.history(2) == [(1, [payload])]
    assert verify(tmp_path) == []


def change_chunk(path: Path, change: bytes | None) -> None:
    """Change the second chunk of the only payload behind the journal's back."""
    with lmdb.open(str(path), max_dbs=32) as env:
        handle = env.open_db(b"payloads")
        with env.begin(write=True, db=handle) as txn:
            key = [bytes(key) for key, _ in txn.cursor()][1]
            if change is None:
                txn.delete(key)
            else:
                txn.put(key, change)


@pytest.mark.parametrize("how", ["changed", "gone", "moved"])
def test_a_hurt_chunk_hurts_the_runs_that_hold_it(tmp_path: Path, how: str) -> None:
    with Journal.open(tmp_path) as journal:
        committed(journal, running(1), appending(1, [b"x" * 200_000]))
        committed(journal, running(2), appending(2, [b"small"]))
        second = rows(journal, "payloads")[1]
    wrong = {"changed": b"nonsense", "gone": None, "moved": encode(second + b"x", b"y")}
    change_chunk(tmp_path, wrong[how])
    findings = verify(tmp_path)
    assert findings
    assert {finding.db for finding in findings} == {"payloads"}
    with Journal.open(tmp_path) as journal:
        with pytest.raises(BadRecordError, match="payloads"):
            journal.history(1)
        assert journal.history(2) == [(1, [b"small"])]


def older(path: Path) -> None:
    """Make a journal one of format 1, which had no payloads."""
    with lmdb.open(str(path), max_dbs=32) as env:
        meta = env.open_db(DATABASES[META].name.encode())
        with env.begin(write=True) as txn:
            txn.put(IDENTITY, encode(IDENTITY, (1, "a journal", 5)), db=meta)
            for name in (b"payloads", b"held", b"holders"):
                txn.drop(env.open_db(name, txn))


def test_a_journal_of_the_format_before_is_read_checked_and_upgraded(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        committed(journal, running(1), appending(1, ["first"]))
    (tmp_path / "owner.lock").unlink()
    older(tmp_path)
    assert verify(tmp_path) == []
    payload = os.urandom(10_000)
    for _ in range(2):
        with Journal.open(tmp_path) as journal:
            assert journal.journal_id == "a journal"
            committed(journal, appending(1, [payload]))
            assert journal.history(1)[:2] == [(1, ["first"]), (2, [payload])]
    assert verify(tmp_path) == []


@pytest.mark.parametrize("point", ["journal.upgrade.before", "journal.upgrade.after"])
def test_an_upgrade_that_is_killed_is_done_again_or_done(tmp_path: Path, point: str) -> None:
    with Journal.open(tmp_path) as journal:
        committed(journal, running(1), appending(1, ["first"]))
    older(tmp_path)
    opening = f"from journal.journal import Journal; Journal.open({str(tmp_path)!r})"
    child = subprocess.run(
        [sys.executable, "-c", opening],
        env={**os.environ, faults.VARIABLE: f"{point}:1"},
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    with Journal.open(tmp_path) as journal:
        committed(journal, appending(1, [b"x" * 10_000]))
        assert journal.history(1) == [(1, ["first"]), (2, [b"x" * 10_000])]
    assert verify(tmp_path) == []
