"""Promise 3: no effect before its commit, and none lost after it.

Points at calls of the journal are for the journal only. What a run on a server asks its node for is
done before the server hears of its step: see test_promise_05_exactly_once.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from tests.both_hosts import Host
from tests.crash_lab import NodeProcess, check_journal, effects, effects_by_key, until
from tests.durable_lab import HOST, durable_app, kinds_on_disk

WORKFLOWS = {
    "call": 'return funcs.call("app:effect", "called")',
    "send": 'return process.send((...), "hello", 1)',
    "spawn": """
        local apart = process.with_options({["workflow.parent_close_policy"] = "abandon"})
        return apart:spawn("app:child", "app:orders")
    """,
    "child": 'return funcs.call("app:effect", "child")',
    "listen": 'return funcs.call("app:effect", "heard", process.inbox():receive():topic())',
    "asks": """
        local listener, other = ...
        local call, done = funcs.async("app:effect", "called"), channel.new(3)
        local function ask(f) coroutine.spawn(function() done:send(f() and true) end) end
        ask(function() return process.send(listener, "hello", 1) end)
        ask(function()
          local apart = process.with_options({["workflow.parent_close_policy"] = "abandon"})
          return apart:spawn("app:child", "app:orders")
        end)
        ask(function() return process.cancel(other, "no more") end)
        return {call:response():receive():data(), done:receive(), done:receive(), (done:receive())}
    """,
    "name": 'return process.registry.register("clerk")',
    "cancel": 'return process.cancel((...), "no more")',
    "cancelled": 'return funcs.call("app:effect", "told", process.events():receive().reason)',
}
ID = {"workflow.id": "run"}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    app = durable_app(tmp_path_factory.mktemp("app"), WORKFLOWS, host=host)
    with NodeProcess(app) as running:
        yield running
    host.check(app)


def test_what_a_step_asked_for_is_done_by_the_next_boot(node: NodeProcess) -> None:
    """On a server the node is killed when the server has the step, and the function is to run."""
    others = [node.spawn(f"app:{name}", HOST) for name in ("listen", "cancelled")]
    for each in others:
        node.until_recorded(each, "step")
    node.do("arm", fault="host.attempt.before:1")
    node.ask("spawn", entry="app:asks", host=HOST, args=others, options=ID)
    node.wait_dead()
    assert effects(node.app) == []
    node.crash()
    assert node.result("{app:orders|run}") == ["called", True, True, True]
    done = [("called", []), ("child", []), ("heard", ["hello"]), ("told", ["no more"])]
    until(lambda: sorted(effects_by_key(node.app)) == done)
    for each in others:
        node.result(each)


def test_killed_before_the_commit_nothing_was_done(app: Path) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault="journal.commit.before:1")
        node.ask("spawn", entry="app:call", host=HOST, args=[], options=ID)
        node.wait_dead()
    assert effects(app) == []
    assert kinds_on_disk(app, "run") == []


@pytest.mark.parametrize("point", ["journal.commit.after", "host.ack.before", "host.effect.before"])
def test_killed_after_the_commit_it_is_done_by_the_next_boot(app: Path, point: str) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault=f"{point}:1")
        node.ask("spawn", entry="app:call", host=HOST, args=[], options=ID)
        node.wait_dead()
        assert effects(app) == []
        node.crash()
        until(lambda: effects_by_key(app) == [("called", [])])
        assert node.result("{app:orders|run}") == "called"


# What the run asks of another: workflow, receiver (or none), what the receiver does.
ASKED = {
    "send": ("listen", [("heard", ["hello"])]),
    "spawn": (None, [("child", [])]),
    "cancel": ("cancelled", [("told", ["no more"])]),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
def test_what_is_asked_of_others_waits_for_the_commit_too(
    app: Path, asked: str, point: str
) -> None:
    receiver, done = ASKED[asked]
    with NodeProcess(app) as node:
        args = [node.spawn(f"app:{receiver}", HOST)] if receiver else []
        node.do("arm", fault=f"{point}:1")
        node.ask("spawn", entry=f"app:{asked}", host=HOST, args=args, options=ID)
        node.wait_dead()
        check_journal(app)
        assert effects(app) == []
        committed = kinds_on_disk(app, "run")
        assert bool(committed) == (point == "journal.commit.after")
        if not committed:
            return
        node.crash()
        until(lambda: effects_by_key(app) == done)
        until(lambda: {row["status"] for row in node.do("runs")} == {"completed"})
        node.kill()
    check_journal(app)
    assert effects_by_key(app) == done


def test_a_name_that_was_asked_for_is_held_after_the_crash(app: Path) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault="host.effect.before:1")
        node.ask("spawn", entry="app:name", host=HOST, args=[], options=ID)
        node.wait_dead()
        node.crash()
        assert node.result("{app:orders|run}") is True


def is_sent(node: NodeProcess, name: str) -> bool:
    """Whether a message to a name found somebody."""
    try:
        node.send(name, "hello")
    except PerdureError as error:
        if error.kind != Kind.NOT_FOUND:
            raise
        return False
    return True


@pytest.mark.parametrize("point", ["journal.commit.after", "host.effect.before"])
def test_a_name_that_a_last_step_asked_for_is_free_after_the_crash(app: Path, point: str) -> None:
    hasty = """
        local other = ...
        coroutine.spawn(function() process.registry.register("clerk") end)
        coroutine.spawn(function() process.registry.register("peer", other) end)
        return "gone"
    """
    durable_app(app, {**WORKFLOWS, "hasty": hasty})
    with NodeProcess(app) as node:
        peer = node.spawn("app:listen", HOST)
        node.do("arm", fault=f"{point}:1")
        node.ask("spawn", entry="app:hasty", host=HOST, args=[peer], options=ID)
        node.wait_dead()
        node.crash()
        assert node.result("{app:orders|run}") == "gone"
        # What it did to others is done; a name of its own nobody could free any more.
        until(lambda: is_sent(node, "peer"))
        assert node.result(peer) == "heard"
        assert node.result(node.spawn("app:name", HOST)) is True
        node.stop()
    check_journal(app)


def test_an_ended_run_still_sends_what_its_last_step_sent(app: Path) -> None:
    farewell = """
        local peer = ...
        coroutine.spawn(function() process.send(peer, "farewell") end)
        return "gone"
    """
    durable_app(app, {**WORKFLOWS, "farewell": farewell})
    with NodeProcess(app) as node:
        peer = node.spawn("app:listen", HOST)
        node.do("arm", fault="journal.commit.after:1")
        node.ask("spawn", entry="app:farewell", host=HOST, args=[peer], options=ID)
        node.wait_dead()
        node.crash()
        assert node.result(peer) == "heard"
        assert node.result("{app:orders|run}") == "gone"
        node.kill()
    assert effects_by_key(app) == [("heard", ["farewell"])]
    check_journal(app)


def test_a_run_that_ends_while_its_send_is_on_its_way_to_the_disk_has_sent(app: Path) -> None:
    hasty = """
        local peer = ...
        coroutine.spawn(function() process.send(peer, "farewell") end)
        return process.inbox():receive():topic()
    """
    counts = """
        local n, inbox = 0, process.inbox()
        while inbox:receive():topic() == "farewell" do n = n + 1 end
        return n
    """
    durable_app(app, {**WORKFLOWS, "hasty": hasty, "counts": counts})
    with NodeProcess(app) as node:
        peer = node.spawn("app:counts", HOST)

        def reached(workflow_id: str) -> bool:
            try:
                node.send(f"{{{HOST}|{workflow_id}}}", "now")
            except PerdureError as error:
                if error.kind != Kind.NOT_FOUND:
                    raise
                return False
            return True

        def cut_short(number: int) -> None:
            workflow_id = f"hasty-{number}"
            options = {"workflow.id": workflow_id}
            node.ask("spawn", entry="app:hasty", host=HOST, args=[peer], options=options)
            until(lambda: reached(workflow_id))
            assert node.result(f"{{{HOST}|{workflow_id}}}") == "now"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(cut_short, range(100)))
        node.send(peer, "end")
        assert node.result(peer) == 100
        node.stop()
    check_journal(app)
