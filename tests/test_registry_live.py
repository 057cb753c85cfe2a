"""A live registry: what starts after a change runs the new code, what runs goes on with the old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, function, process, running

#: A function that says its version when told to: it waits for a file where it has begun.
PARKS = """
    local funcs, time = require("funcs"), require("time")
    funcs.call("app:begun")
    while not funcs.call("app:gone") do time.sleep("2ms") end
    return %d
"""
PYTHON = """
import threading
begun, go = threading.Semaphore(0), threading.Event()

def note_begun(): begun.release()
def gone(): return go.is_set()
"""
HELPERS = {
    "begun": {"kind": "function.python", "target": "helpers:note_begun"},
    "gone": {"kind": "function.python", "target": "helpers:gone"},
}
POOLS: dict[str, dict[str, Any]] = {
    "inline": {"type": "inline"},
    "static": {"type": "static", "workers": 1},
    "lazy": {"type": "lazy", "max_size": 2},
}


def entry_id(name: str) -> str:
    return f"app:{name}"


def put(node: Node, name: str, fields: dict[str, Any]) -> None:
    """Create or update an entry, given as in YAML."""
    data = dict(fields)
    entry = {"id": entry_id(name), "kind": data.pop("kind"), "meta": data.pop("meta", {})}
    changes = node.registry.changes()
    entry["data"] = data
    if entry["id"] in node.registry:
        changes.update(entry)
    else:
        changes.create(entry)
    node.registry.apply(changes)


def delete(node: Node, name: str) -> None:
    node.registry.apply(node.registry.changes().delete(entry_id(name)))


@pytest.fixture
def calls() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.mark.parametrize("pool", POOLS)
def test_a_call_under_way_ends_on_the_old_code(
    pool: str, tmp_path: Path, calls: ThreadPoolExecutor
) -> None:
    entries = {"f": function(PARKS % 1, pool=POOLS[pool]), **HELPERS}
    with running(tmp_path, entries, {"helpers": PYTHON}) as node:
        import helpers  # type: ignore[import-not-found]

        old = calls.submit(node.call, "app:f", timeout=PATIENCE)
        assert helpers.begun.acquire(timeout=PATIENCE)
        put(node, "f", function("return 2", pool=POOLS[pool]))
        if pool == "static":
            # Its VM is busy with the old call: the new one waits for it.
            new = calls.submit(node.call, "app:f", timeout=PATIENCE)
        else:
            assert node.call("app:f", timeout=PATIENCE) == 2
            new = calls.submit(node.call, "app:f", timeout=PATIENCE)
        helpers.go.set()
        assert (old.result(PATIENCE), new.result(PATIENCE)) == (1, 2)


def test_a_call_from_a_process_is_of_the_code_of_now(tmp_path: Path) -> None:
    entries = {
        "caller": process(
            """
            local funcs, inbox = require("funcs"), process.inbox()
            local seen = {}
            while #seen < 2 do
              inbox:receive()
              seen[#seen + 1] = funcs.call("app:f")
              funcs.call("app:begun")
            end
            return seen
            """
        ),
        "f": function("return 1"),
        **HELPERS,
    }
    with running(tmp_path, entries, {"helpers": PYTHON}) as node:
        import helpers

        pid = node.spawn("app:caller", "app:one")
        node.send(pid, "go")
        assert helpers.begun.acquire(timeout=PATIENCE)
        put(node, "f", function("return 2"))
        node.send(pid, "go")
        assert node.result(pid, PATIENCE) == [1, 2]


CHANGES_OF_POOLS = [("inline", "static"), ("static", "lazy"), ("lazy", "inline")]


@pytest.mark.parametrize(("before", "after"), CHANGES_OF_POOLS)
def test_a_function_gets_another_pool_under_load(before: str, after: str, tmp_path: Path) -> None:
    entries = {"f": function("return 1", pool=POOLS[before])}
    with running(tmp_path, entries) as node, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def calls_on() -> set[int]:
            seen = set()
            while not stop.is_set():
                seen.add(node.call("app:f", timeout=PATIENCE))
            return seen

        threads = [pool.submit(calls_on) for _ in range(3)]
        for version in (2, 3, 4):
            kind = after if version != 3 else before
            put(node, "f", function(f"return {version}", pool=POOLS[kind]))
            assert node.call("app:f", timeout=PATIENCE) == version
        stop.set()
        assert {value for each in threads for value in each.result(PATIENCE)} <= {1, 2, 3, 4}


def test_a_process_keeps_its_code_and_new_ones_have_the_new(tmp_path: Path) -> None:
    source = "process.inbox():receive() return %d"
    with running(tmp_path, {"p": process(source % 1)}) as node:
        old = [node.spawn("app:p", host) for host in ("app:one", "app:two", "app:other")]
        put(node, "p", process(source % 2))
        new = [node.spawn("app:p", host) for host in ("app:one", "app:two", "app:other")]
        for pid in (*old, *new):
            node.send(pid, "end")
        assert [node.result(pid, PATIENCE) for pid in (*old, *new)] == [1, 1, 1, 2, 2, 2]


def test_libraries_change_for_those_that_import_them(tmp_path: Path) -> None:
    library = {"kind": "library.lua", "source": "return 1"}
    entries = {"f": function("return lib", imports={"lib": "app:lib"}), "lib": library}
    with running(tmp_path, entries) as node:
        assert node.call("app:f") == 1
        put(node, "lib", {"kind": "library.lua", "source": "return 2"})
        assert node.call("app:f") == 2


def test_a_python_function_changes_with_its_target_and_with_its_file(
    tmp_path: Path, calls: ThreadPoolExecutor
) -> None:
    source = """
        import threading
        begun, go = threading.Event(), threading.Event()
        def f():
            begun.set()
            go.wait(30)
            return text()
        def other(): return "other"
        def text(): return "%s"
    """
    entries = {"f": {"kind": "function.python", "target": "wares:f"}}
    with running(tmp_path, entries, {"wares": source % "old"}) as node:
        import wares  # type: ignore[import-not-found]

        under_way = calls.submit(node.call, "app:f", timeout=PATIENCE)
        assert wares.begun.wait(PATIENCE)
        put(node, "f", {"kind": "function.python", "target": "wares:other"})
        assert node.call("app:f", timeout=PATIENCE) == "other"
        text = (tmp_path / "wares.py").read_text(encoding="utf-8").replace('"old"', '"new"')
        (tmp_path / "wares.py").write_text(text.replace("go.wait(30)", "pass"), encoding="utf-8")
        put(node, "f", {"kind": "function.python", "target": "wares:f"})
        assert node.call("app:f", timeout=PATIENCE) == "new"
        wares.go.set()
        assert under_way.result(PATIENCE) == "old"
        node.registry.rollback(2)
        assert node.call("app:f", timeout=PATIENCE) == "other"
        node.registry.rollback(1)
        assert node.call("app:f", timeout=PATIENCE) == "old"


def test_a_python_process_keeps_its_class_and_new_ones_have_the_new(tmp_path: Path) -> None:
    source = """
        from hosts.api import Process
        class Old(Process):
            def on_message(self, topic, payload, sender):
                self.send(sender, "said", type(self).__name__)
        class New(Old): pass
    """
    entries = {"p": {"kind": "process.python", "target": "actors:Old"}}
    with running(tmp_path, entries, {"actors": source}) as node:
        old = node.spawn("app:p", "app:one")
        put(node, "p", {"kind": "process.python", "target": "actors:New"})
        new = node.spawn("app:p", "app:one")
        said = [node.actor(pid).ask("say", timeout=PATIENCE) for pid in (old, new)]
        assert said == ["Old", "New"]


def test_what_is_deleted_is_found_no_more(tmp_path: Path) -> None:
    entries = {"f": function("return 1"), "p": process("return 1"), "m": {"kind": "store.memory"}}
    with running(tmp_path, entries) as node:
        for name in entries:
            delete(node, name)
        with pytest.raises(PerdureError, match="app:f") as call:
            node.call("app:f")
        with pytest.raises(PerdureError, match="app:p") as spawn:
            node.spawn("app:p", "app:one")
        assert {call.value.kind, spawn.value.kind} == {Kind.NOT_FOUND}


BAD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Lua that does not compile": (
        lambda changes: changes.update({"id": "app:f", "data": {"source": "return +"}}),
        "does not compile",
    ),
    "a method that is not there": (
        lambda changes: changes.update(
            {"id": "app:f", "data": {"source": "function main() end", "method": "mian"}}
        ),
        'did you mean "main"',
    ),
    "a library with a fault": (
        lambda changes: changes.update({"id": "app:lib", "data": {"source": "return {"}}),
        "app:lib does not compile",
    ),
    "a library that others import": (
        lambda changes: changes.delete("app:lib"),
        'there is no entry "app:lib"',
    ),
    "an unknown field": (
        lambda changes: changes.update({"id": "app:f", "data": {"sorce": "return 1"}}),
        'change set: app:f: unknown field "sorce"; did you mean "source"',
    ),
    "an unknown kind": (
        lambda changes: changes.create({"id": "app:x", "kind": "functoin.lua", "data": {}}),
        'did you mean "function.lua"',
    ),
    "an entry that is there": (
        lambda changes: changes.create({"id": "app:f", "kind": "function.lua"}),
        "app:f: cannot be created: it is there",
    ),
    "an entry that is not there": (
        lambda changes: changes.update({"id": "app:ff", "data": {}}),
        'app:ff: cannot be updated: there is no such entry; did you mean "app:f"',
    ),
    "an id that is none": (
        lambda changes: changes.create({"id": "x", "kind": "function.lua"}),
        "is not an entry id",
    ),
    "a Python target": (
        lambda changes: changes.create(
            {"id": "app:x", "kind": "function.python", "data": {"target": "none:f"}}
        ),
        "names no module",
    ),
    "data that YAML has no word for": (
        lambda changes: changes.create(
            {"id": "app:x", "kind": "registry.entry", "data": {"x": object()}}
        ),
        "a value is object",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_change_set_changes_nothing(what: str, tmp_path: Path) -> None:
    change, text = BAD[what]
    entries = {
        "f": function("return 1"),
        "lib": {"kind": "library.lua", "source": "return {}"},
        "uses": function("return lib", imports={"lib": "app:lib"}),
        "good": function("return 1"),
    }
    with running(tmp_path, entries) as node:
        before = node.registry.snapshot()
        changes = node.registry.changes()
        changes.update({"id": "app:good", "data": {"source": "return 2"}})
        change(changes)
        with pytest.raises(ConfigurationError) as refused:
            node.registry.apply(changes)
        assert text in str(refused.value)
        assert node.registry.snapshot() is before
        assert node.call("app:good") == 1


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with running(tmp_path, {"f": function("return 1")}) as node:
        changes = node.registry.changes()
        changes.create({"id": "app:a", "kind": "process.lua", "data": {"source": "x"}})
        changes.create({"id": "app:b", "kind": "function.lua", "data": {"source": "="}})
        with pytest.raises(ConfigurationError) as refused:
            node.registry.apply(changes)
        assert [problem.entry for problem in refused.value.problems] == ["app:a", "app:b"]


def test_of_two_changes_of_one_version_the_second_is_a_conflict(tmp_path: Path) -> None:
    with running(tmp_path, {"f": function("return 1")}) as node:
        first, second = node.registry.changes(), node.registry.changes()
        first.update({"id": "app:f", "data": {"source": "return 2"}})
        second.update({"id": "app:f", "data": {"source": "return 3"}})
        assert node.registry.apply(first).id == 2
        with pytest.raises(PerdureError, match="version 2 is in force") as refused:
            node.registry.apply(second)
        assert refused.value.kind == Kind.CONFLICT
        assert node.call("app:f") == 2


def test_changes_at_the_same_time_are_made_one_after_the_other(tmp_path: Path) -> None:
    with running(tmp_path, {}) as node, ThreadPoolExecutor(4) as pool:

        def make(number: int) -> None:
            entry = {"id": f"app:e{number}", "kind": "registry.entry", "data": {"n": number}}
            while True:
                try:
                    node.registry.apply(node.registry.changes().create(entry))
                    return
                except PerdureError as error:
                    if error.kind != Kind.CONFLICT:
                        raise

        made: list[Future[None]] = [pool.submit(make, number) for number in range(8)]
        for each in made:
            each.result(PATIENCE)
        assert len(node.registry.find({"kind": "registry.entry"})) == 8
        assert [version.id for version in node.registry.versions()] == list(range(1, 10))
        assert [version.previous for version in node.registry.versions()] == [None, *range(1, 9)]


def test_a_rollback_puts_a_version_in_force_and_the_next_grows_from_it(tmp_path: Path) -> None:
    with running(tmp_path, {"f": function("return 1")}) as node:
        for value in (2, 3):
            put(node, "f", function(f"return {value}"))
        assert node.registry.rollback(1).id == 1
        assert node.call("app:f") == 1
        put(node, "f", function("return 4"))
        assert node.registry.version()._replace(at=0) == (4, 1, 0)
        assert node.registry.rollback(3).id == 3
        assert node.call("app:f") == 3
        assert node.registry.snapshot(1).get("app:f").data["source"] == "return 1"
        with pytest.raises(PerdureError, match="no version 9: it keeps 1 to 4"):
            node.registry.rollback(9)


def test_a_process_that_asked_hears_of_it_and_upgrades(tmp_path: Path) -> None:
    source = """
        local said = ...
        process.set_options{upgradable = true}
        if said then return said .. " VERSION" end
        local event = process.events():receive()
        if event.kind == process.event.OUTDATED then process.upgrade(nil, event.sources[1]) end
    """
    with running(tmp_path, {"p": process(source.replace("VERSION", "1"))}) as node:
        pid = node.spawn("app:p", "app:two")
        eventually(lambda: node.processes()[0]["entry"] == "app:p")
        put(node, "p", process(source.replace("VERSION", "2")))
        assert node.result(pid, PATIENCE) == "app:p 2"


def test_an_update_keeps_what_it_does_not_give(tmp_path: Path) -> None:
    entries = {"f": function("return 1", meta={"type": "old"})}
    with running(tmp_path, entries) as node:
        changes = node.registry.changes().update({"id": "app:f", "meta": {"type": "new"}})
        node.registry.apply(changes)
        entry = node.registry.get("app:f")
        assert (entry.meta, entry.written["source"]) == ({"type": "new"}, "return 1")
        assert node.call("app:f") == 1
