"""Where new processes go, how many a host takes, and that thousands of them are no trouble."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hosts.pids import vm_of
from hosts.process.placement import UNLIMITED, Placement
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, process, run, running, write_app
from tests.services import in_background

IDLE = process("process.inbox():receive()")
ECHO = process("""
    while true do
      local msg = process.inbox():receive()
      process.send(msg:from(), "echo", msg:payload())
    end
""")


@pytest.mark.parametrize(
    ("live", "parent", "goes_to"),
    [
        ([0, 0], None, 0),
        ([1, 0], None, 1),
        ([5, 4, 3], None, 2),
        ([0, 0], 1, 1),
        ([1, 0], 0, 1),
        ([2, 1], 0, 0),
        ([3, 1], 0, 1),
        ([3, 1], 1, 1),
        ([8, 4, 5], 0, 0),
        ([9, 4, 5], 0, 1),
        ([100, 0], 1, 1),
    ],
)
def test_a_child_stays_with_its_parent_until_that_has_twice_the_load(
    live: list[int], parent: int | None, goes_to: int
) -> None:
    placement = Placement(len(live))
    for vm, count in enumerate(live):
        placement.report(vm, count, 0)
    assert placement.place(parent) == goes_to


def test_what_is_under_way_counts() -> None:
    placement = Placement(2)
    assert [placement.place(None) for _ in range(4)] == [0, 1, 0, 1]
    assert placement.report(0, 2, 2) == 4
    assert placement.population == 4
    placement.give_back(1)
    assert placement.report(1, 1, 1) == 3
    assert placement.report(0, 0, 0) == 1


def test_how_many_a_vm_may_hold_without_asking() -> None:
    alone, two = Placement(1), Placement(2)
    assert alone.room(0) == UNLIMITED
    two.report(1, 7, 0)
    assert (two.room(0), two.room(1)) == (14, 0)
    assert two.close() == 7
    assert two.room(0) == 0
    assert Placement(1, most=10).room(0) == 0


def test_a_host_that_is_full_takes_no_more() -> None:
    placement = Placement(2, most=3)
    assert [placement.place(None) for _ in range(4)] == [0, 1, 0, None]
    placement.report(0, 1, 2)
    assert placement.place(0) == 0
    assert placement.place(1) is None


def spread(node: Node) -> list[int]:
    """Processes by VM, the most first."""
    counts = Counter(vm_of(row["pid"]) for row in node.processes())
    return sorted(counts.values(), reverse=True)


def test_spawns_from_outside_go_to_the_least_loaded(tmp_path: Path) -> None:
    with running(tmp_path, {"idle": IDLE}) as node:
        pids = [node.spawn("app:idle", "app:two") for _ in range(10)]
        assert spread(node) == [5, 5]
        for pid in [pid for pid in pids if vm_of(pid) == vm_of(pids[0])]:
            node.terminate(pid)
        eventually(lambda: node.status()["processes"] == 5)
        for _ in range(5):
            node.spawn("app:idle", "app:two")
        assert spread(node) == [5, 5]


def test_children_spread_when_their_vm_is_crowded(tmp_path: Path) -> None:
    parent = process("""
        for i = 1, 300 do process.spawn("app:idle", "app:two") end
        process.inbox():receive()
    """)
    with running(tmp_path, {"parent": parent, "idle": IDLE}) as node:
        node.spawn("app:parent", "app:two")
        eventually(lambda: node.status()["processes"] == 301)
        most, least = spread(node)
        assert most <= 2 * least + 1
        assert least >= 50


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_on_processes(tmp_path: Path, workers: int) -> None:
    small = {"kind": "process.host", "host": {"workers": workers, "max_processes": 5}}
    parent = process("""
        local pids, err = {}, nil
        repeat
          local pid
          pid, err = process.spawn("app:idle", "app:small")
          pids[#pids + 1] = pid
        until not pid
        local _, exec_err = process.exec("app:idle", "app:small")
        local refused = {#pids, err:kind(), err:message(), err:retryable(), exec_err:kind()}
        process.monitor(pids[1])
        process.send(pids[1], "end")
        process.events():receive()
        refused[6] = process.spawn("app:idle", "app:small") ~= nil
        return refused
    """)
    with running(tmp_path, {"parent": parent, "idle": IDLE, "small": small}) as node:
        made, kind, message, retryable, exec_kind, again = run(node, "app:parent", "app:small")
        assert (made, kind, retryable, exec_kind) == (4, Kind.UNAVAILABLE, True, Kind.UNAVAILABLE)
        assert "max_processes" in message
        assert "app:small has 5 processes" in message
        assert again
        eventually(lambda: node.status()["processes"] == 4)
        node.spawn("app:idle", "app:small")
        with pytest.raises(PerdureError, match="max_processes") as caught:
            node.spawn("app:idle", "app:small")
        assert caught.value.kind == Kind.UNAVAILABLE


def test_spawns_that_fail_take_no_room(tmp_path: Path) -> None:
    small = {"kind": "process.host", "host": {"workers": 1, "max_processes": 1}}
    with running(tmp_path, {"idle": IDLE, "small": small}) as node:
        held = node.spawn("app:idle", "app:one", name="held")
        for _ in range(5):
            with pytest.raises(PerdureError, match="does not exist"):
                node.spawn("app:none", "app:small")
            assert node.spawn("app:idle", "app:small", name="held") == held
        assert node.spawn("app:idle", "app:small").startswith("{app:small|")


def test_ten_thousand_processes(tmp_path: Path) -> None:
    parent = process("""
        local host, count = ...
        local pids = {}
        for i = 1, count do pids[i] = process.spawn("app:echo", host) end
        for i = 1, count do assert(process.send(pids[i], "hi", i)) end
        local sum, inbox = 0, process.inbox()
        for i = 1, count do sum = sum + inbox:receive():payload():data() end
        return sum
    """)
    with running(tmp_path, {"parent": parent, "echo": ECHO}) as node:
        for host in ("app:one", "app:two"):
            assert run(node, "app:parent", host, host, 5000) == 5000 * 5001 // 2
        assert node.status()["processes"] == 10_000
        assert node.status()["dead_letters"] == 0


@pytest.mark.parametrize("hears", [True, False])
def test_a_node_with_thousands_of_processes_stops_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hears: bool
) -> None:
    parent = process("""
        for i = 1, 5000 do process.spawn("app:child", "app:two") end
        process.inbox():receive()
    """)
    child = process("process.events():receive()") if hears else IDLE
    write_app(tmp_path, {"parent": parent, "child": child})
    with Node.from_path(tmp_path) as node:
        node.spawn("app:parent", "app:two")
        eventually(lambda: node.status()["processes"] == 5001)
    assert "did not end within" not in caplog.text  # nobody waited for a stop timeout


def test_a_process_that_works_may_end_its_work_when_the_node_stops(tmp_path: Path) -> None:
    worker = process("""
        process.inbox():receive()
        require("time").sleep("50ms")
        return "worked"
    """)
    with running(tmp_path, {"worker": worker}) as node:
        pid = node.spawn("app:worker", "app:one")
        result = in_background(node.result, pid)
        node.send(pid, "go")
        eventually(lambda: node.timers.next_due() is not None)
    assert result.result(PATIENCE) == "worked"


def test_what_is_spawned_while_the_host_stops_is_refused(tmp_path: Path) -> None:
    late = process("""
        process.events():receive()
        local pid, err = process.spawn("app:idle", "app:one")
        return {pid == nil, err:kind()}
    """)
    with running(tmp_path, {"late": late, "idle": IDLE}) as node:
        pid = node.spawn("app:late", "app:one")
        result = in_background(node.result, pid)
        eventually(lambda: bool(node.clients._waiting))
    assert result.result(PATIENCE) == [True, Kind.UNAVAILABLE]
