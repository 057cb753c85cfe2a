"""process.upgrade and new definitions, in one machine; no host is asked."""

from __future__ import annotations

from typing import Any

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode_args
from runtime.errors import Kind
from runtime.lua.machine import Definition
from tests.machine_harness import EPOCH, Node, entry, error_of

COUNTER = """
    local count = ...
    local inbox = process.inbox()
    while true do
      local msg = inbox:receive()
      if msg:topic() == "upgrade" then return process.upgrade(nil, count) end
      count = count + STEP
      process.send(msg:from(), "count", count, process.pid())
    end
"""


def counter(step: int) -> Definition:
    return entry(COUNTER.replace("STEP", str(step)))


def told(node: Node) -> list[Any]:
    return [decode(command.args) for command in node.of(c.Send)]


def redefine(node: Node, **sources: str | Definition) -> None:
    node.machine.define(
        {
            f"app:{name}": source if isinstance(source, Definition) else entry(source)
            for name, source in sources.items()
        }
    )


def test_an_upgrade_runs_the_new_code_under_the_same_pid() -> None:
    node = Node({"counter": counter(1)})
    pid = node.start("counter", 0)
    node.send(pid, "add")
    node.answer(node.last(c.Send))
    redefine(node, counter=counter(10))
    node.send(pid, "add")
    node.answer(node.last(c.Send))
    node.send(pid, "upgrade")
    node.send(pid, "add")
    assert told(node) == [[1, pid], [2, pid], [12, pid]]
    assert node.alive(pid)
    assert [(each.pid, each.entry) for each in node.of(c.Upgrade)] == [(pid, "app:counter")]


def test_what_was_not_received_waits_for_the_new_code() -> None:
    node = Node(
        {
            "old": """
                process.listen("raw")
                process.listen("whole", {message = true})
                process.events()
                local inbox = process.inbox()
                while inbox:receive():topic() ~= "go" do end
                process.upgrade("app:new")
            """,
            "new": """
                local found = {}
                local inbox, raw = process.inbox(), process.listen("raw")
                for _ = 1, 2 do
                  local msg = inbox:receive()
                  found[#found + 1] = {msg:topic(), msg:from(), msg:payload():data()}
                end
                found[#found + 1] = (raw:receive())
                found[#found + 1] = (raw:receive())
                found[#found + 1] = (process.events():receive()).kind
                return found
            """,
        }
    )
    pid = node.start("old")
    node.step()
    node.step(
        inputs.message(pid, "raw", "{test|1}", b"\x91\x01"),
        inputs.message(pid, "raw", "{test|1}", b"\x91\x02"),
        inputs.message(pid, "whole", "{test|1}", b"\x91\x03"),
        inputs.message(pid, "go", "{test|1}", b"\x90"),
        inputs.message(pid, "later", "{test|1}", b"\x91\x04"),
        inputs.control(pid, "cancel", "", None),
    )
    assert node.result(pid) == [
        ["later", "{test|1}", 4], ["whole", "{test|1}", 3], 1, 2, "pid.cancel"
    ]  # fmt: skip


def test_links_monitors_options_and_context_stay() -> None:
    node = Node(
        {
            "main": """
                local pid = process.with_context{who = "ann"}:spawn_linked_monitored(
                  "app:old", "app:processes")
                process.set_options{trap_links = true}
                local kinds = {}
                for _ = 1, 2 do
                  local event = process.events():receive()
                  kinds[#kinds + 1] = event.kind .. " " .. tostring(event.from == pid)
                end
                table.sort(kinds)
                return kinds, nil
            """,
            "old": "process.set_options{trap_links = true} process.upgrade('app:new', 7)",
            "new": """
                local n = ...
                assert(n == 7 and process.get_options().trap_links)
                assert(require("ctx").get("who") == "ann")
                error("the end")
            """,
        }
    )
    assert node.run("main") == ["pid.exit true", "pid.link.down true"]


def test_what_the_old_code_had_under_way_ends_with_it() -> None:
    node = Node(
        {
            "old": """
                local time, funcs = require("time"), require("funcs")
                coroutine.spawn(function() time.sleep("1h"); print("old timer") end)
                coroutine.spawn(function() process.inbox():receive(); print("old receive") end)
                coroutine.spawn(function() print(funcs.call("app:slow")) end)
                coroutine.wrap(function() process.upgrade("app:new") end)()
                print("unreachable")
            """,
            "new": "print('new', process.inbox():receive():topic()) process.inbox():receive()",
            "slow": entry("process.inbox():receive()", "function.lua"),
        }
    )
    pid = node.start("old")
    node.step()
    (timer,) = node.of(c.StartTimer)
    node.answer(timer)
    node.send(pid, "hello")
    assert node.logged() == ["new\thello"]
    assert node.alive(pid)


WRONG = {
    "no such entry": ('return process.upgrade("app:none")', Kind.NOT_FOUND, "app:none"),
    "a function": ('return process.upgrade("app:f")', Kind.INVALID, "app:f is a function.lua"),
    "no id": ("return process.upgrade(5)", Kind.INVALID, "namespace:name"),
    "from a function": ('return require("funcs").call("app:f")', Kind.INVALID, "only a process"),
    "an argument": ("return process.upgrade(nil, setmetatable({}, {}), {[{}] = 1})",
                    Kind.INVALID, "key"),
}  # fmt: skip


def test_an_upgrade_that_cannot_be_leaves_the_process_as_it_is() -> None:
    for source, kind, text in WRONG.values():
        node = Node({"main": source, "f": entry("return process.upgrade(nil)", "function.lua")})
        error = error_of(lambda node=node: node.run("main"))  # type: ignore[misc]
        assert error.kind == kind
        assert text in error.message


LIBRARY = "return {version = function() return %d end}"


def test_a_call_under_way_keeps_its_libraries_and_a_new_one_has_the_new() -> None:
    node = Node(
        {
            "main": entry(
                "process.inbox():receive() return outer.version()", imports={"outer": "app:outer"}
            ),
            "outer": entry(
                "return {version = function() return inner.version() end}",
                "library.lua",
                imports={"inner": "app:inner"},
            ),
            "inner": entry(LIBRARY % 1, "library.lua"),
        }
    )
    old = node.start("main")
    node.step()
    redefine(node, inner=entry(LIBRARY % 2, "library.lua"))
    new = node.start("main")
    node.send(old, "go")
    node.send(new, "go")
    assert (node.result(old), node.result(new)) == (1, 2)


def test_who_asked_for_it_hears_that_its_code_changed() -> None:
    node = Node(
        {
            "main": entry(
                """
                process.set_options{upgradable = ...}
                while true do
                  local event = process.events():receive()
                  print(event.kind == process.event.OUTDATED, table.concat(event.sources, " "))
                end
                """,
                imports={"lib": "app:lib"},
            ),
            "lib": entry(LIBRARY % 1, "library.lua"),
            "other": "return 1",
        }
    )
    node.start("main", True)
    node.start("main", False)
    node.step()
    redefine(node, other="return 2")
    redefine(node, lib=entry(LIBRARY % 2, "library.lua"))
    redefine(node, main="return 3", lib=entry(LIBRARY % 3, "library.lua"), other="return 3")
    node.step()
    assert node.logged() == ["true\tapp:lib", "true\tapp:lib app:main"]


def test_what_is_gone_starts_no_more_and_runs_on() -> None:
    node = Node({"main": "return process.inbox():receive():topic()"})
    pid = node.start("main")
    node.machine.define({}, ["app:main"])
    node.send(pid, "end")
    assert node.result(pid) == "end"
    assert error_of(lambda: node.start("main")).kind == Kind.NOT_FOUND


def test_an_event_that_was_carried_on_is_an_event_again() -> None:
    node = Node(
        {
            "main": """
        local event, msg = process.events():receive(), process.inbox():receive()
        return {event.kind, event.at:unix(), msg:topic(), msg:payload():data()}
    """
        }
    )
    event = {"kind": "pid.cancel", "from": "", "at": EPOCH}
    for how in ("messages", "carried"):
        given = {how: [("@event", encode_args([event]), ""), ("n", encode_args([1]), "")]}
        assert node.run("main", **given) == ["pid.cancel", EPOCH // 10**9, "n", 1]
        node.commands.clear()
