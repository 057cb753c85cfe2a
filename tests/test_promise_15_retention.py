"""Promise 15: an ended run answers for `retention`, and is gone without a trace after it. For the
journal only: how long a server keeps what has ended is a setting of its namespace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hosts.durable.retention import _BATCH as BATCH
from hosts.durable.retention import Retention
from journal.databases import DATABASES
from journal.journal import Journal
from journal.records import RunRow
from journal.unit import Unit
from runtime.errors import Kind, PerdureError
from tests.clock import EPOCH, FakeClock, S
from tests.crash_lab import NodeProcess, check_journal, until
from tests.durable_lab import HOST, as_main, durable_app, journal_of
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


def until_left(node: NodeProcess, count: int) -> None:
    """Let days pass until so many runs are left; a leap of the clock is waited out first."""

    def left() -> bool:
        node.do("advance", seconds=DAY)
        return len(node.do("runs")) == count

    until(left)


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
        until_left(node, 1)
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
        until_left(node, 0)
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

        def gone() -> bool:
            clock.advance(20 * S)
            return list(journal.runs()) == []

        until(gone)
        retention.stop()


def test_a_run_that_is_hurt_goes_too(tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path) as journal:
        ended(journal, 2, b"unmistakable")
    data = tmp_path / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole.replace(b"unmistakable", b"Unmistakable"))
    with Journal.open(tmp_path) as journal:
        retention = Retention(journal, clock.timers, 100 * S)
        assert retention.sweep() == 0, "its clock leapt"
        clock.advance(200 * S)
        assert retention.sweep() == 2
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
        until_left(node, 0)
        node.kill()
    check_journal(app)
    with journal_of(app) as journal:
        assert set(rows(journal)) <= {"meta", "sources"}


# The clock ---------------------------------------------------------------------------------------


class LeapingClock(FakeClock):
    """One whose wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0

    def wall(self) -> int:
        return super().wall() + self.shift


D = DAY * S


def fresh(journal: Journal, clock: LeapingClock) -> None:
    """A run that ended just now."""
    unit = Unit()
    row = RunRow("w", "u", "app:w", "app:h", "completed", clock.wall(), clock.wall())
    unit.put_run(1, row)
    unit.put_ended(1, row.ended_ns)
    committed(journal, unit)


@pytest.mark.parametrize("reboot", [False, True])
def test_a_clock_that_is_set_far_ahead_deletes_nothing_before_it_can_be_set_right(
    tmp_path: Path, reboot: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = LeapingClock()
    with Journal.open(tmp_path) as journal:
        fresh(journal, clock)

        def renewed(retention: Retention) -> Retention:
            return Retention(journal, clock.timers, 30 * D) if reboot else retention

        retention = Retention(journal, clock.timers, 30 * D)
        assert retention.sweep() == 0
        clock.shift = 3650 * D
        for _ in range(23):
            retention = renewed(retention)
            assert retention.sweep() == 0
            clock.advance(3600 * S)
            assert retention.sweep() == 0
        assert "the clock is 3650.0 days ahead of what it was" in caplog.text
        assert len(caplog.records) == 1
        # Set right: all is as before, and a leap to come is noticed again.
        clock.shift = 0
        retention = renewed(retention)
        assert retention.sweep() == 0
        clock.advance(28 * D)
        retention = renewed(retention)
        assert retention.sweep() == 0
        clock.advance(2 * D)
        assert retention.sweep() == 1


def test_a_leap_that_stays_is_believed_after_a_day(tmp_path: Path) -> None:
    clock = LeapingClock()
    with Journal.open(tmp_path) as journal:
        fresh(journal, clock)
        retention = Retention(journal, clock.timers, 30 * D)
        clock.shift = 40 * D  # it was off for so long, perhaps
        assert retention.sweep() == 0
        clock.advance(D - S)
        assert retention.sweep() == 0
        clock.advance(2 * S)
        assert retention.sweep() == 1


# Code --------------------------------------------------------------------------------------------


def test_code_that_no_run_is_pinned_to_goes_with_the_last_that_was(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")

    def digests() -> int:
        with journal_of(app) as journal:
            return len(journal.sources())

    with NodeProcess(app) as node:
        for n in range(3):
            deploy(app, "child", f"return {n}")
            node.crash()
            assert node.result(node.spawn("app:child", HOST)) == n
        deploy(app, "waits", WORKFLOWS["waits"] + " -- old")
        node.crash()
        node.spawn("app:waits", HOST, options={"workflow.id": "waits"})
        deploy(app, "waits", "return 'new'")
        node.crash()
        node.do("advance", seconds=11 * DAY)
        until_left(node, 1)
        until(lambda: node.do("sources") == 1)
        node.crash()
        # What an open run is pinned to has stayed.
        node.send("{app:orders|waits}", "go", "on")
        assert node.result("{app:orders|waits}") == "on"
        assert node.result(node.spawn("app:child", HOST)) == 2
        node.stop()
    check_journal(app)
    assert digests() == 2


def test_code_that_comes_into_use_while_it_is_looked_for_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path) as journal:
        for digest in (b"old", b"back"):
            unit = Unit()
            unit.put_source(digest * 8, digest)
            committed(journal, unit)
        mark = Unit()
        mark.mark_sources()
        committed(journal, mark)
        used, unused = Unit(), Unit()
        used.put_source(b"back" * 8, b"back")
        for digest in (b"old", b"back"):
            unused.del_source(digest * 8)
        committed(journal, used, unused)
        assert journal.sources() == [b"back" * 8]
        assert Retention(journal, clock.timers, D).sweep_sources() == 1
        assert journal.sources() == []


def deploy(app: Path, name: str, body: str) -> None:
    (app / f"{name}.lua").write_text(as_main(body))
