"""A flood of messages fills an inbox and nothing else: what is lost is counted, no event is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from tests.process_lab import PATIENCE, eventually, process, running

SIZE, CHILDREN, SENDERS, EACH = 8, 12, 4, 250
TOTAL = (SENDERS + 1) * EACH

LUA_SINK = process("""
    local children = ...
    local events, inbox, kinds, got = process.events(), process.inbox(), {}, {}
    for _ = 1, children do assert(process.spawn_monitored("app:child", "app:one")) end
    process.registry.register("sink")
    repeat
      local kind = events:receive().kind
      kinds[kind] = (kinds[kind] or 0) + 1
    until kinds["pid.cancel"] and kinds["pid.exit"] == children
    while true do
      local taken = channel.select{inbox:case_receive(), default = true}
      if taken.default then return {got, kinds} end
      got[#got + 1] = taken.value:payload():data()
    end
""")
PYTHON_SINK = """
import threading
from hosts.api import Process

GATE = threading.Event()

class Sink(Process):
    def __init__(self, children):
        super().__init__()
        self.children, self.kinds, self.got = children, {}, []

    def on_start(self):
        for _ in range(self.children): self.spawn("app:child", "app:one", monitored=True)
        self.register("sink")
        GATE.wait(30)

    def on_message(self, topic, payload, sender):
        self.got.append(payload)

    def on_event(self, event): self.count(event["kind"])
    def on_cancel(self, reason): self.count("pid.cancel")

    def count(self, kind):
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.kinds == {"pid.cancel": 1, "pid.exit": self.children}:
            self.exit([self.got, self.kinds])
"""
SENDER = process("""
    local number, each = ...
    local refused = 0
    for i = 1, each do
      local ok, err = process.send("sink", "n", {number, i})
      if not ok then
        assert(err:kind() == "RateLimited" and err:retryable(), err)
        refused = refused + 1
      end
    end
    return refused
""")


@pytest.mark.parametrize("policy", ["reject", "drop_newest", "drop_oldest"])
@pytest.mark.parametrize("sink", ["lua", "python"])
@pytest.mark.parametrize("isolation", ["shared", "vm"])
def test_a_flood(tmp_path: Path, policy: str, sink: str, isolation: str) -> None:
    inbox = {"size": SIZE, "policy": policy}
    limited = {"kind": "process.host", "isolation": isolation, "limits": {"inbox": inbox}}
    entries: dict[str, dict[str, Any]] = {
        "limited": limited,
        "lua": LUA_SINK,
        "python": {"kind": "process.python", "target": "sinks:Sink"},
        "child": process("process.inbox():receive() error('it broke')"),
        "sender": SENDER,
    }
    with running(tmp_path, entries, {"sinks": PYTHON_SINK}) as node:
        pid = node.spawn(f"app:{sink}", "app:limited", CHILDREN)
        eventually(lambda: node.router.lookup("sink") is not None)
        children = [row["pid"] for row in node.processes() if row["entry"] == "app:child"]
        assert len(children) == CHILDREN

        def sent(number: int) -> bool:
            try:
                node.send(pid, "n", [0, number])
            except PerdureError as error:
                return error.kind != Kind.RATE_LIMITED
            return True

        senders = [
            node.spawn("app:sender", f"app:{host}", number, EACH)
            for number, host in enumerate(["one", "two", "other", "limited"], 1)
        ]
        with ThreadPoolExecutor(4) as threads:
            results = threads.map(sent, range(1, EACH + 1))
            for child in children:
                node.send(child, "go")
            refused = EACH - sum(results)
        refused += sum(node.result(each, PATIENCE) for each in senders)
        lost = TOTAL - SIZE
        assert refused == (lost if policy == "reject" else 0)
        assert node.status()["full_inboxes"] == {"app:limited": lost}
        node.cancel(pid)
        if sink == "python":
            import sinks  # type: ignore[import-not-found]

            sinks.GATE.set()
        got, kinds = node.result(pid, PATIENCE)
        assert kinds == {"pid.cancel": 1, "pid.exit": CHILDREN}
        assert len(got) == SIZE
        for number in range(SENDERS + 1):
            # Of each sender in its order; but the threads of Python are four.
            mine = [i for sender, i in got if sender == number]
            assert number == 0 or mine == sorted(mine)
        if policy == "drop_oldest":
            assert all(i > EACH - SIZE for sender, i in got if sender)
        assert node.status()["full_inboxes"] == {"app:limited": lost}
