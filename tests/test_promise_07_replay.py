"""Promise 7: replaying a history calls no function, sends nothing, writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, check_journal, effects
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "busy": """
        local peer = ...
        print("said once")
        local seen = {uuid = uuid.v4(), random = math.random(1, 1000000)}
        seen.at = time.now():unix_nano()
        seen.called = assert(funcs.call("app:effect", "called"))
        time.sleep("1ms")
        seen.slept = time.now():unix_nano()
        assert(process.send(peer, "hello", seen))
        assert(process.spawn("app:child", "app:orders"))
        seen.child = process.events():receive().result.value
        assert(process.registry.register("busy"))
        local count = 0
        while true do
          local msg = process.inbox():receive()
          count = count + 1
          if msg:topic() == "tell" then
            funcs.call("app:effect", "told", count)
          elseif msg:topic() == "end" then
            return seen
          end
        end
    """,
    "child": "return uuid.v4()",
    "peer": """
        local first = process.inbox():receive():payload():data()
        local second = process.inbox():receive():topic()
        return {first = first, second = second}
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def test_ten_replays_do_nothing(app: Path) -> None:
    with NodeProcess(app) as node:
        peer = node.spawn("app:peer", HOST, options={"workflow.id": "peer"})
        pid = node.spawn("app:busy", HOST, peer, options={"workflow.id": "busy"})
        node.until_recorded(pid, "name_requested")
        node.send(pid, "tell")
        node.until_recorded(pid, "activity_completed", 2)
        before = node.history(pid)
        for _ in range(5):
            node.crash()
            node.send(pid, "nothing")  # makes the node rebuild the run
            assert node.history(pid)[: len(before)] == before
        history = node.history(pid)
        assert [record[0] for record in history[len(before) :]] == ["message", "step"] * 5
        assert [effect.function for effect in effects(app)] == ["called", "told"]

        node.send(pid, "end")
        seen = node.result(pid)
        node.send(peer, "second")
        heard = node.result(peer)
        assert heard["second"] == "second", "replays sent nothing"
        sent = {key: seen[key] for key in heard["first"]}
        assert sent == heard["first"], "what was random or the time stayed what it was"
        assert len(node.do("runs")) == 3, "and started nothing"
        node.kill()
    assert (app / "node.log").read_text(encoding="utf-8").count("said once") == 1
    check_journal(app)
