"""Promise 15: an ended run answers for `retention`, and is gone without a trace after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hosts.durable.retention import _BATCH as BATCH
from hosts.durable.retention import Retention
from journal.databases import DATABASES
from journal.journal import Journal
from journal.unit import Unit
from runtime.errors import Kind, PerdureError
from tests.clock import EPOCH, FakeClock, S
from tests.crash_lab import NodeProcess, check_journal, until
from tests.durable_lab import HOST, durable_app, journal_of
from tests.journal_lab import appending, committed, running

WORKFLOWS = {
    "quick": """
        local text = process.inbox():receive():payload():data()
        assert(funcs.call("app:effect", "called", text))
        return text
    """,
    "parent": 'return assert(workflow.exec("app:child"))',
    "child": "return 7",
    "waits": "return process.inbox():receive():payload():data()",
}
DAY = 24 * 3600


def make_app(folder: Path) -> Path:
    app = durable_app(folder, WORKFLOWS)
    config = app / "app.yaml"
    text = config.read_text()
    assert "data/journal}" in text
    config.write_text(text.replace("data/journal}", "data/journal, retention: 10d}"))
    return app


def rows(journal: Journal) -> dict[str, int]:
    """How many rows each database has, those without any left out."""
    with journal.env.read() as (txn, handles):
        counts = {
            each.name: txn.stat(handle)["entries"]
            for each, handle in zip(DATABASES, handles, strict=True)
        }
    return {name: count for name, count in counts.items() if count}


def test_results_answer_for_their_time_and_are_not_found_then(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    text = "x" * 100_000
    with NodeProcess(app) as node:
        waits = node.spawn("app:waits", HOST, options={"workflow.id": "waits"})
        pid = node.spawn("app:quick", HOST, options={"workflow.id": "quick"}, key="start")
        again = node.spawn("app:quick", HOST, options={"workflow.id": "quick"}, key="start too")
        assert again == pid
        node.send(pid, "topic", text, key="message")
        parent = node.spawn("app:parent", HOST, options={"workflow.id": "parent"})
        assert (node.result(pid), node.result(parent)) == (text, 7)
        node.do("advance", seconds=9 * DAY)
        node.do("advance", seconds=100)
        assert node.result(pid) == text
        node.crash()
        node.do("advance", seconds=9 * DAY)
        assert node.result(pid) == text, "the clock of a new boot is the machine's again"
        node.do("advance", seconds=2 * DAY)
        until(lambda: len(node.do("runs")) == 1)
        with pytest.raises(PerdureError, match="process not found") as caught:
            node.result(pid)
        assert caught.value.kind == Kind.NOT_FOUND
        node.send(waits, "topic", "on")
        assert node.result(waits) == "on"
        node.kill()
    check_journal(app)
    with journal_of(app) as journal:
        assert set(rows(journal)) <= {"meta", "runs", "ids", "history", "ended", "sources"}
        assert [row.workflow_id for _, row in journal.runs()] == ["waits"]
        assert journal.run_of("quick") is None


def test_a_key_is_good_for_a_new_run_once_the_old_one_is_gone(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with NodeProcess(app) as node:
        pid = node.spawn("app:child", HOST, key="k")
        assert node.result(pid) == 7
        node.do("advance", seconds=11 * DAY)
        until(lambda: node.do("runs") == [])
        assert node.result(node.spawn("app:child", HOST, key="k")) == 7
        assert len(node.do("runs")) == 1
        node.kill()
    check_journal(app)


def ended(journal: Journal, count: int, payload: bytes) -> None:
    for run in range(1, count + 1):
        unit = running(run, status="completed", ended_ns=EPOCH + run)
        unit.append(run, [["message", "t", "", payload, f"key-{run}"], ["completed", b"\xc0"]])
        unit.put_dedupe(f"key-{run}".encode(), True)
        unit.put_ended(run, EPOCH + run)
        committed(journal, unit)


def test_many_go_in_batches_and_what_is_still_to_be_told_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    count = BATCH * 2 + 10
    with Journal.open(tmp_path) as journal:
        ended(journal, count, os.urandom(10_000))
        unit = Unit()
        unit.put_outbox(5, 0, [1, 1])
        committed(journal, unit)
        retention = Retention(journal, clock.timers, 100 * S)
        assert retention.sweep() == 0
        clock.advance(101 * S)
        assert retention.sweep() == count - 1
        assert [run for run, _ in journal.runs()] == [5]
        assert journal.dedupe(b"key-5") is True
        unit = Unit()
        unit.del_outbox(5, 0)
        committed(journal, unit)
        assert retention.sweep() == 1
        assert set(rows(journal)) == {"meta"}


def test_it_looks_again_by_the_clock_and_ends_when_told(tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path) as journal:
        retention = Retention(journal, clock.timers, 100 * S)
        retention.start()
        until(lambda: clock.timers.next_due() is not None)
        ended(journal, 3, b"small")
        clock.advance(200 * S)
        until(lambda: list(journal.runs()) == [])
        retention.stop()


def test_a_run_that_is_hurt_goes_too(tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path) as journal:
        ended(journal, 2, b"unmistakable")
    data = tmp_path / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole.replace(b"unmistakable", b"Unmistakable"))
    with Journal.open(tmp_path) as journal:
        clock.advance(200 * S)
        assert Retention(journal, clock.timers, 100 * S).sweep() == 2
        assert list(journal.runs()) == []
        committed(journal, running(9), appending(9, ["goes on"]))


@pytest.mark.parametrize("point", ["journal.op.delete_run.before", "journal.op.delete_run.after",
    "journal.commit.before", "journal.commit.after"])  # fmt: skip
def test_killed_while_it_deletes_it_goes_on_at_the_next_boot(tmp_path: Path, point: str) -> None:
    app = make_app(tmp_path / "app")
    with NodeProcess(app) as node:
        for n in range(5):
            pid = node.spawn("app:waits", HOST, options={"workflow.id": str(n)}, key=str(n))
            node.send(pid, "t", "x" * 20_000, key=f"m{n}")
            assert node.result(pid) == "x" * 20_000
        node.do("arm", fault=f"{point}:1")
        node.ask("advance", seconds=11 * DAY)
        node.wait_dead()
    check_journal(app)
    with NodeProcess(app, wall=11 * DAY) as node:
        until(lambda: node.do("runs") == [])
        node.kill()
    check_journal(app)
    with journal_of(app) as journal:
        assert set(rows(journal)) <= {"meta", "sources"}
