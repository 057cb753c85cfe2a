"""Function pools: VMs of a function's own, their queue, and what a full one refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hosts.process.queues import PoolQueues
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, function, process, running
from tests.services import in_background

#: Tells a process that it runs, and returns when that says so.
GATED = """
    local gate, n = ...
    process.send(gate, "runs", process.pid())
    process.inbox():receive()
    return n
"""
#: Collects the PIDs of the functions that run.
GATE = process("""
    local running = {}
    while true do
      local msg = process.inbox():receive()
      if msg:topic() == "runs" then
        running[#running + 1] = msg:payload():data()
      else
        process.send(msg:from(), "running", running)
      end
    end
""")


def pool(kind: str, size: int) -> dict[str, Any]:
    return {"type": kind, "workers" if kind == "static" else "max_size": size}


def running_calls(node: Node, gate: str) -> list[str]:
    """PIDs of the calls that have begun."""
    pids: Any = node.actor(gate).ask(("who",), timeout=PATIENCE)
    return list(pids)


@pytest.mark.parametrize("kind", ["static", "lazy"])
def test_a_pool_runs_one_call_in_each_vm_and_the_rest_in_turn(tmp_path: Path, kind: str) -> None:
    with running(tmp_path, {"gated": function(GATED, pool=pool(kind, 2)), "gate": GATE}) as node:
        gate = node.spawn("app:gate", "app:one")
        calls = [in_background(node.call, "app:gated", gate, n) for n in range(5)]
        seen: list[str] = []
        for begun in (2, 3, 4, 5, 5):
            eventually(lambda begun=begun: len(running_calls(node, gate)) == begun)  # type: ignore[misc]
            new = [pid for pid in running_calls(node, gate) if pid not in seen]
            node.send(new[0], "go")
            seen.append(new[0])
        assert sorted(call.result(PATIENCE) for call in calls) == list(range(5))
        assert all(pid.startswith("{functions/app:gated|") for pid in seen)
        assert len({pid[:-11] for pid in seen}) == 2


def test_the_shared_pool_runs_calls_side_by_side(tmp_path: Path) -> None:
    with running(tmp_path, {"gated": function(GATED), "gate": GATE}) as node:
        gate = node.spawn("app:gate", "app:one")
        calls = [in_background(node.call, "app:gated", gate, n) for n in range(5)]
        eventually(lambda: len(running_calls(node, gate)) == 5)
        for pid in running_calls(node, gate):
            node.send(pid, "go")
        assert sorted(call.result(PATIENCE) for call in calls) == list(range(5))


def test_heavy_functions_hold_up_nobody(tmp_path: Path) -> None:
    heavy = function("while true do end", pool=pool("static", 1))
    with running(tmp_path, {"heavy": heavy, "light": function("return 1")}) as node:
        call = in_background(node.call, "app:heavy")
        for _ in range(20):
            assert node.call("app:light", timeout=PATIENCE) == 1
        with pytest.raises(PerdureError, match="out of fuel"):
            call.result(PATIENCE)
        with pytest.raises(PerdureError, match="out of fuel"):
            node.call("app:heavy", timeout=PATIENCE)


@pytest.mark.parametrize("kind", ["static", "lazy"])
def test_a_call_from_inside_a_full_pool_is_unavailable(tmp_path: Path, kind: str) -> None:
    recursive = function(
        """
        local depth = ...
        if depth == 0 then return "bottom" end
        local value, err = require("funcs").call("app:recursive", depth - 1)
        if err then return {err:kind(), err:retryable(), err:message()} end
        return value
        """,
        pool=pool(kind, 2),
    )
    with running(tmp_path, {"recursive": recursive}) as node:
        assert node.call("app:recursive", 1, timeout=PATIENCE) == "bottom"
        refused, retryable, message = node.call("app:recursive", 2, timeout=PATIENCE)
        assert (refused, retryable) == (Kind.UNAVAILABLE, True)
        assert "its 2 VMs" in message
        assert node.call("app:recursive", 1, timeout=PATIENCE) == "bottom"


#: Calls the next of a chain, and returns the kind of the error that comes back, or the value.
PASSES_ON = """
    local chain = ...
    if #chain == 0 then return "bottom" end
    local target = table.remove(chain, 1)
    local value, err = require("funcs").call(target, chain)
    return err and err:kind() or value
"""


@pytest.mark.parametrize(
    ("chain", "end"),
    [
        (["app:a", "app:b"], "bottom"),
        (["app:a", "app:a"], Kind.UNAVAILABLE),
        (["app:a", "app:b", "app:a"], Kind.UNAVAILABLE),
        (["app:a", "app:inline", "app:a"], Kind.UNAVAILABLE),
        (["app:a", "app:inline", "app:inline", "app:b"], "bottom"),
        (["app:a", "app:served", "app:a"], Kind.UNAVAILABLE),
        (["app:a", "app:served", "app:b", "app:inline", "app:a"], Kind.UNAVAILABLE),
        (["app:served", "app:served", "app:a", "app:b"], "bottom"),
    ],
)
def test_inside_is_also_by_way_of_others(tmp_path: Path, chain: list[str], end: str) -> None:
    entries = {
        "a": function(PASSES_ON, pool=pool("static", 1)),
        "b": function(PASSES_ON, pool=pool("lazy", 1)),
        "inline": function(PASSES_ON),
        "served": process(PASSES_ON, meta={"default_host": "app:other"}),
    }
    with running(tmp_path, entries) as node:
        for _ in range(2):
            assert node.call(chain[0], chain[1:], timeout=PATIENCE) == end


def test_a_call_that_was_given_up_in_the_queue_never_runs(tmp_path: Path) -> None:
    entries = {"gated": function(GATED, pool=pool("static", 1)), "gate": GATE}
    with running(tmp_path, entries) as node:
        gate = node.spawn("app:gate", "app:one")
        first = in_background(node.call, "app:gated", gate, 1)
        eventually(lambda: len(running_calls(node, gate)) == 1)
        with pytest.raises(PerdureError) as caught:
            node.call("app:gated", gate, 2, timeout=0.01)
        assert caught.value.kind == Kind.TIMEOUT
        third = in_background(node.call, "app:gated", gate, 3)
        node.send(running_calls(node, gate)[0], "go")
        assert first.result(PATIENCE) == 1
        eventually(lambda: len(running_calls(node, gate)) == 2)
        node.send(running_calls(node, gate)[1], "go")
        assert third.result(PATIENCE) == 3


def test_a_call_that_is_given_up_frees_its_vm(tmp_path: Path) -> None:
    sleeps = function('local t = ... require("time").sleep(t) return 1', pool=pool("static", 1))
    with running(tmp_path, {"sleeps": sleeps}) as node:
        with pytest.raises(PerdureError) as caught:
            node.call("app:sleeps", "1h", timeout=0.01)
        assert caught.value.kind == Kind.TIMEOUT
        assert node.call("app:sleeps", "1ms", timeout=PATIENCE) == 1


def test_calls_in_a_queue_end_with_the_node(tmp_path: Path) -> None:
    sleeps = function('require("time").sleep("1h")', pool=pool("static", 1))
    with running(tmp_path, {"sleeps": sleeps}) as node:
        calls = [in_background(node.call, "app:sleeps") for _ in range(3)]
        eventually(lambda: len(node.clients._waiting) >= 3)
    for call in calls:
        with pytest.raises(PerdureError) as caught:
            call.result(PATIENCE)
        assert caught.value.kind in (Kind.CANCELED, Kind.UNAVAILABLE)


def test_a_pool_is_no_host(tmp_path: Path) -> None:
    with running(tmp_path, {"f": function("return 1", pool=pool("static", 1))}) as node:
        for host in ("functions", "functions/app:f"):
            with pytest.raises(PerdureError, match="is not a host") as caught:
                node.spawn("app:f", host)
            assert caught.value.kind == Kind.INVALID


def test_a_pool_whose_vm_is_lost_gets_another(tmp_path: Path) -> None:
    hog = function(
        "local n = ... local t = {} for i = 1, n do t[i] = ('x'):rep(1000000) .. i end return #t",
        pool=pool("static", 1),
    )
    with running(tmp_path, {"hog": hog}) as node:
        with pytest.raises(PerdureError):
            node.call("app:hog", 1000, timeout=PATIENCE)
        assert node.call("app:hog", 3, timeout=PATIENCE) == 3


def test_pools_that_wait_for_each_other_are_told_apart() -> None:
    queues = PoolQueues()
    assert queues.enter("a", [])
    assert not queues.enter("a", ["a"])
    assert queues.enter("b", ["a"])
    assert queues.enter("c", ["b", "a"])
    assert not queues.enter("a", ["b"])
    assert not queues.enter("a", ["c"])
    assert queues.enter("c", ["d"])
    queues.leave("b", ["a"])
    assert not queues.enter("a", ["c"])
    queues.leave("c", ["b", "a"])
    assert queues.enter("a", ["c"])
    assert not queues.enter("d", ["a", "x"])
