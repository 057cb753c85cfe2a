"""Promise 13: a full disk loses nothing; new work is refused, and goes on when there is space."""

from __future__ import annotations

from pathlib import Path

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


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def fill(node: NodeProcess, pid: str) -> int:
    """Send until it is refused; how many were acknowledged."""
    for n in range(1000):
        error = node.ask("send", dest=pid, topic="part", payload=[f"{n}{BIG}"]).exception(PATIENCE)
        if error is not None:
            assert isinstance(error, PerdureError)
            assert (error.kind, error.retryable) == (Kind.UNAVAILABLE, True)
            assert "app:orders" in error.message
            return n
    raise AssertionError("the disk was never full")


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
