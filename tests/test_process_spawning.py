"""process.spawn and its variants, exec, and the builder, over VMs and hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from tests.process_lab import PATIENCE, PLACES, WAITER, failure, function, process, run, running

QUITTER = process("""
    local outcome = ...
    if outcome == "raise" then error("it broke") end
    return outcome
""")


@pytest.mark.parametrize("place", PLACES)
def test_a_spawned_process_has_a_pid_on_its_host(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        local pid, err = process.spawn("app:child", host, 1, "two", {three = 3})
        return {pid, err == nil, process.pid()}
    """)
    child = process("""
        local a, b, c = ...
        return {process.pid(), process.id(), a, b, c.three}
    """)
    with running(tmp_path, {"parent": parent, "child": child}) as node:
        pid, fine, own = run(node, "app:parent", first, second)
        assert fine
        assert pid != own
        assert pid.startswith(f"{{{second}|0x")
        assert node.result(pid, PATIENCE) == [pid, "app:child", 1, "two", 3]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("outcome", ["raise", "done"])
def test_a_monitor_is_in_place_before_the_first_step(
    tmp_path: Path, place: str, outcome: str
) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host, outcome = ...
        local pid = process.spawn_monitored("app:quitter", host, outcome)
        local event = process.events():receive()
        return {event.kind, event.from == pid, event.result.value or event.result.error:message()}
    """)
    with running(tmp_path, {"parent": parent, "quitter": QUITTER}) as node:
        kind, from_child, result = run(node, "app:parent", first, second, outcome)
    assert kind == "pid.exit"
    assert from_child
    assert ("it broke" in result) if outcome == "raise" else (result == "done")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spawn", ["spawn_linked", "spawn_linked_monitored"])
def test_a_link_is_in_place_before_the_first_step(tmp_path: Path, place: str, spawn: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host, spawn = ...
        process[spawn]("app:quitter", host, "raise")
        process.inbox():receive()
    """)
    with running(tmp_path, {"parent": parent, "quitter": QUITTER}) as node:
        error = failure(node, node.spawn("app:parent", first, second, spawn))
    assert error.message == "linked process failed"


@pytest.mark.parametrize("place", PLACES)
def test_a_parent_that_traps_links_hears_of_both(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        process.set_options({trap_links = true})
        process.spawn_linked_monitored("app:quitter", host, "raise")
        local kinds = {}
        for i = 1, 2 do kinds[process.events():receive().kind] = true end
        return kinds
    """)
    with running(tmp_path, {"parent": parent, "quitter": QUITTER}) as node:
        kinds = run(node, "app:parent", first, second)
    assert kinds == {"pid.exit": True, "pid.link.down": True}


@pytest.mark.parametrize("place", PLACES)
def test_a_linked_child_ends_with_its_parent(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host, to = ...
        local pid = process.spawn_linked("app:waiter", host)
        process.send(to, "pid", pid)
        process.inbox():receive()
        error("the parent broke")
    """)
    relay = process("return process.inbox():receive():payload():data()")
    entries = {"parent": parent, "waiter": WAITER, "relay": relay}
    with running(tmp_path, entries) as node:
        to = node.spawn("app:relay", "app:one")
        own = node.spawn("app:parent", first, second, to)
        child = node.result(to, PATIENCE)
        node.send(own, "go")
        assert failure(node, child).message == "linked process failed"


@pytest.mark.parametrize("place", PLACES)
def test_exec_waits_for_the_result(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        local value, none = process.exec("app:quitter", host, {answer = 42})
        local nothing, err = process.exec("app:quitter", host, "raise")
        return {value.answer, none == nil, nothing == nil, err:kind(), err:message()}
    """)
    with running(tmp_path, {"parent": parent, "quitter": QUITTER}) as node:
        answer, fine, nothing, kind, message = run(node, "app:parent", first, second)
    assert (answer, fine, nothing, kind) == (42, True, True, Kind.INTERNAL)
    assert "it broke" in message


@pytest.mark.parametrize(
    ("entry", "host", "kind", "text"),
    [
        ("app:none", "app:one", Kind.NOT_FOUND, "app:none does not exist"),
        ("app:f", "app:one", Kind.INVALID, "app:f is a function.lua"),
        ("app:waiter", "app:nowhere", Kind.NOT_FOUND, "host not found"),
        ("app:waiter", "app:idle", Kind.UNAVAILABLE, "is not running"),
        ("app:waiter", "python", Kind.INVALID, "python is not a host"),
        ("waiter", "app:one", Kind.INVALID, "namespace:name"),
        ("app:waiter", "functions", Kind.INVALID, "functions is not a host"),
    ],
)
def test_spawns_that_are_refused(
    tmp_path: Path, entry: str, host: str, kind: str, text: str
) -> None:
    parent = process("""
        local entry, host = ...
        local found = {}
        for _, name in ipairs{"spawn", "spawn_monitored", "exec"} do
          local pid, err = process[name](entry, host)
          found[#found + 1] = {pid == nil, err:kind(), err:message()}
        end
        return found
    """)
    idle = {"kind": "process.host", "lifecycle": {"auto_start": False}}
    entries = {"parent": parent, "waiter": WAITER, "f": function("return 1"), "idle": idle}
    with running(tmp_path, entries) as node:
        for refused, told, message in run(node, "app:parent", "app:one", entry, host):
            assert refused
            assert told == kind
            assert text in message
        if ":" in entry:
            with pytest.raises(PerdureError, match=text) as caught:
                node.spawn(entry, host)
            assert caught.value.kind == kind


@pytest.mark.parametrize("place", PLACES)
def test_context_is_inherited(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        local builder = process.with_context({tenant = "b", more = 1})
        return process.with_context({a = 0}) and builder:exec("app:child", host)
    """)
    child = process("""
        local ctx = require("ctx")
        return {ctx.get("tenant"), ctx.get("more"), ctx.get("root"),
                (require("funcs").call("app:reads"))}
    """)
    reads = function('return (require("ctx").get("root"))')
    with running(tmp_path, {"parent": parent, "child": child, "reads": reads}) as node:
        pid = node.spawn("app:parent", first, second, context={"root": "r", "tenant": "a"})
        assert node.result(pid, PATIENCE) == ["b", 1, "r", "r"]


@pytest.mark.parametrize("place", PLACES)
def test_start_messages_come_before_all_others(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        local builder = process.with_context({}):with_message("one", 1):with_message("two", 2, 3)
        local pid = builder:spawn("app:child", host)
        process.send(pid, "three")
        return pid
    """)
    child = process("""
        local seen = {}
        for i = 1, 3 do
          local msg = process.inbox():receive()
          seen[i] = {msg:topic(), msg:from()}
        end
        return seen
    """)
    with running(tmp_path, {"parent": parent, "child": child}) as node:
        own = node.spawn("app:parent", first, second)
        child_pid = node.result(own, PATIENCE)
        seen = node.result(child_pid, PATIENCE)
    assert seen == [["one", own], ["two", own], ["three", own]]


@pytest.mark.parametrize("place", PLACES)
def test_with_name_of_a_live_process_gives_that(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        local builder = process.with_options({}):with_name("desk"):with_message("again", "x")
        local one = builder:spawn("app:waits", host)
        local two = builder:spawn_monitored("app:waits", host)
        local event = process.events():receive()
        return {one == two, event.from == one, event.result.value}
    """)
    waits = process("""
        local seen = {}
        for i = 1, 2 do seen[i] = process.inbox():receive():payload():data() end
        return #seen
    """)
    with running(tmp_path, {"parent": parent, "waits": waits}) as node:
        assert run(node, "app:parent", first, second) == [True, True, 2]


def test_a_builder_is_immutable(tmp_path: Path) -> None:
    parent = process("""
        local base = process.with_context({n = 1})
        local more = base:with_context({n = 2})
        return {(base:exec("app:reads", "app:one")), (more:exec("app:reads", "app:other"))}
    """)
    reads = process('return (require("ctx").get("n"))')
    with running(tmp_path, {"parent": parent, "reads": reads}) as node:
        assert run(node, "app:parent", "app:one") == [1, 2]


def test_a_name_is_given_from_python(tmp_path: Path) -> None:
    with running(tmp_path, {"waiter": WAITER}) as node:
        pid = node.spawn("app:waiter", "app:one", name="w")
        assert node.spawn("app:waiter", "app:two", name="w") == pid
        node.send("w", "done", 5)
        assert node.result(pid, PATIENCE) == 5
        assert node.spawn("app:waiter", "app:two", name="w") != pid


def test_a_start_that_fails_holds_no_name(tmp_path: Path) -> None:
    with running(tmp_path, {"waiter": WAITER}) as node:
        for _ in range(2):
            with pytest.raises(PerdureError) as caught:
                node.spawn("app:none", "app:one", name="w")
            assert caught.value.kind == Kind.NOT_FOUND
        assert node.router.names.lookup("w") is None
