"""`kill -9` at every fault point of a workflow with activities, timer, signal, peer and children.

The client is a script that may be begun anew: what it asks for carries ids and keys. A run that is
killed at a point, and again at the same point while it recovers, must end like one that never was,
with the same effects: each activity.key once, however often it was attempted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hosts.durable.host  # noqa: F401  declares the host's points
from journal import faults
from tests.crash_lab import NodeProcess, effects, effects_by_key, survive, write_app

APP_YAML = """version: "1.0"
namespace: app
entries:
- {name: journal, kind: journal.lmdb, path: ./data/journal}
- name: orders
  kind: workflow.host
  journal: app:journal
  lifecycle: {auto_start: true}
- {name: effect, kind: function.python, target: "functions:effect"}
- name: shaky
  kind: function.python
  target: "functions:shaky"
  meta: {options: {retry: {initial_delay: 1ms}}}
- {name: order, kind: workflow.lua, source: "file://order.lua", method: main,
   modules: [funcs, time, uuid, workflow]}
- {name: child, kind: workflow.lua, source: "file://child.lua", method: main,
   modules: [funcs, time]}
- {name: peer, kind: workflow.lua, source: "file://peer.lua", method: main, modules: [funcs]}
"""
FUNCTIONS = """
from effects import record
from runtime.api import ctx

def effect(name, *args):
    record(name, *args)
    return {"did": name}

def shaky(name):
    if ctx.get("activity.attempt") == 1:
        raise RuntimeError("not at once")
    return effect(name)
"""
ORDER = """
local funcs, time = require("funcs"), require("time")
local uuid, workflow = require("uuid"), require("workflow")

local function main(peer)
  local seen = {}
  seen.first = assert(funcs.call("app:effect", "first", 1))
  assert(funcs.call("app:effect", "large", ("x"):rep(70000)))
  workflow.attrs{search = {stage = "first"}}
  time.sleep("5ms")
  workflow.attrs{search = {stage = "second"}}
  seen.id = #uuid.v4()
  local unused = time.after("1h")
  assert(process.send(peer, "from order", 1))
  assert(process.send(peer, "from order", 2))
  assert(process.spawn("app:child", "app:orders", "spawned"))
  local exit = process.events():receive()
  seen.spawned = exit.result.value
  seen.executed = assert(workflow.exec("app:child", "executed"))
  local both = {funcs.async("app:effect", "left"), funcs.async("app:effect", "right")}
  seen.left = both[1]:response():receive():data()
  seen.right = both[2]:response():receive():data()
  local inbox = process.inbox()
  seen.signals = {inbox:receive().n, inbox:receive().n}
  assert(process.send(peer, "last", 3))
  workflow.attrs{search = {stage = "last"}}
  assert(funcs.call("app:shaky", "shaky"))
  seen.last = assert(funcs.call("app:effect", "last", seen.signals))
  return seen
end
return {main = main}
"""
CHILD = """
local funcs, time = require("funcs"), require("time")
local function main(how, again)
  if how == "spawned" and not again then process.upgrade(nil, how, true) end
  time.sleep("5ms")
  assert(funcs.call("app:effect", "child", how))
  return {how = how}
end
return {main = main}
"""
PEER = """
local funcs = require("funcs")
local function main()
  local inbox, heard = process.inbox(), {}
  repeat
    local msg = inbox:receive()
    heard[#heard + 1] = {msg:topic(), msg:payload():data()}
  until msg:topic() == "last"
  funcs.call("app:effect", "peer", heard)
  return heard
end
return {main = main}
"""

RESULT = {
    "first": {"did": "first"},
    "id": 36,
    "spawned": {"how": "spawned"},
    "executed": {"how": "executed"},
    "left": {"did": "left"},
    "right": {"did": "right"},
    "signals": [1, 2],
    "last": {"did": "last"},
}
HEARD = [["from order", 1], ["from order", 2], ["last", 3]]
EFFECTS: list[tuple[str, list[Any]]] = [
    ("first", [1]),
    ("large", ["x" * 70_000]),
    ("child", ["spawned"]),
    ("child", ["executed"]),
    ("left", []),
    ("right", []),
    ("shaky", []),
    ("last", [[1, 2]]),
    ("peer", [HEARD]),
]

#: Points that this workflow has no use for.
IDLE = {
    f"journal.{step}.{when}"
    for step in (
        "grow",
        "op.put_name",
        "op.del_name",
        "op.delete_run",
        "op.mark_sources",
        "op.del_source",
        "op.put_clock",
        "upgrade",  # see test_journal_payloads.py
    )
    for when in ("before", "after")
} | {"host.request.after"}  # of a Temporal server
#: What a node does not do, whoever has imported it here: see test_journal_upkeep.py.
POINTS = [
    point for point in faults.points() if point not in IDLE and not point.startswith("upkeep.")
]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return make_app(tmp_path / "app")


def make_app(folder: Path) -> Path:
    files = {"order.lua": ORDER, "child.lua": CHILD, "peer.lua": PEER, "functions.py": FUNCTIONS}
    return write_app(folder, {"app.yaml": APP_YAML, **files})


class Client:
    """Asks for one order; knows what was acknowledged, and that it is there ever after."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []

    def __call__(self, node: NodeProcess) -> tuple[Any, Any]:
        for pid in self.acknowledged:
            node.history(pid)  # raises when it is lost
        peer = self._start(node, "app:peer", "peer")
        order = self._start(node, "app:order", "order", peer)
        for n in (1, 2):
            node.send(order, "signal", {"n": n}, key=f"signal-{n}")
        result = node.result(order), node.result(peer)
        assert [row["workflow_id"] for row in node.do("workflows", where='stage >= "a"')] == [
            "order"
        ]
        assert node.do("workflows", where='stage = "first"') == []
        return result

    def _start(self, node: NodeProcess, entry: str, workflow_id: str, *args: Any) -> str:
        options = {"workflow.id": workflow_id}
        pid = node.spawn(entry, "app:orders", *args, options=options, key=f"spawn-{workflow_id}")
        self.acknowledged.append(pid)
        return pid


def check(app: Path, result: tuple[Any, Any]) -> None:
    assert result == (RESULT, HEARD)
    assert sorted(effects_by_key(app), key=repr) == sorted(EFFECTS, key=repr)


def test_undisturbed_it_does_everything_once(app: Path) -> None:
    result, deaths = survive(app, Client())
    check(app, result)
    assert deaths == 0
    assert len(effects(app)) == len(EFFECTS)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_and_there_again_in_recovery(point: str, app: Path) -> None:
    result, deaths = survive(app, Client(), f"{point}:1", f"{point}:1")
    assert deaths, "it never came to this point: is it one of IDLE?"
    check(app, result)


@pytest.mark.parametrize("nth", [2, 4, 7, 11, 16])
@pytest.mark.parametrize("point", ["journal.commit.before", "host.effect.after"])
def test_killed_at_a_later_pass_of_the_points_around_a_commit(
    point: str, nth: int, app: Path
) -> None:
    result, _ = survive(app, Client(), f"{point}:{nth}", f"{point}:{nth}")
    check(app, result)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_pass_of_a_point(point: str, tmp_path: Path) -> None:
    for nth in range(1, 200):
        app = make_app(tmp_path / str(nth))
        result, deaths = survive(app, Client(), f"{point}:{nth}", f"{point}:1", f"{point}:{nth}")
        check(app, result)
        if not deaths:
            return
    raise AssertionError("it never ran undisturbed")
