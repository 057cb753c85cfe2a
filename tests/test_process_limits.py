"""Limits of a process.host hold: inboxes, VMs of their own, options that mean nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hosts.performer import Performer
from runtime import commands as c
from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.process_lab import PATIENCE, eventually, failure, function, process, run, running
from tests.services import in_background

# Inboxes -----------------------------------------------------------------------------------------

#: Waits for an event before it looks at its messages; returns those, and the kinds of its events.
SINK = process("""
    local events, inbox = process.events(), process.inbox()
    local kinds, got = {}, {}
    repeat
      kinds[#kinds + 1] = events:receive().kind
    until kinds[#kinds] == "pid.cancel"
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
    def __init__(self, waits=False):
        super().__init__()
        self.waits = waits
        self.got, self.kinds = [], []

    def on_start(self):
        if self.waits: GATE.wait(30)

    def on_message(self, topic, payload, sender):
        self.got.append(payload)

    def on_event(self, event):
        self.kinds.append(event["kind"])

    def on_cancel(self, reason):
        self.kinds.append("pid.cancel")
        if reason == "end": self.exit([self.got, self.kinds])
"""
SENDER = process("""
    local sink, count = ...
    local answers = {}
    for i = 1, count do
      local ok, err = process.send(sink, "n", i)
      answers[i] = ok or {err:kind(), err:retryable()}
    end
    return answers
""")
LEFT = {
    "reject": ([1, 2, 3], 2),
    "drop_newest": ([1, 2, 3], 2),
    "drop_oldest": ([3, 4, 5], 2),
}


def limited(policy: str, size: int = 3, **fields: Any) -> dict[str, Any]:
    inbox = {"size": size, "policy": policy}
    return {"kind": "process.host", "host": {"workers": 1}, "limits": {"inbox": inbox}, **fields}


def entries(policy: str, **more: Any) -> dict[str, dict[str, Any]]:
    python_sink = {"kind": "process.python", "target": "sinks:Sink"}
    return {
        "limited": limited(policy),
        "sink": SINK,
        "python_sink": python_sink,
        "sender": SENDER,
        **more,
    }


def end_of(node: Node, sink: str) -> Any:
    """What a sink got; it looks only now."""
    if node.processes()[0]["entry"] == "app:python_sink":
        import sinks  # type: ignore[import-not-found]

        node.cancel(sink, "look")
        sinks.GATE.set()
        eventually(lambda: node.processes() == [] or node.processes()[0]["waiting"] == 0)
    node.cancel(sink, "end")
    return node.result(sink, PATIENCE)


@pytest.mark.parametrize("policy", LEFT)
@pytest.mark.parametrize("sink", ["app:sink", "app:python_sink"])
@pytest.mark.parametrize("sender", ["app:limited", "app:one", "Python"])
def test_a_full_inbox(tmp_path: Path, policy: str, sink: str, sender: str) -> None:
    with running(tmp_path, entries(policy), {"sinks": PYTHON_SINK}) as node:
        pid = node.spawn(sink, "app:limited", True)
        if sender == "Python":
            answers = [_sent(node, pid, n) for n in range(1, 6)]
        else:
            answers = run(node, "app:sender", sender, pid, 5)
        refused = [[Kind.RATE_LIMITED, True]] * 2 if policy == "reject" else [True] * 2
        assert answers == [True] * 3 + refused
        left, dropped = LEFT[policy]
        assert node.processes()[0]["waiting"] == 3
        got, kinds = end_of(node, pid)
        assert got == left
        assert kinds[-1] == "pid.cancel"
        assert node.status()["full_inboxes"] == {"app:limited": dropped}


def _sent(node: Node, pid: str, n: int) -> Any:
    try:
        node.send(pid, "n", n)
    except PerdureError as error:
        named = pid in error.message and "limits.inbox.size" in error.message
        return [error.kind, error.retryable] if named else error
    return True


@pytest.mark.parametrize("policy", LEFT)
def test_events_always_get_through(tmp_path: Path, policy: str) -> None:
    watcher = process("""
        local events, inbox = process.events(), process.inbox()
        process.set_options({trap_links = true})
        local pids = {}
        for i = 1, 5 do pids[i] = process.spawn_linked_monitored("app:fails", "app:one") end
        process.send("test", "ready")
        local kinds = {}
        for i = 1, 11 do kinds[i] = events:receive().kind end
        return kinds
    """)
    fails = process('process.inbox():receive() error("it broke")')
    more = {"watcher": watcher, "fails": fails}
    with running(tmp_path, entries(policy, **more), {"sinks": PYTHON_SINK}) as node:
        pid = node.spawn("app:watcher", "app:limited")
        eventually(lambda: len(node.processes()) == 6)
        for n in range(5):
            _sent(node, pid, n)
        for row in node.processes():
            if row["entry"] == "app:fails":
                node.send(row["pid"], "go")
                failure(node, row["pid"])
        node.cancel(pid, "enough")
        kinds = node.result(pid, PATIENCE)
        assert sorted(kinds) == sorted(["pid.cancel"] + ["pid.exit", "pid.link.down"] * 5)


@pytest.mark.parametrize("policy", LEFT)
def test_each_listener_has_its_own_room(tmp_path: Path, policy: str) -> None:
    listener = process("""
        local n = process.listen("n")
        local ready = process.inbox():receive()
        process.send(ready:from(), "ready")
        process.events():receive()
        local got = {}
        while true do
          local taken = channel.select{n:case_receive(), default = true}
          if taken.default then return {got, process.inbox():receive():topic()} end
          got[#got + 1] = taken.value
        end
    """)
    with running(tmp_path, entries(policy, listener=listener), {"sinks": PYTHON_SINK}) as node:
        pid = node.spawn("app:listener", "app:limited")
        node.actor(pid).ask("ready?", timeout=PATIENCE)
        for n in range(1, 6):
            _sent(node, pid, n)
        node.send(pid, "other")
        node.cancel(pid)
        assert node.result(pid, PATIENCE) == [LEFT[policy][0], "other"]


def test_one_who_waits_for_messages_is_never_full(tmp_path: Path) -> None:
    pump = process("""
        local sink, count = ...
        for i = 1, count do
          assert(process.send(sink, "n", process.pid()))
          process.inbox():receive()
        end
        return "all"
    """)
    echo = process("""
        while true do
          local msg = process.inbox():receive()
          process.send(msg:payload():data(), "again")
        end
    """)
    tight = {"tight": limited("reject", 1), "pump": pump, "echo": echo}
    with running(tmp_path, tight) as node:
        pid = node.spawn("app:echo", "app:tight")
        for host in ("app:tight", "app:one"):
            assert run(node, "app:pump", host, pid, 100) == "all"
        assert node.status()["full_inboxes"] == {}


# VMs of their own --------------------------------------------------------------------------------

ISOLATED = {
    "kind": "process.host",
    "isolation": "vm",
    "limits": {"memory": "8MB"},
    "lifecycle": {"auto_start": True, "stop_timeout": "5s"},
}
ECHO = process("""
    local inbox, events = process.inbox(), process.events()
    while true do
      local got = channel.select{events:case_receive(), inbox:case_receive()}
      if got.channel == events then return "cancelled" end
      local topic, payload = got.value:topic(), got.value:payload()
      local value = payload and payload:data()
      if topic == "end" then return value end
      if topic == "hog" then
        local t = {}
        for i = 1, 1e9 do t[i] = {i} end
      end
      if topic == "swallow" then
        while true do
          pcall(function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(100) .. i end end)
        end
      end
      if topic == "spawn" then value = assert(process.spawn("app:echo", "app:isolated")) end
      if topic == "call" then value = funcs.call("app:double", value) end
      process.send(got.value:from(), "answer", value)
    end
""")
LONE: dict[str, dict[str, Any]] = {
    "isolated": ISOLATED,
    "echo": ECHO,
    "double": function("return 2 * ..."),
}


def ask(node: Node, pid: str, topic: str, *payload: Any) -> Any:
    return node.actor(pid).ask((topic, *payload), timeout=PATIENCE)


def vms(node: Node) -> int:
    return sum("app:isolated worker" in each.name for each in threading.enumerate())


def test_each_process_has_a_vm_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path, LONE) as node:
        pids = [node.spawn("app:echo", "app:isolated") for _ in range(3)]
        pids.append(ask(node, pids[0], "spawn"))
        assert len({pid[:-11] for pid in pids}) == 4
        for pid in pids:
            assert ask(node, pid, "echo", pid) == pid
            assert ask(node, pid, "call", 21) == 42
        assert sorted(row["pid"] for row in node.processes()) == sorted(pids)
        assert node.status()["processes"] == 4
        for pid in pids:
            node.send(pid, "end", 1)
            assert node.result(pid, PATIENCE) == 1
            with pytest.raises(PerdureError, match="process not found"):
                node.send(pid, "echo")
        assert node.processes() == []


@pytest.mark.parametrize("topic", ["hog", "swallow"])
def test_its_memory_is_capped_and_hurts_nobody(tmp_path: Path, topic: str) -> None:
    watcher = process("""
        local pid = process.spawn_linked_monitored("app:echo", "app:isolated")
        process.set_options({trap_links = true})
        process.send(pid, ...)
        local event = process.events():receive()
        return {event.kind, event.result.error:message()}
    """)
    with running(tmp_path, {**LONE, "watcher": watcher}) as node:
        neighbour = node.spawn("app:echo", "app:isolated")
        for host in ("app:one", "app:isolated"):
            kind, message = run(node, "app:watcher", host, topic)
            assert kind == "pid.exit"
            assert "memory" in message or "past 8000000 bytes" in message
        assert ask(node, neighbour, "echo", 1) == 1
        assert len(node.processes()) == 1


def test_hundreds_come_and_go(tmp_path: Path) -> None:
    with running(tmp_path, LONE) as node:
        pids = [node.spawn("app:echo", "app:isolated", name=f"n{n}") for n in range(200)]
        waits = [in_background(node.result, pid) for pid in pids[:100]]
        for n, pid in enumerate(pids):
            node.send(pid, "end", n)
        assert [wait.result(PATIENCE) for wait in waits] == list(range(100))
        assert [node.result(pid, PATIENCE) for pid in pids] == list(range(200))
        eventually(lambda: node.processes() == [])


def test_who_asks_while_an_end_is_being_told_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    perform = Performer.perform

    with running(tmp_path, {**LONE, "quick": process("return 7")}) as node:
        waiting = node.parts.services["app:isolated"]._results._waiting  # type: ignore[union-attr]

        def perform_behind_a_question(self: Performer, commands: list[c.Command]) -> None:
            for pid in [each.pid for each in commands if isinstance(each, c.Ended)]:
                result = in_background(node.result, pid, PATIENCE)
                asked.append(result)
                eventually(lambda result=result, pid=pid: result.done() or pid in waiting)  # type: ignore[misc]
            perform(self, commands)

        monkeypatch.setattr(Performer, "perform", perform_behind_a_question)
        for _ in range(20):
            node.spawn("app:quick", "app:isolated")
        eventually(lambda: len(asked) == 20)
        assert [each.result(PATIENCE) for each in asked] == [7] * 20


def test_messages_to_one_that_ends_are_answered(tmp_path: Path) -> None:
    """Whoever sends while the VM goes away hears something: the message is never just gone."""
    racer = process("""
        local answers = {}
        for i = 1, 40 do
          local pid = assert(process.spawn("app:ends", "app:isolated"))
          local ok, err
          repeat ok, err = process.send(pid, "x") until not ok
          answers[err:kind()] = true
        end
        return answers
    """)
    with running(tmp_path, {**LONE, "racer": racer, "ends": process("return 1")}) as node:
        racing = [node.spawn("app:racer", host) for host in ("app:one", "app:two", "app:isolated")]
        for pid in racing:
            assert node.result(pid, PATIENCE) == {Kind.NOT_FOUND: True}


def test_they_are_limited_and_stopped_like_others(tmp_path: Path) -> None:
    few = {**ISOLATED, "host": {"max_processes": 2}}
    with running(tmp_path, {**LONE, "isolated": few}) as node:
        kept = [node.spawn("app:echo", "app:isolated") for _ in range(2)]
        with pytest.raises(PerdureError, match="as many as its host"):
            node.spawn("app:echo", "app:isolated")
        node.send(kept[0], "end")
        node.result(kept[0], PATIENCE)
        kept[0] = node.spawn("app:echo", "app:isolated", name="named")
        assert node.spawn("app:echo", "app:isolated", name="named") == kept[0]
        waits = [in_background(node.result, pid) for pid in kept]
        eventually(lambda: len(node.clients._waiting) >= 2)
    assert [wait.result(PATIENCE) for wait in waits] == ["cancelled"] * 2
    assert vms(node) == 0


# What means nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["app:sink", "app:python_sink"])
def test_options_and_keys_that_mean_nothing_are_refused(tmp_path: Path, entry: str) -> None:
    spawner = process("""
        local options = {["workflow.id"] = "x", priority = 1}
        local pid, err = process.with_options(options):spawn("app:sink", "app:one")
        return {tostring(pid), err:kind(), err:message()}
    """)
    with running(tmp_path, entries("reject", spawner=spawner), {"sinks": PYTHON_SINK}) as node:
        for options in ({"workflow.id": "x"}, {"priority": 1}):
            (name,) = options
            with pytest.raises(PerdureError, match=f'no spawn option "{name}"') as refused:
                node.spawn(entry, "app:one", options=options)
            assert refused.value.kind == Kind.INVALID
        with pytest.raises(PerdureError, match="idempotency keys are for workflows"):
            node.spawn(entry, "app:one", key="once")
        pid, kind, message = run(node, "app:spawner", "app:one")
        assert (pid, kind) == ("nil", Kind.INVALID)
        assert '"priority", "workflow.id"' in message
        sink = node.spawn(entry, "app:one")
        with pytest.raises(PerdureError, match="idempotency keys are for workflows") as refused:
            node.send(sink, "n", 1, key="once")
        assert refused.value.kind == Kind.INVALID
        assert node.processes()[0]["waiting"] == 0
        node.cancel(sink, "end")
