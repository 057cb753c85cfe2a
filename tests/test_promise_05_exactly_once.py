"""Promise 5: between runs of one journal a message arrives once, in order per sender, and a child
starts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, effects_by_key, survive
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
}
IN_ORDER = list(range(1, MESSAGES + 1))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = durable_app(tmp_path / "app", WORKFLOWS)
    yaml = (folder / "app.yaml").read_text()
    # Two shards, so that sender and receiver are on different threads.
    (folder / "app.yaml").write_text(yaml.replace("workers: 1", "workers: 2", 1))
    return folder


def start(node: NodeProcess, entry: str, workflow_id: str, *args: object) -> str:
    options = {"workflow.id": workflow_id}
    return node.spawn(entry, HOST, *args, key=workflow_id, options=options)


def messages(node: NodeProcess) -> object:
    receiver = start(node, "app:receiver", "receiver")
    senders = [start(node, "app:sender", f"sender-{name}", name, receiver) for name in "ab"]
    result = node.result(receiver)
    assert [node.result(sender) for sender in senders] == ["a", "b"]
    return result


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


def test_a_send_to_an_ended_workflow_says_so(app: Path) -> None:
    with NodeProcess(app) as node:
        ended = start(node, "app:child", "ended", 0)
        node.result(ended)
        sender = start(node, "app:sender", "late", "a", ended)
        outcome = node.ask("result", pid=sender, timeout=10).exception(10)
    assert "process not found" in str(outcome)
