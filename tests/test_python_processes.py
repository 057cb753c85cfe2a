"""A process in Python is a process: Lua cannot tell it from one in Lua.

Each scenario runs with a peer of either kind, and must come out the same.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import pykka
import pytest

from hosts.api import Process
from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from supervision import Node
from supervision.state import State
from tests.process_lab import PATIENCE, eventually, failure, process, run, running, write_app

#: A peer in both languages, which does what it is told.
LUA_PEER = process("""
    local first = ...
    local inbox, events = process.inbox(), process.events()
    while true do
      local got = channel.select{events:case_receive(), inbox:case_receive()}
      if got.channel == events then
        local event = got.value
        if event.kind == "pid.cancel" then return "cancelled: " .. tostring(event.reason) end
        local result = event.result
        if event.kind == "pid.link.down" then return "trapped: " .. result.error:message() end
        return "seen: " .. tostring(result.value)
      end
      local topic, payload = got.value:topic(), got.value:payload()
      local value = payload and payload:data()
      local function reply(answer) process.send(got.value:from(), "answer", answer) end
      if topic == "return" then return value end
      if topic == "raise" then error("it broke") end
      if topic == "fail" then
        local err = {message = "declined", kind = "Conflict", retryable = false, details = {n = 1}}
        error(errors.new(err))
      end
      if topic == "echo" then reply(value) end
      if topic == "first" then reply(first) end
      if topic == "who" then reply((process.pid())) end
      if topic == "register" then reply((process.registry.register(value))) end
      if topic == "monitor" then reply((process.monitor(value))) end
      if topic == "trap" then process.set_options({trap_links = true}) end
      if topic == "link" or topic == "trap" then reply((process.link(value))) end
      if topic == "context" then reply((ctx.get("user"))) end
      if topic == "send" then
        local ok, err = process.send(value, "echo", 1)
        reply(ok or err:kind())
      end
      if topic == "spawn" then
        reply((process.spawn_monitored("app:lua_peer", value, "child")))
      end
      if topic == "call" then
        local result, err = funcs.call("app:function", value)
        reply(result or err:kind())
      end
    end
""")
PYTHON_PEER = '''
import threading, time
from hosts.api import Process
from runtime.api import PerdureError, ctx, heartbeat


class Peer(Process):
    def __init__(self, first=None):
        super().__init__()
        self.first = first

    def on_message(self, topic, payload, sender):
        if topic != "answer": getattr(self, "on_" + topic)(payload, sender)

    def on_cancel(self, reason):
        self.exit(f"cancelled: {reason}")

    def on_event(self, event):
        assert event["at"].tzinfo is not None
        if event["kind"] == "pid.link.down":
            self.exit(f"trapped: {event['result']['error'].message}")
        else:
            self.exit(f"seen: {event['result'].get('value')}")

    def on_echo(self, value, sender): self.send(sender, "echo", value)
    def on_first(self, value, sender): self.send(sender, "first", self.first)
    def on_who(self, value, sender): self.send(sender, "who", self.pid)
    def on_return(self, value, sender): self.exit(value)
    def on_raise(self, value, sender): raise ValueError("it broke")
    def on_fail(self, value, sender):
        raise PerdureError("Conflict", "declined", retryable=False, details={"n": 1})

    def on_register(self, value, sender):
        self.register(value)
        self.send(sender, "ok", True)

    def on_monitor(self, value, sender):
        self.monitor(value)
        self.send(sender, "ok", True)

    def on_link(self, value, sender):
        self.link(value)
        self.send(sender, "ok", True)

    def on_trap(self, value, sender):
        self.trap_links = True
        self.on_link(value, sender)

    def on_send(self, value, sender):
        self.send(sender, "sent", self.send(value, "echo", 1) or "NotFound")

    def on_spawn(self, value, sender):
        self.send(sender, "spawned", self.spawn("app:lua_peer", value, "child", monitored=True))

    def on_call(self, value, sender):
        try:
            self.send(sender, "called", self.call("app:function", value))
        except PerdureError as error:
            self.send(sender, "called", error.kind)

    def on_context(self, value, sender): self.send(sender, "context", ctx.get("user"))


class Odd(Process):
    """Ends in all the ways that Lua has not."""

    def __init__(self, how):
        if how == "no super": return
        super().__init__()
        self.how = how
        if how == "init": raise RuntimeError("not made")
        self.gate = threading.Event()

    def on_start(self):
        if self.how == "start": raise RuntimeError("not started")
        if self.how == "start leaves": self.exit("left")

    def on_message(self, topic, payload, sender):
        if topic == "leave": raise SystemExit(3)
        if topic == "unsendable": self.exit(object())
        if topic == "busy":
            self.send(sender, "begun")
            try:
                while True:
                    heartbeat()
                    time.sleep(0.001)
            except PerdureError as error:
                STOPPED.append(error.kind)
                raise
        if topic == "waits":
            try:
                self.call("app:sleeps")
            except PerdureError as error:
                STOPPED.append(error.kind)

    def on_stop(self):
        CLOSED.append(self.how)

    def on_failure(self, *error):
        CLOSED.append(self.how)


class Deaf(Process):
    def on_message(self, topic, payload, sender): ...
    def on_cancel(self, reason): ...


class Mute(Process):
    pass


def function(value):
    if value == "raise": raise ValueError
    return value * 2

STOPPED, CLOSED = [], []
'''
ENTRIES: dict[str, dict[str, Any]] = {
    "lua_peer": LUA_PEER,
    "python_peer": {"kind": "process.python", "target": "peers:Peer"},
    "odd": {"kind": "process.python", "target": "peers:Odd"},
    "deaf": {"kind": "process.python", "target": "peers:Deaf"},
    "function": {"kind": "function.python", "target": "peers:function"},
    "sleeps": {
        "kind": "function.lua",
        "source": 'require("time").sleep("1h")',
        "modules": ["time"],
    },
}
PEERS = pytest.mark.parametrize("peer", ["app:lua_peer", "app:python_peer"])


def peers(folder: Path, **entries: dict[str, Any]) -> Any:
    return running(folder, {**ENTRIES, **entries}, {"peers": PYTHON_PEER})


def ask(node: Node, pid: str, topic: str, *payload: Any) -> Any:
    return node.actor(pid).ask((topic, *payload), timeout=PATIENCE)


@PEERS
def test_messages_arguments_and_pids(tmp_path: Path, peer: str) -> None:
    with peers(tmp_path) as node:
        pid = node.spawn(peer, "app:one", {"n": 1}, name="peer")
        assert pid.startswith("{app:one|0x")
        assert ask(node, pid, "first") == {"n": 1}
        assert ask(node, "peer", "who") == pid
        for value in (None, 1, 2.5, "text", [1, 2], {"a": {"b": True}}):
            assert ask(node, pid, "echo", value) == value
        assert [row for row in node.processes() if row["pid"] == pid] == [
            {"pid": pid, "entry": peer, "waiting": 0, "parent": "", "names": ["peer"]}
        ]
        node.send(pid, "return", "bye")
        assert node.result(pid, PATIENCE) == "bye"
        for dest in (pid, "peer"):
            with pytest.raises(PerdureError) as gone:
                node.send(dest, "echo")
            assert gone.value.kind == Kind.NOT_FOUND


WATCHER = process("""
    local peer, host, topic, value = ...
    process.set_options({trap_links = true})
    local pid = assert(process.spawn_linked_monitored(peer, host, 1))
    if topic == "terminate" then assert(process.terminate(pid))
    elseif topic == "cancel" then assert(process.cancel(pid, value))
    else assert(process.send(pid, topic, value)) end
    local seen = {}
    while true do
      local event = process.events():receive()
      local err = event.result.error
      seen[#seen + 1] = {
        kind = event.kind, value = event.result.value, own = event.from == pid, at = type(event.at),
        error = err and {err:kind(), tostring(err:retryable()), err:details() or "none"},
        text = err and err:message(),
      }
      if not err or #seen == 2 then break end
    end
    local ok, gone = process.send(pid, "echo")
    return {seen = seen, gone = gone:kind(), free = process.registry.lookup("held") == nil}
""")


@PEERS
@pytest.mark.parametrize("place", ["app:one", "app:other"])
def test_every_end_is_seen_alike(tmp_path: Path, peer: str, place: str) -> None:
    ends: dict[str, Any] = {}
    with peers(tmp_path, watcher=WATCHER) as node:
        for topic, value in (
            ("return", "fine"), ("return", None), ("raise", None), ("fail", None),
            ("terminate", None), ("cancel", "enough"),
        ):  # fmt: skip
            seen = run(node, "app:watcher", "app:one", peer, place, topic, value)
            assert seen["gone"] == Kind.NOT_FOUND
            assert seen["free"]
            assert all(each["own"] and each["at"] == "userdata" for each in seen["seen"])
            ends[f"{topic} {value}"] = sorted(
                [each["kind"], each.get("value"), each.get("error"), each.get("text")]
                for each in seen["seen"]
            )
    broke = ends.pop("raise None")
    assert [each[0] for each in broke] == ["pid.exit", "pid.link.down"]
    assert all(
        each[2] == [Kind.INTERNAL, "nil", "none"] and "it broke" in each[3] for each in broke
    )
    declined = [[Kind.CONFLICT, "false", {"n": 1}], "declined"]
    terminated = [[Kind.CANCELED, "nil", "none"], "process terminated"]
    assert ends == {
        "return fine": [["pid.exit", "fine", None, None]],
        "return None": [["pid.exit", None, None, None]],
        "fail None": [["pid.exit", None, *declined], ["pid.link.down", None, *declined]],
        "terminate None": [["pid.exit", None, *terminated], ["pid.link.down", None, *terminated]],
        "cancel enough": [["pid.exit", "cancelled: enough", None, None]],
    }


@PEERS
@pytest.mark.parametrize("place", ["app:one", "app:other"])
def test_what_it_does_itself(tmp_path: Path, peer: str, place: str) -> None:
    with peers(tmp_path) as node:
        other = node.spawn("app:lua_peer", place)
        pid = node.spawn(peer, "app:one", context={"user": "ann"})
        assert ask(node, pid, "send", other) is True
        assert ask(node, pid, "send", "nobody") == Kind.NOT_FOUND
        assert ask(node, pid, "call", 21) == 42
        assert ask(node, pid, "call", "raise") == Kind.INTERNAL
        assert ask(node, pid, "context") == "ann"
        child = ask(node, pid, "spawn", place)
        assert ask(node, child, "context") == "ann"
        assert ask(node, child, "first") == "child"
        (row,) = [row for row in node.processes() if row["pid"] == child]
        assert row["parent"] == pid
        node.send(child, "return", 7)
        assert node.result(pid, PATIENCE) == "seen: 7"


@PEERS
@pytest.mark.parametrize("other", ["app:lua_peer", "app:python_peer"])
def test_monitors_and_links(tmp_path: Path, peer: str, other: str) -> None:
    with peers(tmp_path) as node:
        for verb, topic, end in (
            ("monitor", "return", "seen: 5"),
            ("trap", "fail", "trapped: declined"),
        ):
            pid, watched = node.spawn(peer, "app:one"), node.spawn(other, "app:other")
            assert ask(node, pid, verb, watched) is True
            node.send(watched, topic, 5)
            assert node.result(pid, PATIENCE) == end
        # An untrapped link kills in both directions, and a normal end breaks it silently.
        for first in (0, 1):
            pair = [node.spawn(peer, "app:one"), node.spawn(other, "app:other")]
            assert ask(node, pair[0], "link", pair[1]) is True
            node.send(pair[first], "raise")
            assert failure(node, pair[1 - first]).message == "linked process failed"
        pid, linked = node.spawn(peer, "app:one"), node.spawn(other, "app:other")
        assert ask(node, pid, "link", linked) is True
        node.send(linked, "return", 1)
        node.result(linked, PATIENCE)
        assert ask(node, pid, "echo", "alive") == "alive"


@PEERS
def test_names(tmp_path: Path, peer: str) -> None:
    with peers(tmp_path) as node:
        pid = node.spawn(peer, "app:one")
        assert ask(node, pid, "register", "held") is True
        assert node.router.names.lookup("held") == pid
        again = node.spawn(peer, "app:one", name="held")
        assert again == pid
        node.terminate(pid)
        assert failure(node, pid).message == "process terminated"
        assert node.router.names.lookup("held") is None


@PEERS
def test_exec_and_calls(tmp_path: Path, peer: str) -> None:
    caller = process("""
        local peer, host = ...
        local builder = process.with_options({}):with_message("return", "done")
        local value, err = builder:exec(peer, host)
        return value or err:message()
    """)
    called = {**ENTRIES[peer[4:]], "meta": {"default_host": "other"}}
    with peers(tmp_path, caller=caller, called=called) as node:
        assert run(node, "app:caller", "app:one", peer, "app:other") == "done"
        with pytest.raises(PerdureError) as late:
            node.call("app:called", timeout=0.01)
        assert late.value.kind == Kind.TIMEOUT
        eventually(lambda: node.status()["processes"] == 0)


@PEERS
def test_a_service_is_kept_running(tmp_path: Path, peer: str) -> None:
    service = {
        "kind": "process.service",
        "process": peer,
        "host": "one",
        "input": ["in"],
        "lifecycle": {"auto_start": True, "restart": {"initial_delay": "1ms", "jitter": 0}},
    }
    with peers(tmp_path, service=service) as node:
        (row,) = node.processes()
        assert ask(node, row["pid"], "first") == "in"
        node.send(row["pid"], "raise")
        eventually(lambda: [r["pid"] for r in node.processes()] not in ([], [row["pid"]]))
        eventually(
            lambda: State.RUNNING in [s.state for s in node.services() if s.id == "app:service"]
        )
        node.supervisor.stop_child("app:service")
        assert node.processes() == []


def test_a_limit_on_processes_counts_both_kinds(tmp_path: Path) -> None:
    small = {"kind": "process.host", "host": {"workers": 1, "max_processes": 2}}
    with peers(tmp_path, small=small) as node:
        kept = [node.spawn(peer, "app:small") for peer in ("app:lua_peer", "app:python_peer")]
        for peer in ("app:lua_peer", "app:python_peer"):
            with pytest.raises(PerdureError, match="as many as its host"):
                node.spawn(peer, "app:small")
        assert node.status()["processes"] == 2
        node.send(kept[1], "return")
        node.result(kept[1], PATIENCE)
        assert ask(node, node.spawn("app:python_peer", "app:small"), "echo", 1) == 1


def test_a_long_chain_of_links_breaks_at_once(tmp_path: Path) -> None:
    with peers(tmp_path) as node:
        pids = [node.spawn("app:python_peer", "app:one")]
        for _ in range(300):
            pids.append(node.spawn("app:python_peer", "app:one"))
            assert ask(node, pids[-1], "link", pids[-2]) is True
        node.send(pids[0], "raise")
        assert failure(node, pids[-1]).message == "linked process failed"
        assert node.processes() == []


# What Lua has not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("init", Kind.INTERNAL, "RuntimeError: not made"),
        ("start", Kind.INTERNAL, "RuntimeError: not started"),
        ("no super", Kind.INVALID, "did not call super().__init__()"),
    ],
)
def test_one_that_cannot_begin_ends_with_an_error(
    tmp_path: Path, how: str, kind: str, text: str
) -> None:
    with peers(tmp_path) as node:
        error = failure(node, node.spawn("app:odd", "app:one", how))
        assert error.kind == kind
        assert text in error.message
        assert node.processes() == []
        assert node.result(node.spawn("app:odd", "app:one", "start leaves"), PATIENCE) == "left"


@pytest.mark.parametrize(
    ("topic", "kind", "text"),
    [
        ("leave", Kind.INTERNAL, "SystemExit: 3"),
        ("unsendable", Kind.INVALID, "a value of type object cannot be sent"),
    ],
)
def test_odd_ends_hurt_only_themselves(tmp_path: Path, topic: str, kind: str, text: str) -> None:
    with peers(tmp_path) as node:
        neighbour = node.spawn("app:python_peer", "app:one")
        pid = node.spawn("app:odd", "app:one", topic)
        node.send(pid, topic)
        error = failure(node, pid)
        assert error.kind == kind
        assert text in error.message
        assert ask(node, neighbour, "echo", 1) == 1


@pytest.mark.parametrize("topic", ["busy", "waits"])
def test_a_terminated_one_that_is_at_work_learns_of_it(tmp_path: Path, topic: str) -> None:
    with peers(tmp_path) as node:
        module = importlib.import_module("peers")
        pid = node.spawn("app:odd", "app:one", topic)
        if topic == "busy":
            node.actor(pid).ask(("busy",), timeout=PATIENCE)
        else:
            node.send(pid, topic)
            eventually(lambda: node.processes()[0]["waiting"] == 0)
        node.terminate(pid)
        assert failure(node, pid).message == "process terminated"
        eventually(lambda: module.STOPPED == [Kind.CANCELED])
        eventually(lambda: [topic] == module.CLOSED)


def test_the_end_of_the_node_asks_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slow = {"kind": "process.host", "lifecycle": {"auto_start": True, "stop_timeout": "100ms"}}
    ends: list[Any] = []
    with peers(tmp_path, slow=slow) as node:
        pids = [node.spawn("app:python_peer", "app:slow"), node.spawn("app:deaf", "app:slow")]
        waits = [_in_thread(ends, node, pid) for pid in pids]
        eventually(lambda: len(node.clients._waiting) >= 2)
    for wait in waits:
        wait.join(PATIENCE)
    assert sorted(ends) == ["cancelled: the node stops", "process terminated"]
    assert "app:slow: 1 of its processes did not end within" in caplog.text
    eventually(lambda: not any(each.name.startswith("app:") for each in threading.enumerate()))


def _in_thread(ends: list[Any], node: Node, pid: str) -> threading.Thread:
    def wait() -> None:
        try:
            ends.append(node.result(pid))
        except PerdureError as error:
            ends.append(error.message)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_it_is_a_pykka_actor(tmp_path: Path) -> None:
    with peers(tmp_path) as node:
        pid = node.spawn("app:python_peer", "app:one", "x")
        assert ask(node, pid, "first") == "x"
        own: Any = pykka.ActorRegistry.get_by_urn(pid)
        assert own is not None
        assert own.proxy().first.get(timeout=PATIENCE) == "x"
        assert own.stop(timeout=PATIENCE)
        assert node.result(pid, PATIENCE) is None
        assert pykka.ActorRegistry.get_by_urn(pid) is None


def test_outside_of_a_node_it_says_so() -> None:
    class Alone(Process):
        def on_message(self, topic: str, payload: Any, sender: str) -> None: ...

    with pytest.raises(PerdureError, match="outside of a node"):
        Alone().send("x", "y")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("peers:function", "is no process: make it a subclass of hosts.api.Process"),
        ("peers:Mute", "has no method on_message"),
        ("peers:Per", 'did you mean "Peer"?'),
    ],
)
def test_a_wrong_target_is_a_configuration_error(tmp_path: Path, target: str, text: str) -> None:
    app = write_app(
        tmp_path, {"wrong": {"kind": "process.python", "target": target}}, {"peers": PYTHON_PEER}
    )
    with pytest.raises(ConfigurationError) as refused:
        Node.from_path(app)
    assert text in str(refused.value)
