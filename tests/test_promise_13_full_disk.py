"""Promise 13: a full disk loses nothing; new work is refused, and goes on when there is space.

For the journal only: a server that takes nothing more is one that is away, see
test_temporal_outage.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    # Hears until it is told that it was the last, and returns how many it heard.
    "listen": """
        local inbox, n = process.inbox(), 0
        repeat
          local msg = inbox:receive()
          n = n + 1
        until msg.last
        return n
    """,
    "call": 'return funcs.call("app:effect", ...)',
    "sleep": 'time.sleep("1h") return funcs.call("app:effect", "woken")',
}
BIG = "x" * 100_000
WELL = {"app:journal": ("running", "None"), "app:orders": ("running", "None")}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def fill(node: NodeProcess, pid: str) -> int:
    """Send until it is refused; how many were acknowledged."""
    for n in range(1000):
        error = refusal(node, "send", dest=pid, topic="part", payload=[f"{n}{BIG}"])
        if error is not None:
            assert (error.kind, error.retryable) == (Kind.UNAVAILABLE, True)
            assert error.message == full_disk(node)
            return n
    raise AssertionError("the disk was never full")


def refusal(node: NodeProcess, op: str, **fields: Any) -> PerdureError | None:
    error = node.ask(op, **fields).exception(PATIENCE)
    assert error is None or isinstance(error, PerdureError)
    return error


def full_disk(node: NodeProcess) -> str:
    """What everybody is told who asks for work."""
    return (
        f"app:orders: journal {node.app}/data/journal: its disk is full: nothing new is taken "
        "until there is space; make room, and it goes on by itself. What was acknowledged is safe"
    )


def states(node: NodeProcess) -> dict[str, tuple[str, str]]:
    """State and error of the journal and of the host."""
    rows = {row["id"]: (row["state"], row["error"]) for row in node.do("services")}
    return {each: rows[each] for each in ("app:journal", "app:orders")}


def journal_size(app: Path) -> int:
    return (app / "data/journal/data.mdb").stat().st_size


@pytest.mark.parametrize("between", ["space again", "kill -9, then space again"])
def test_what_was_acknowledged_is_kept_and_the_node_goes_on(app: Path, between: str) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST)
        sleeper = node.spawn("app:sleep", HOST)
        node.do("limit_files", size=journal_size(app) + (2 << 20))
        acknowledged = fill(node, pid)
        assert acknowledged
        if between == "space again":
            node.do("limit_files", size=None)
        else:
            node.crash()
        node.send(pid, "end", {"last": True})
        assert node.result(pid) == acknowledged + 1
        node.do("advance", seconds=3601)
        assert node.result(sleeper) == "woken"
        node.stop()
    check_journal(app)


def test_a_node_that_boots_on_a_full_disk_refuses_and_goes_on_with_space(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST)
        node.kill()
    with NodeProcess(app, limit=journal_size(app)) as node:
        acknowledged = fill(node, pid)
        node.do("limit_files", size=None)
        node.send(pid, "end", {"last": True})
        assert node.result(pid) == acknowledged + 1
        node.stop()
    check_journal(app)


@pytest.mark.parametrize("action", ["raise-enospc", "raise-eio"])
@pytest.mark.parametrize("point", ["journal.txn.before", "journal.commit.before"])
def test_what_could_not_be_written_is_not_acknowledged(app: Path, point: str, action: str) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST)
        sleeper = node.spawn("app:sleep", HOST)
        node.do("arm", fault=f"{point}:1+:{action}")
        for _ in range(3):
            with pytest.raises(PerdureError) as refused:
                node.send(pid, "part", {"last": True})
            assert refused.value.kind == Kind.UNAVAILABLE
        node.do("advance", seconds=3601)
        node.do("arm", fault=None)
        # Not before: what comes while the sleeper's step fails once more fails with it.
        until(lambda: states(node) == WELL)
        assert "message" not in node.kinds(pid)
        node.send(pid, "end", {"last": True})
        assert node.result(pid) == 1
        # What fell due while nothing could be written is not lost with it.
        assert node.result(sleeper) == "woken"
        until(lambda: {row["status"] for row in node.do("runs")} == {"completed"})
        node.stop()
    check_journal(app)


def test_what_could_not_be_written_is_not_done(app: Path) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault="journal.commit.before:1+:raise-enospc")
        with pytest.raises(PerdureError) as refused:
            node.spawn("app:call", HOST, "refused")
        assert refused.value.kind == Kind.UNAVAILABLE
        node.do("arm", fault=None)
        # What was begun too early would be done before these.
        for n in range(3):
            assert node.result(node.spawn("app:call", HOST, "done", n)) == "done"
        assert [row["status"] for row in node.do("runs")] == ["completed"] * 3
    assert {effect.function for effect in effects(app)} == {"done"}


def test_every_refusal_is_the_same_and_the_first_request_with_space_is_taken(app: Path) -> None:
    config = app / "app.yaml"
    config.write_text(config.read_text().replace("workers: 1", "workers: 4", 1))
    with NodeProcess(app) as node:
        listeners = [
            node.spawn("app:listen", HOST, options={"workflow.id": str(n)}) for n in range(8)
        ]
        for _ in range(3):
            node.do("limit_files", size=journal_size(app) + 100_000)
            asked = [
                node.ask("send", dest=pid, topic="part", payload=[BIG * 5]) for pid in listeners
            ]
            refused = [str(each.exception(PATIENCE)) for each in asked]
            assert set(refused) == {f"Unavailable: {full_disk(node)}"}
            error = refusal(node, "spawn", entry="app:call", host=HOST, args=[BIG * 5])
            assert error is not None
            assert error.message == full_disk(node)
            node.do("limit_files", size=None)
            # Whichever worker has it, and whatever that has heard of the disk.
            told = [node.ask("send", dest=pid, topic="part", payload=[{}]) for pid in listeners]
            assert [each.exception(PATIENCE) for each in told] == [None] * len(listeners)
            assert node.result(node.spawn("app:call", HOST, "done")) == "done"
        for pid in listeners:
            node.send(pid, "end", {"last": True})
            assert node.result(pid) == 4
        node.stop()
    check_journal(app)


def test_services_and_events_say_that_the_disk_is_full_and_when_it_is_not(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST)
        assert states(node) == WELL
        node.do("service_events", count=0)
        node.do("limit_files", size=journal_size(app) + (2 << 20))
        fill(node, pid)
        full = full_disk(node).removeprefix("app:orders: ")
        told = {
            "app:journal": f"Unavailable: app:journal: {full}",
            "app:orders": f"Unavailable: app:orders takes no work: {full}",
        }
        assert states(node) == {each: ("failed", error) for each, error in told.items()}
        assert node.do("service_events", count=2) == [
            [each, "running", "failed", error] for each, error in told.items()
        ]
        node.do("limit_files", size=None)
        # With nobody asking for anything.
        assert node.do("service_events", count=2) == [
            [each, "failed", "running", "None"] for each in told
        ]
        assert states(node) == WELL
        node.stop()
