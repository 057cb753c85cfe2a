"""The module `registry`, from functions, processes and workflows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, function, running

MODULES = ["registry", "funcs", "time"]
DATA = {
    "kind": "registry.entry",
    "meta": {"type": "test", "tags": ["a"]},
    "n": 1,
    "f": 1.5,
    "list": [],
}


def lua(source: str) -> dict[str, Any]:
    return function(source, modules=MODULES)


#: What a body returns, of an app with an entry `app:data` and a function `app:f`.
READS: dict[str, tuple[str, Any]] = {
    "an entry": (
        'return registry.get("app:data")',
        {
            "id": "app:data",
            "kind": "registry.entry",
            "meta": {"type": "test", "tags": ["a"]},
            "data": {"n": 1, "f": 1.5, "list": []},
        },
    ),
    "an entry by a table": ('return registry.get{ns = "app", name = "data"}.id', "app:data"),
    "what code is": (
        'local e = registry.get("app:f") return {e.kind, e.data.source, e.data.modules[1]}',
        ["function.lua", "return 1", "registry"],
    ),
    "by kind": ('return #registry.find{kind = "registry.entry"}', 1),
    "by meta": ('return registry.find{["meta.type"] = "test"}[1].id', "app:data"),
    "by dotted names": ('return registry.find{[".kind"] = "registry.entry", [".ns"] = "app"}[1].id',
                        "app:data"),
    "all of them": ("return #registry.find() == #registry.snapshot():entries()", True),
    "none": ('return #registry.find{["meta.type"] = "none"}', 0),
    "an id": ('return registry.parse_id("app:data")', {"ns": "app", "name": "data"}),
    "a namespace": ('return {#registry.snapshot():namespace("app") > 1, '
                    '#registry.snapshot():namespace("none")}', [True, 0]),
    "a version": ("local v = registry.current_version() return {v:id(), v:string(), "
                  "v:previous() == nil, v:next() == nil, tostring(v), type(v)}",
                  [1, "v1", True, True, "v1", "userdata"]),
    "versions": ("return #registry.history():versions()", 1),
}  # fmt: skip

WRONG: dict[str, tuple[str, str, str]] = {
    "an unknown entry": ('return registry.get("app:dat")', Kind.NOT_FOUND, 'mean "app:data"'),
    "no id": ('return registry.get("data")', Kind.INVALID, "namespace:name"),
    "no id to parse": ("return registry.parse_id(5)", Kind.INVALID, "namespace:name"),
    "an unknown key": ("return registry.find{colour = 1}", Kind.INVALID, '"colour"'),
    "criteria that are none": ("return registry.find(5)", Kind.INVALID, "a table"),
    "an unknown version": ("return registry.snapshot_at(9)", Kind.NOT_FOUND, "no version 9"),
    "no version": ('return registry.snapshot_at("x")', Kind.INVALID, "a version or its number"),
    "a rollback to nothing": ("return registry.apply_version(9)", Kind.NOT_FOUND, "no version 9"),
    "a delete of nothing": ('return registry.changes():delete("app:x"):apply()', Kind.INVALID,
                            "there is no such entry"),
    "an entry that is none": ("return registry.changes():create(5)", Kind.INVALID, "a table"),
    "a bad entry": ('return registry.changes():create{id = "app:x", kind = "function.lua", '
                    'data = {source = "="}}:apply()', Kind.INVALID, "app:x does not compile"),
    "a function in data": ('return registry.changes():create{id = "app:x", kind = '
                           '"registry.entry", data = {[{}] = 1}}', Kind.INVALID, "key"),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    entries: dict[str, dict[str, Any]] = {"data": DATA, "f": lua("return 1")}
    cases = {**READS, **WRONG}
    for number, case in enumerate(cases):
        entries[f"case{number}"] = {**lua(cases[case][0]), "kind": "function.lua"}
        entries[f"case{number}"]["meta"] = {"case": case}
    with running(tmp_path_factory.mktemp("app"), entries) as node:
        yield node


def call(node: Node, case: str) -> Any:
    (entry,) = node.registry.find({"meta.case": case})
    return node.call(entry.id, timeout=PATIENCE)


@pytest.mark.parametrize("case", READS)
def test_reads(case: str, node: Node) -> None:
    assert call(node, case) == READS[case][1]


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong(case: str, node: Node) -> None:
    with pytest.raises(PerdureError) as raised:
        call(node, case)
    assert raised.value.kind == WRONG[case][1]
    assert WRONG[case][2] in raised.value.message
    assert node.registry.version().id == 1


DEPLOYS = """
    local seen = {funcs.call("app:f")}
    local before = registry.snapshot()
    local entry = registry.get("app:f")
    entry.data.source = "return 2"
    local changes = before:changes()
    changes:update(entry)
    changes:create{id = "app:g", kind = "function.lua", data = {source = "return 'g'"}}
    local ops = changes:ops()
    local version = assert(changes:apply())
    seen[2], seen[3] = funcs.call("app:f"), funcs.call("app:g")
    seen[4] = before:get("app:f").data.source .. registry.get("app:f").data.source
    seen[5] = {ops[1].kind, ops[1].entry.id, ops[2].kind, ops[2].entry.data.source}
    seen[6] = {version:id(), version:previous():id(), version == registry.current_version()}
    local _, err = changes:apply()
    seen[7] = err:kind()
    seen[8] = registry.apply_version(version:previous()):id()
    seen[9] = funcs.call("app:f")
    seen[10] = select(2, funcs.call("app:g")):kind()
    seen[11] = version:previous():next():id()
    return seen
"""
SEEN = [
    1, 2, "g", "return 1return 2",
    ["entry.update", "app:f", "entry.create", "return 'g'"],
    [2, 1, True], Kind.CONFLICT, 1, 1, Kind.NOT_FOUND, 2,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["function.lua", "process.lua"])
def test_lua_deploys_and_goes_back(kind: str, tmp_path: Path) -> None:
    entries = {"f": lua("return 1"), "deploys": {**lua(DEPLOYS), "kind": kind}}
    with running(tmp_path, entries) as node:
        if kind == "function.lua":
            assert node.call("app:deploys", timeout=PATIENCE) == SEEN
        else:
            assert node.result(node.spawn("app:deploys", "app:two"), PATIENCE) == SEEN


def test_problems_are_in_the_details(tmp_path: Path) -> None:
    source = """
        local changes = registry.changes()
        changes:create{id = "app:a", kind = "function.lua", data = {sorce = "x"}}
        changes:create{id = "app:b", kind = "proces.lua"}
        local _, err = changes:apply()
        local found = {}
        for i, problem in ipairs(err:details().problems) do
          found[i] = {problem.entry, problem.hint}
        end
        return found
    """
    with running(tmp_path, {"f": lua(source)}) as node:
        found = node.call("app:f", timeout=PATIENCE)
        assert found == [
            ["app:a", 'did you mean "source"?'],
            ["app:b", 'did you mean "process.lua"?'],
        ]
