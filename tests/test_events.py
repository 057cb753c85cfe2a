"""The event bus: who gets which event, in functions, processes and Python; what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.modules.events import QUEUED, Event, EventBus
from hosts.modules.patterns import Pattern
from runtime.errors import Kind, PerdureError
from runtime.routing.router import Router
from supervision.node import Node
from tests.durable_lab import durable_app
from tests.process_lab import PATIENCE, eventually, function, process, run, running
from tests.test_process_vm_lost import DEAF, HOST, blow_up

MODULES = ["events", "funcs", "time"]

MATCHES = [
    ("orders", "orders", True),
    ("orders", "order", False),
    ("order.created", "order.created", True),
    ("order.created", "order", False),
    ("*", "orders", True),
    ("*", "order.created", False),
    ("order.*", "order.created", True),
    ("order.*", "order", False),
    ("order.*", "order.line.added", False),
    ("*.created", "order.created", True),
    ("**", "order.line.added", True),
    ("order.**", "order", True),
    ("order.**", "order.line.added", True),
    ("**.added", "order.line.added", True),
    ("**.added", "added", True),
    ("order.**.added", "order.added", True),
    ("order.**.added", "order.a.b.added", True),
    ("order.**.added", "order.a.b.removed", False),
    ("order.(created|paid)", "order.paid", True),
    ("order.(created|paid)", "order.lost", False),
    ("(a|b).*", "b.x", True),
    ("**.**.x", "x", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_a_pattern_means_these_names(pattern: str, name: str, expected: bool) -> None:
    assert Pattern(pattern).matches(name) is expected


@pytest.mark.parametrize("text", ["", "order.", ".x", "order.cre*", "(a|b", "(|a)", "a|b", "***"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(PerdureError) as raised:
        Pattern(text)
    assert raised.value.kind == Kind.INVALID
    assert f'"{text}"' in raised.value.message


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not Pattern("**.a." * 200 + "b").matches("a." * 400 + "c")


# Python -------------------------------------------------------------------------------------------


def test_python_gets_what_it_subscribed_to_in_order() -> None:
    bus = EventBus(Router())
    with bus.subscribe("orders", "order.*") as events:
        bus.publish("orders", "order.created", "order-7", {"total": 5})
        bus.publish("orders", "stock.low", "apples")
        bus.publish("other", "order.created", "order-8")
        bus.publish("orders", "order.paid", "order-7")
        assert events.get(0) == Event("orders", "order.created", "order-7", {"total": 5})
        assert events.get(0) == Event("orders", "order.paid", "order-7", None)
        with pytest.raises(PerdureError) as raised:
            events.get(0)
        assert raised.value.kind == Kind.TIMEOUT
    bus.publish("orders", "order.created", "order-9")
    assert list(events) == []


def test_a_slow_subscriber_loses_the_oldest_and_sees_how_many() -> None:
    bus = EventBus(Router())
    with bus.subscribe("load") as events:
        for number in range(QUEUED + 10):
            bus.publish("load", "tick", str(number))
        assert events.dropped == 10
        events.close()
        assert [event.path for event in events] == [str(n) for n in range(10, QUEUED + 10)]


def test_an_event_without_kind_is_refused() -> None:
    with pytest.raises(PerdureError) as raised:
        EventBus(Router()).publish("orders", "", "x")
    assert raised.value.kind == Kind.INVALID


# Lua ----------------------------------------------------------------------------------------------

ENTRIES = {
    "listener": process(
        """
        local events, time = require("events"), require("time")
        local parent, system, kind, count = ...
        local sub = assert(events.subscribe(system, kind))
        process.send(parent, "ready")
        local got = {}
        for i = 1, count do
            local event = sub:channel():receive()
            local n = event.data and event.data.n or "-"
            got[i] = event.system .. " " .. event.kind .. " " .. event.path .. " " .. n
        end
        return got
        """,
        modules=MODULES,
    ),
    "teller": process(
        """
        local events = require("events")
        local children = {}
        for _, host in ipairs({ "app:one", "app:two", "app:other" }) do
            local child = assert(process.spawn_monitored(
                "app:listener", host, process.pid(), "orders.*", "order.**", 3
            ))
            process.inbox():receive()
            children[child] = host
        end
        assert(events.send("orders.eu", "order.created", "order-7", { n = 1 }))
        assert(events.send("stock", "order.created", "order-7", { n = 2 }))
        assert(events.send("orders.us", "order.line.added", "order-8"))
        assert(events.send("orders.us", "order", "order-8", { n = 4 }))
        local results = {}
        for i = 1, 3 do
            local exit = process.events():receive()
            results[children[exit.from]] = exit.result.value
        end
        return results
        """,
        modules=MODULES,
    ),
    "counts": process(
        """
        local events = require("events")
        local sub = assert(events.subscribe("load"))
        process.send(..., "ready")
        local message = process.inbox():receive()
        local received = 0
        local ch = sub:channel()
        while true do
            local event = channel.select{ ch:case_receive(), default = true }
            if event.default then break end
            received = received + 1
        end
        return { received, sub:dropped() }
        """,
        modules=MODULES,
    ),
    "closes": process(
        """
        local events = require("events")
        local sub = assert(events.subscribe("x"))
        assert(events.send("x", "one", "p"))
        local closed, again = sub:close(), sub:close()
        assert(events.send("x", "two", "p"))
        local first, ok = sub:channel():receive()
        local second, more = sub:channel():receive()
        return { closed, again, first.kind, ok, second == nil, more }
        """,
        modules=MODULES,
    ),
    "holds": process(
        """
        local sub = assert(require("events").subscribe(...))
        process.inbox():receive()
        """,
        modules=MODULES,
    ),
    "listens": function(
        """
        local events = require("events")
        local sub = assert(events.subscribe("f"))
        assert(events.send("f", "made", "p", ...))
        return sub:channel():receive().data
        """,
        modules=MODULES,
    ),
    "calls": process(
        'return require("funcs").call("app:listens", ...)', modules=MODULES
    ),
    "wrong": process(
        """
        local events, wrong = require("events"), {}
        for i, call in ipairs({
            function() return events.send("", "k", "p") end,
            function() return events.send("s", 5, "p") end,
            function() return events.send("s", "k") end,
            function() return events.send("s", "k", "p", { [{}] = 1 }) end,
            function() return events.subscribe() end,
            function() return events.subscribe("s", "") end,
            function() return events.subscribe("s", "a*b") end,
        }) do
            local value, err = call()
            wrong[i] = { value == nil, err:kind(), err:message() }
        end
        return wrong
        """,
        modules=MODULES,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running(tmp_path_factory.mktemp("events"), ENTRIES) as node:
        yield node


def subscribers(node: Node) -> int:
    return len(node.events._subscribers)


def test_processes_of_every_host_get_what_matches_in_order(node: Node) -> None:
    expected = [
        "orders.eu order.created order-7 1",
        "orders.us order.line.added order-8 -",
        "orders.us order order-8 4",
    ]
    told = run(node, "app:teller", "app:one")
    assert told == dict.fromkeys(("app:one", "app:two", "app:other"), expected)


def test_a_function_gets_its_own_events_called_inline_and_from_python(node: Node) -> None:
    assert run(node, "app:calls", "app:one", {"a": [1, 2.5]}) == {"a": [1, 2.5]}
    assert node.call("app:listens", "x", timeout=PATIENCE) == "x"
    eventually(lambda: subscribers(node) == 0)


def test_events_cross_between_python_and_lua(node: Node) -> None:
    with node.events.subscribe("f", "made") as events:
        node.call("app:listens", {"deep": {"er": [1]}}, timeout=PATIENCE)
        assert events.get(PATIENCE) == Event("f", "made", "p", {"deep": {"er": [1]}})


def test_a_closed_subscription_hands_out_what_waits_and_no_more(node: Node) -> None:
    assert run(node, "app:closes", "app:one") == [True, False, "one", True, True, False]


def test_a_process_that_does_not_look_loses_the_oldest_and_can_tell(node: Node) -> None:
    ready = threading.Event()
    mailbox = node.clients.mailbox(lambda message: ready.set())
    pid = node.spawn("app:counts", "app:one", mailbox)
    assert ready.wait(PATIENCE)
    total = 5 * QUEUED
    for number in range(total):
        node.events.publish("load", "tick", str(number))
    node.send(pid, "look")
    received, dropped = node.result(pid, PATIENCE)
    assert received <= QUEUED
    assert received > 0
    # What was still in the bus when it looked is neither.
    assert total - QUEUED <= received + dropped <= total


@pytest.mark.parametrize("end", ["terminate", "cancel", "message"])
def test_a_subscription_goes_with_its_process(node: Node, end: str) -> None:
    pid = node.spawn("app:holds", "app:one", "held")
    eventually(lambda: subscribers(node) == 1)
    if end == "message":
        node.send(pid, "go on")
    else:
        node.terminate(pid)
    eventually(lambda: subscribers(node) == 0)


def test_a_subscription_goes_with_its_host(tmp_path: Path) -> None:
    with running(tmp_path, ENTRIES) as node:
        node.spawn("app:holds", "app:one", "held")
        eventually(lambda: subscribers(node) == 1)
        node.supervisor.stop_child("app:one")
        eventually(lambda: subscribers(node) == 0)


def test_a_subscription_goes_with_its_vm(tmp_path: Path) -> None:
    with running(tmp_path, {**ENTRIES, "small": HOST, "deaf": DEAF}) as node:
        node.spawn("app:holds", "app:small", "held")
        node.spawn("app:holds", "app:one", "held")
        eventually(lambda: subscribers(node) == 2)
        blow_up(node)
        eventually(lambda: subscribers(node) == 1)


def test_wrong_arguments_are_invalid(node: Node) -> None:
    wrong = run(node, "app:wrong", "app:one")
    assert [each[:2] for each in wrong] == [[True, "Invalid"]] * len(wrong)
    texts = [each[2] for each in wrong]
    assert texts[0] == 'events.send: system must be a text, got ""'
    assert texts[2] == "events.send: path must be a text, got nil"
    assert texts[5] == 'events.subscribe: kind must be a text, got ""'
    assert '"a*b" is not a pattern' in texts[6]


INLINE = """
- name: hears
  kind: function.lua
  modules: [events, store]
  source: |
    local sub = assert(require("events").subscribe("f"))
    assert(require("events").send("f", "made", "p", ...))
    local kv = assert(require("store").get("app:kv"))
    assert(kv:set("heard", sub:channel():receive().data))
    return kv:get("heard")
- {name: kv, kind: store.lmdb, path: ./data/kv}
"""


def test_a_function_does_it_for_a_workflow_in_the_workflow_s_vm(tmp_path: Path) -> None:
    app = durable_app(
        tmp_path / "app", {"main": 'return funcs.call("app:hears", "x")'}, entries=INLINE
    )
    with Node.from_path(app) as node:
        assert node.result(node.spawn("app:main", "app:orders"), PATIENCE) == "x"
        eventually(lambda: subscribers(node) == 0)


def test_a_workflow_is_told_to_call_a_function(tmp_path: Path) -> None:
    source = """
    local events = require("events")
    local found = {}
    for i, call in ipairs({
        function() return events.send("s", "k", "p") end,
        function() return events.subscribe("s") end,
    }) do
        local value, err = call()
        found[i] = value == nil and err:kind() .. ": " .. err:message()
    end
    return found
    """
    app = durable_app(tmp_path / "app", {"main": source})
    with Node.from_path(app) as node:
        found: Any = node.result(node.spawn("app:main", "app:orders"), PATIENCE)
    assert found == [
        f"Invalid: events.{name}: not supported in workflow context: call a function that does it"
        for name in ("send", "subscribe")
    ]
