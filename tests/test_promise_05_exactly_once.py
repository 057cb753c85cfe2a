"""Promise 5: between runs of one journal or server a message arrives once, in order per sender, and
a child starts once; to a process it may come again after a crash.

Crashes at calls of the journal are for the journal only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.both_hosts import SOON, Host
from tests.crash_lab import NodeProcess, effects, effects_by_key, put_on_server, survive, until
from tests.durable_lab import HOST, durable_app

MESSAGES = 12
WORKFLOWS = {
    # Half of the messages go out one by one, the rest from coroutines of one step.
    "sender": f"""
        local name, dest = ...
        for n = 1, {MESSAGES // 2} do assert(process.send(dest, "count", name, n)) end
        local done = channel.new({MESSAGES})
        for n = {MESSAGES // 2 + 1}, {MESSAGES} do
          coroutine.spawn(function() done:send(process.send(dest, "count", name, n)) end)
        end
        for n = {MESSAGES // 2 + 1}, {MESSAGES} do assert(done:receive()) end
        return name
    """,
    "receiver": f"""
        local heard = {{a = {{}}, b = {{}}}}
        for _ = 1, {2 * MESSAGES} do
          local got = process.inbox():receive():payload()
          local list = heard[got[1]:data()]
          list[#list + 1] = got[2]:data()
        end
        return heard
    """,
    "parent": """
        local names = {}
        for n = 1, 3 do
          assert(process.spawn("app:child", "app:orders", n))
          names[#names + 1] = process.events():receive().result.value
        end
        local a = assert(workflow.exec("app:child", 4))
        return {names = names, a = a}
    """,
    "child": 'return funcs.call("app:effect", "child", ...)',
    "tells": """
        assert(process.send((...), "one"))
        return assert(process.send((...), "two"))
    """,
    "leaves": """
        for _, topic in ipairs{"one", "two", "three", "end"} do
          coroutine.spawn(process.send, (...), topic)
        end
    """,
    "hears": """
        local topics, inbox = {}, process.inbox()
        repeat topics[#topics + 1] = inbox:receive():topic() until topics[#topics] == "end"
        return topics
    """,
    "has": """
        local pid = assert(process.spawn("app:witness", "app:processes"))
        process.inbox():receive()
        local sent, e = process.send(pid, "still there?")
        return sent or e:kind()
    """,
}
#: A host of its own, whose runs are reached through the node; and a process that is known by name.
ENTRIES = """
- {name: others, kind: temporal.worker, client: app:journal, lifecycle: {auto_start: true}}
- name: witness
  kind: process.lua
  modules: [funcs]
  source: |
    process.registry.register(... or process.pid())
    while true do
      require("funcs").call("app:effect", "witnessed", process.inbox():receive():topic())
    end
- name: stand
  kind: process.service
  process: app:witness
  host: app:processes
  input: [witness]
  lifecycle: {auto_start: true}
"""
IN_ORDER = list(range(1, MESSAGES + 1))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = durable_app(tmp_path / "app", WORKFLOWS)
    yaml = (folder / "app.yaml").read_text()
    # Two shards, so that sender and receiver are on different threads.
    (folder / "app.yaml").write_text(yaml.replace("workers: 1", "workers: 2", 1))
    return folder


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node for tests of both hosts."""
    app = durable_app(tmp_path_factory.mktemp("app"), WORKFLOWS, entries=ENTRIES, host=host)
    if host.server:
        put_on_server(
            app, [*host.overrides_to_kill(HOST), *(f"app:others:{each}" for each in SOON)]
        )
    with NodeProcess(app) as running:
        yield running
    host.check(app)


def start(node: NodeProcess, entry: str, workflow_id: str, *args: object) -> str:
    options = {"workflow.id": workflow_id}
    return node.spawn(entry, HOST, *args, key=workflow_id, options=options)


def messages(node: NodeProcess) -> object:
    receiver = start(node, "app:receiver", "receiver")
    senders = [start(node, "app:sender", f"sender-{name}", name, receiver) for name in "ab"]
    result = node.result(receiver)
    assert [node.result(sender) for sender in senders] == ["a", "b"]
    return result


# On both hosts -----------------------------------------------------------------------------------


def test_messages_and_children_come_once_and_in_order_through_kills(node: NodeProcess) -> None:
    receiver = start(node, "app:receiver", "receiver")
    parent = start(node, "app:parent", "parent")
    senders = [start(node, "app:sender", f"sender-{name}", name, receiver) for name in "ab"]
    node.until_recorded(receiver, "message", MESSAGES // 3)
    node.crash()
    node.until_recorded(parent, "child_ended", 2)
    node.crash()
    assert node.result(receiver) == {"a": IN_ORDER, "b": IN_ORDER}
    assert node.kinds(receiver).count("message") == 2 * MESSAGES
    assert [node.result(sender) for sender in senders] == ["a", "b"]
    assert node.result(parent) == {"names": ["child"] * 3, "a": "child"}
    assert effects_by_key(node.app) == [("child", [n]) for n in (1, 2, 3, 4)]
    until(lambda: len(node.rows()) == 8)


def test_what_is_sent_through_the_node_before_a_crash(node: NodeProcess, host: Host) -> None:
    """On a server it is sent before that has the step, which is then made again. A run takes it
    once all the same; a process may hear it again."""
    done = "host.request.after" if host.server else "host.effect.after"
    hears = node.spawn("app:hears", "app:others")
    has = start(node, "app:has", "has")
    # On a server the first step waits for the answer of its node.
    node.until_recorded(has, "step", 1 if host.server else 2)
    node.do("arm", fault=f"{done}:1")
    node.ask("spawn", entry="app:tells", host=HOST, args=[hears], options={"workflow.id": "tells"})
    node.wait_dead()
    node.crash()
    told = "{app:orders|tells}"
    assert node.result(told) is True
    node.send(hears, "end")
    assert node.result(hears) == ["one", "two", "end"]
    if host.server:
        message, step = (
            next(row["at"] for row in node.told(pid) if row["type"] == kind)
            for pid, kind in ((hears, "message"), (told, "step"))
        )
        assert message < step
    node.send(has, "go")
    assert node.result(has) == "NotFound"

    node.do("arm", fault=f"{done}:1")
    node.ask(
        "spawn", entry="app:tells", host=HOST, args=["witness"], options={"workflow.id": "process"}
    )
    node.wait_dead()
    node.crash()
    assert node.result("{app:orders|process}") is True
    heard = [each.args for each in effects(node.app) if each.function == "witnessed"]
    assert heard[-2:] == [["one"], ["two"]]
    assert heard[:-2] in ([], [["one"]])


def test_what_a_run_still_sends_at_its_end_arrives_in_order(node: NodeProcess) -> None:
    hears = start(node, "app:hears", "hears")
    start(node, "app:leaves", "leaves", hears)
    assert node.result(hears) == ["one", "two", "three", "end"]


def test_a_send_to_an_ended_workflow_says_so(node: NodeProcess) -> None:
    ended = start(node, "app:child", "ended", 0)
    node.result(ended)
    sender = start(node, "app:sender", "late", "a", ended)
    outcome = node.ask("result", pid=sender, timeout=10).exception(10)
    assert "process not found" in str(outcome)


# On a journal ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.after:3", "journal.commit.after:4", "journal.commit.after:6"],
        ["host.effect.after:4", "host.effect.after:9", "host.effect.after:13"],
        ["host.ack.before:4", "host.ack.after:5", "host.ack.before:6"],
        ["journal.op.put_dedupe.after:5", "journal.op.del_dedupe.before:2"],
        ["journal.op.del_outbox.after:1", "journal.op.del_outbox.after:3"],
        ["journal.done.after:9", "journal.done.after:3", "journal.submit.before:12"],
    ],
)
def test_messages_come_once_and_in_order_through_crashes(app: Path, faults: list[str]) -> None:
    result, deaths = survive(app, messages, *faults)
    assert deaths == len(faults)
    assert result == {"a": IN_ORDER, "b": IN_ORDER}


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", ["journal.commit.after", "host.effect.after", "host.ack.after"])
def test_messages_through_a_crash_at_every_pass(tmp_path: Path, point: str) -> None:
    for nth in range(1, 60):
        app = durable_app(tmp_path / str(nth), WORKFLOWS)
        result, _ = survive(app, messages, f"{point}:{nth}", f"{point}:{nth}", f"{point}:2")
        assert result == {"a": IN_ORDER, "b": IN_ORDER}


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.after:2", "journal.commit.after:2", "journal.commit.after:3"],
        ["host.effect.before:2", "host.effect.before:3", "host.effect.after:4"],
        ["host.ack.before:2", "host.ack.before:3", "journal.done.after:4"],
    ],
)
def test_a_child_is_started_once_through_crashes(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> object:
        result = node.result(start(node, "app:parent", "parent"))
        assert len(node.do("runs")) == 5, "the parent and four children"
        return result

    result, deaths = survive(app, script, *faults)
    assert deaths == len(faults)
    assert result == {"names": ["child"] * 3, "a": "child"}
    assert effects_by_key(app) == [("child", [n]) for n in (1, 2, 3, 4)]
