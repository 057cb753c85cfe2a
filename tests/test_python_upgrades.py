"""A process in Python has the event bus, hears of new code, and goes on with it as one in Lua."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.modules.events import QUEUED
from runtime.config.loader import load
from runtime.errors import Kind, PerdureError
from supervision import Node
from supervision.terminal import program_named
from tests.process_lab import PATIENCE, eventually, failure, process, run, running, write_app

ACTORS = """
import threading
from hosts.api import Process
from runtime.api import PerdureError, ctx

GATE = threading.Event()

class Listener(Process):
    def __init__(self, *patterns):
        super().__init__()
        self.patterns, self.got = patterns, []

    def on_start(self):
        self.subscription = self.subscribe(*self.patterns)

    def on_published(self, event):
        if event.kind == "gate": GATE.wait(30)
        if event.kind == "leave": return self.exit(len(self.got))
        if event.kind == "raise": raise ValueError("it broke")
        self.got.append([event.system, event.kind, event.path, event.data])

    def on_message(self, topic, payload, sender):
        if topic == "got": self.send(sender, "got", self.got)
        if topic == "dropped":
            self.send(sender, "dropped", [len(self.got), self.subscription.dropped])
        if topic == "close": self.send(sender, "closed", [self.subscription.close() for _ in "12"])
        if topic == "publish": self.send(sender, "done", self.publish(*payload))
        if topic == "try":
            try: self.subscribe(payload)
            except PerdureError as error: self.send(sender, "failed", error.kind)

class Counter(Process):
    upgradable = True
    STEP = 1

    def __init__(self, count=0):
        super().__init__()
        self.count = count

    def on_start(self):
        if self.count == "broken": raise ValueError("it broke")
        if self.count == "gone": self.exit("gone")

    def on_message(self, topic, payload, sender):
        if topic == "wait": GATE.wait(30)
        if topic == "link": self.link(payload)
        if topic == "add":
            self.count += self.STEP
            self.send(sender, "count", [self.count, self.pid, ctx.get("user")])
        if topic == "upgrade":
            try: self.upgrade(*(payload or [None, self.count]))
            except PerdureError as error: self.send(sender, "no", [error.kind, error.message])

    def on_event(self, event):
        if event["kind"] == "pid.outdated":
            assert event["from"] == self.pid and event["at"].tzinfo is not None
            self.send("log", "outdated", event["sources"])

class Other(Counter):
    STEP = 100
"""
ENTRIES: dict[str, dict[str, Any]] = {
    "listener": {"kind": "process.python", "target": "actors:Listener"},
    "counter": {"kind": "process.python", "target": "actors:Counter"},
    "other_counter": {"kind": "process.python", "target": "actors:Other"},
    "f": {"kind": "function.python", "target": "actors:threading.Event"},
    "tells": process("return (require('events').send(...))", modules=["events"]),
    "hears": process("""
        local sub = require("events").subscribe("python")
        process.registry.register("hears")
        local event = sub:channel():receive()
        return {event.kind, event.path, event.data}
    """, modules=["events"]),
    "log": process("""
        process.registry.register("log")
        local first = process.inbox():receive()
        return first:payload():data()
    """),
    "linked": process("process.inbox():receive() error('it broke')"),
}  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, ENTRIES, {"actors": ACTORS}) as node:
        yield node


def ask(node: Node, pid: str, topic: str, *payload: Any) -> Any:
    return node.actor(pid).ask((topic, *payload), timeout=PATIENCE)


def actors() -> Any:
    import actors  # type: ignore[import-not-found]

    return actors


def test_events_of_the_bus_come_and_go(node: Node) -> None:
    pid = node.spawn("app:listener", "app:one", "orders", "order.*")
    assert ask(node, pid, "got") == []
    assert run(node, "app:tells", "app:two", "orders", "order.made", "7", {"n": [1, None]})
    node.events.publish("orders", "stock.low", "apples")
    node.events.publish("orders", "order.paid", "7")
    eventually(lambda: len(ask(node, pid, "got")) == 2)
    assert ask(node, pid, "got") == [
        ["orders", "order.made", "7", {"n": [1]}],
        ["orders", "order.paid", "7", None],
    ]
    hears = node.spawn("app:hears", "app:other")
    eventually(lambda: node.router.lookup("hears") is not None)
    ask(node, pid, "publish", "python", "says", "hello", {"n": 1})
    assert node.result(hears, PATIENCE) == ["says", "hello", {"n": 1}]
    assert ask(node, pid, "try", "or.**.de(rs") == Kind.INVALID
    assert ask(node, pid, "try", 5) == Kind.INVALID
    assert ask(node, pid, "close") == [True, False]
    node.events.publish("orders", "order.paid", "8")
    assert len(ask(node, pid, "got")) == 2
    assert node.events._slots == {}


@pytest.mark.parametrize("end", ["leave", "raise", "terminate"])
def test_its_subscriptions_end_with_it(node: Node, end: str) -> None:
    pid = node.spawn("app:listener", "app:one", "orders")
    ask(node, pid, "got")
    if end == "terminate":
        node.terminate(pid)
    else:
        for kind in ("first", end, "last"):
            node.events.publish("orders", kind, "7")
    if end == "leave":
        assert node.result(pid, PATIENCE) == 1
    else:
        failure(node, pid)
    assert node.events._slots == {}


def test_one_that_is_slow_loses_the_oldest_and_sees_it(node: Node) -> None:
    pid = node.spawn("app:listener", "app:one", "orders")
    ask(node, pid, "got")
    node.events.publish("orders", "gate", "1")
    eventually(lambda: node.events._slots[pid, 1]._ready is False)
    for number in range(QUEUED + 10):
        node.events.publish("orders", "made", str(number))
    actors().GATE.set()
    eventually(lambda: ask(node, pid, "dropped") == [QUEUED + 1, 10])
    assert ask(node, pid, "got")[1][2] == "10"


def test_an_upgrade_keeps_all_but_the_code(node: Node) -> None:
    pid = node.spawn("app:counter", "app:one", 5, name="it", context={"user": "ann"})
    linked = node.spawn("app:linked", "app:other")
    node.send(pid, "link", linked)
    assert ask(node, "it", "add") == [6, pid, "ann"]
    node.send(pid, "wait")
    node.send(pid, "upgrade", ["app:other_counter", 6])
    waiting = node.actor(pid).ask(("add",), block=False)
    node.send(pid, "add")
    actors().GATE.set()
    assert waiting.get(timeout=PATIENCE) == [106, pid, "ann"]
    assert ask(node, "it", "add") == [306, pid, "ann"]
    assert [row["entry"] for row in node.processes() if row["pid"] == pid] == ["app:other_counter"]
    node.send(linked, "go")
    assert failure(node, pid).message == "linked process failed"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (["app:nothing"], Kind.NOT_FOUND),
        (["app:log"], Kind.NOT_FOUND),
        (["app:f"], Kind.INVALID),
    ],
)
def test_an_upgrade_that_cannot_be_says_so(node: Node, payload: list[Any], kind: str) -> None:
    pid = node.spawn("app:counter", "app:one")
    told = ask(node, pid, "upgrade", payload)
    assert told[0] == kind
    assert payload[0] in told[1]
    assert ask(node, pid, "add")[0] == 1


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_a_successor_that_ends_is_the_end(node: Node, how: str) -> None:
    pid = node.spawn("app:counter", "app:one")
    node.send(pid, "upgrade", [None, how])
    if how == "gone":
        assert node.result(pid, PATIENCE) == "gone"
    else:
        assert "it broke" in failure(node, pid).message
    with pytest.raises(PerdureError, match="process not found"):
        node.send(pid, "add")


def test_new_code_is_told_and_taken(node: Node, tmp_path: Path) -> None:
    pid = node.spawn("app:counter", "app:one", 1)
    assert ask(node, pid, "add")[0] == 2
    log = node.spawn("app:log", "app:one")
    eventually(lambda: node.router.lookup("log") is not None)
    changes = node.registry.changes().update({"id": "app:tells", "data": {"source": "return 1"}})
    node.registry.apply(changes)
    text = ACTORS.replace("STEP = 1\n", "STEP = 10\n")
    write_app(tmp_path, ENTRIES, {"actors": text})
    changes = node.registry.changes()
    changes.update({"id": "app:counter", "data": {"target": "actors:Counter"}})
    node.registry.apply(changes)
    assert node.result(log, PATIENCE) == ["app:counter"]
    assert ask(node, pid, "add")[0] == 3
    node.send(pid, "upgrade")
    assert ask(node, pid, "add")[0] == 13


def test_it_is_no_program(tmp_path: Path) -> None:
    meta = {"command": {"name": "count"}}
    entries = {"counter": {**ENTRIES["counter"], "meta": meta}}
    registry = load(write_app(tmp_path, entries, {"actors": ACTORS})).registry
    with pytest.raises(PerdureError, match="is that of app:counter, a process"):
        program_named(registry, "count")
