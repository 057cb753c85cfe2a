"""Promise 7: replaying a history calls no function, sends nothing, writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.both_hosts import Host
from tests.crash_lab import NodeProcess, effects, until
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


def test_replays_do_nothing(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    boots = 5 if host.server is None else 1
    with NodeProcess(app) as node:
        peer = node.spawn("app:peer", HOST, options={"workflow.id": "peer"})
        pid = node.spawn("app:busy", HOST, peer, options={"workflow.id": "busy"})
        node.send(pid, "tell")
        node.until_recorded(pid, "activity_completed", 2)
        until(lambda: node.kinds(pid)[-1] == "step")
        before = node.told(pid)
        for boot in range(1, boots + 1):
            node.crash()
            node.send(pid, "nothing")  # makes the node rebuild the run
            until(lambda: since(node, pid, before) == ["message", "step"] * boot)  # noqa: B023
        assert [effect.function for effect in effects(app)] == ["called", "told"]

        node.send(pid, "end")
        seen = node.result(pid)
        node.send(peer, "second")
        heard = node.result(peer)
        assert heard["second"] == "second", "replays sent nothing"
        sent = {key: seen[key] for key in heard["first"]}
        assert sent == heard["first"], "what was random or the time stayed what it was"
        until(lambda: len(node.rows()) >= 3)
        assert len(node.rows()) == 3, "and started nothing"
        node.kill()
    assert (app / "node.log").read_text(encoding="utf-8").count("said once") == 1
    host.check(app)


def since(node: NodeProcess, pid: str, before: list[dict[str, Any]]) -> list[str]:
    """Types of what a history has grown by. A server also tells of a step that was lost."""
    told = node.told(pid)
    assert told[: len(before)] == before
    return [each["type"] for each in told[len(before) :] if each["type"] != "step_timed_out"]
