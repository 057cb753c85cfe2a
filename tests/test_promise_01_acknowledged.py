"""Promise 1: what was acknowledged is on disk, or at the server; a repeated key is acknowledged and
not repeated. Fault points at calls of the journal are for the journal only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from tests.both_hosts import EMBEDDED, Host, only_on
from tests.crash_lab import PATIENCE, NodeDied, NodeProcess, effects, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    # Hears n messages, and returns what they said.
    "listen": """
        local n, heard = ..., {}
        while #heard < n do
          local msg = process.inbox():receive()
          heard[#heard + 1] = msg.said
        end
        funcs.call("app:effect", "heard", heard)
        return heard
    """,
    "answer": "return {uuid = uuid.v4(), told = (...)}",
    "cancellable": """
        local event = process.events():receive()
        return {kind = event.kind, reason = event.reason}
    """,
}
OTHER_HOST = """
- {name: others, kind: temporal.worker, client: app:journal, lifecycle: {auto_start: true}}
"""


@pytest.fixture
def app(tmp_path: Path, host: Host) -> Iterator[Path]:
    folder = durable_app(tmp_path / "app", WORKFLOWS, entries=OTHER_HOST, host=host)
    yield folder
    host.check(folder)


def test_a_spawn_and_what_was_sent_outlive_the_node(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST, 2)
        node.send(pid, "say", {"said": "one"})
        node.kill()
    with NodeProcess(app) as node:
        node.send(pid, "say", {"said": "two"})
        node.kill()
    with NodeProcess(app) as node:
        assert node.result(pid) == ["one", "two"]


def test_a_result_that_was_seen_stays_the_same(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:answer", HOST, 42)
        first = node.result(pid)
        node.kill()
    with NodeProcess(app) as node:
        assert node.result(pid) == first
    assert first["told"] == 42


def test_a_cancel_outlives_the_node(app: Path) -> None:
    (app / "hang-start").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:cancellable", HOST)
        node.do("cancel", pid=pid, reason="enough")
        node.kill()
    with NodeProcess(app) as node:
        assert node.result(pid) == {"kind": "pid.cancel", "reason": "enough"}


def test_a_terminate_outlives_the_node(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST, 1)
        node.send(pid, "ignored", {"said": "x"}, key="once")
        other = node.spawn("app:listen", HOST, 1)
        node.do("terminate", pid=other)
        node.crash()
        with pytest.raises(PerdureError, match="process terminated") as error:
            node.result(other)
        assert error.value.kind == Kind.CANCELED
        with pytest.raises(PerdureError) as gone:
            node.send(other, "say", {"said": "late"})
        assert gone.value.kind == Kind.NOT_FOUND


@pytest.mark.parametrize("between", ["nothing", "a crash"])
def test_a_message_with_a_known_key_is_acknowledged_and_dropped(app: Path, between: str) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST, 3)
        other = node.spawn("app:listen", HOST, 1)
        node.send(pid, "say", {"said": "one"}, key="k1")
        if between == "a crash":
            node.crash()
        node.send(pid, "say", {"said": "one, again"}, key="k1")
        node.send(other, "say", {"said": "the key is the other workflow's"}, key="k1")
        node.send(pid, "say", {"said": "two"}, key="k2")
        node.send(pid, "say", {"said": "two"})
        assert node.result(pid) == ["one", "two", "two"]
        assert node.result(other) == ["the key is the other workflow's"]
        node.send(pid, "say", {"said": "one, when all is over"}, key="k1")
        node.kill()
    with NodeProcess(app) as node:
        node.send(pid, "say", {"said": "one, the day after"}, key="k1")


def test_a_message_that_its_run_never_read_keeps_its_key(app: Path) -> None:
    with NodeProcess(app) as node:
        (app / "hang-heard").touch()
        pid = node.spawn("app:listen", HOST, 1)
        node.send(pid, "say", {"said": "read"})
        futures = [
            node.ask("send", dest=pid, topic="say", payload=["unread"], key="k"),
            node.ask("terminate", pid=pid),
        ]
        wait(futures, PATIENCE)
        sent = futures[0].exception() is None
        node.kill()
    with NodeProcess(app) as node:
        if sent:
            node.send(pid, "say", "unread", key="k")
        else:
            with pytest.raises(PerdureError):
                node.send(pid, "say", "unread", key="k")


@pytest.mark.parametrize("between", ["nothing", "a crash"])
def test_a_spawn_with_a_known_key_gives_the_same_run(app: Path, between: str) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:answer", HOST, 1, key="order-7")
        if between == "a crash":
            node.crash()
        assert node.spawn("app:answer", HOST, 2, key="order-7") == pid
        first = node.result(pid)
        assert node.spawn("app:answer", HOST, 3, key="order-7") == pid, "though it has ended"
        assert node.result(pid) == first
        assert first["told"] == 1
        assert node.spawn("app:answer", "app:others", 4, key="order-7") != pid, "another host"
        assert node.spawn("app:answer", HOST, 5, key="order-8") != pid
        until(lambda: len(node.rows()) == 3)


def test_a_spawn_key_goes_with_a_chosen_workflow_id(app: Path) -> None:
    options = {"workflow.id": "order-7", "workflow.id_reuse_policy": "reject_duplicate"}
    with NodeProcess(app) as node:
        pid = node.spawn("app:answer", HOST, 1, key="k", options=options)
        node.result(pid)
        assert pid == "{app:orders|order-7}"
        assert node.spawn("app:answer", HOST, 1, key="k", options=options) == pid
        with pytest.raises(PerdureError) as refused:
            node.spawn("app:answer", HOST, 1, key="another", options=options)
        assert refused.value.kind == Kind.ALREADY_EXISTS


def test_a_spawn_key_that_found_a_running_workflow_is_not_used_again(app: Path, host: Host) -> None:
    """A server has no place for it: there it is as if the first start had had no key."""
    options = {"workflow.id": "shared"}
    with NodeProcess(app) as node:
        pid = node.spawn("app:listen", HOST, 1, options=options)
        assert node.spawn("app:listen", HOST, 1, options=options, key="k") == pid
        node.send(pid, "say", {"said": "x"})
        node.result(pid)
        assert node.spawn("app:listen", HOST, 1, options=options, key="k") == pid
        until(lambda: len(node.rows()) == (1 if host.server is None else 2))


def test_many_ask_at_once_with_one_key(app: Path) -> None:
    with NodeProcess(app) as node:
        asked = [
            node.ask("spawn", entry="app:listen", host=HOST, args=[1], key="k") for _ in range(20)
        ]
        pids = {future.result(PATIENCE) for future in asked}
        assert len(pids) == 1
        pid = pids.pop()
        said = [
            node.ask("send", dest=pid, topic="say", payload=[{"said": n}], key="k")
            for n in range(20)
        ]
        for future in said:
            future.result(PATIENCE)
        assert len(node.result(pid)) == 1
        assert node.kinds(pid).count("message") == 1


@only_on(EMBEDDED, "it is killed at calls of the journal")
@pytest.mark.parametrize("point", ["journal.commit.after", "host.ack.before", "host.ack.after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_asked_again_after_a_crash_before_the_answer(app: Path, point: str, nth: int) -> None:
    def script(node: NodeProcess) -> object:
        pid = node.spawn("app:listen", HOST, 2, key="spawn")
        node.send(pid, "say", {"said": 1}, key="say-1")
        node.send(pid, "say", {"said": 2}, key="say-2")
        return node.result(pid)

    result, deaths = survive(app, script, f"{point}:{nth}")
    assert deaths == 1
    assert result == [1, 2]
    assert effects_by_key(app) == [("heard", [[1, 2]])]


@only_on(EMBEDDED, "it is killed at calls of the journal")
def test_without_an_answer_nothing_is_promised(app: Path) -> None:
    """The counterpart: killed before the commit, there is no trace."""
    with NodeProcess(app, "journal.commit.before:1") as node, pytest.raises(NodeDied):
        node.spawn("app:listen", HOST, 1)
    with NodeProcess(app) as node:
        assert node.do("runs") == []
    assert effects(app) == []
