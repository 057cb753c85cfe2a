"""PIDs name one process for ever, and results are kept for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.pids import pid_of, vm_of, vm_prefix
from hosts.process.results import KEPT, KEPT_BYTES, KEPT_FOR, Result, Results
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.clock import FakeClock
from tests.process_lab import PATIENCE, WAITER, process, run, running, write_app


def test_a_pid_tells_its_vm_whatever_the_numbers() -> None:
    pids = {
        pid_of(vm_prefix(host, boot, vm), serial): vm_prefix(host, boot, vm)
        for host in ("app:one", "app:on")
        for boot in (1, 0x10, 0x1000, 1 << 40)
        for vm in (0, 1, 0xFFF)
        for serial in (1, 0xFF, 1 << 39, (1 << 40) - 1)
    }
    assert len(pids) == 2 * 4 * 3 * 4
    assert all(vm_of(pid) == prefix for pid, prefix in pids.items())


def test_a_pid_of_an_earlier_boot_names_nobody(tmp_path: Path) -> None:
    write_app(tmp_path, {"waiter": WAITER})
    seen: set[str] = set()
    for _ in range(3):
        with Node.from_path(tmp_path) as node:
            new = {node.spawn("app:waiter", host) for host in ("app:one", "app:two") * 3}
            assert not new & seen
            for old in seen:
                with pytest.raises(PerdureError, match="process not found"):
                    node.send(old, "done")
                with pytest.raises(PerdureError, match="process not found"):
                    node.result(old, PATIENCE)
            seen |= new


def test_the_boot_number_survives_a_crash(tmp_path: Path) -> None:
    write_app(tmp_path, {})
    with Node.from_path(tmp_path) as node:
        first = node.boot
    with Node.from_path(tmp_path) as node:
        assert node.boot > first


def test_results_of_ended_processes(tmp_path: Path) -> None:
    with running(tmp_path, {"waiter": WAITER}) as node:
        good, bad = node.spawn("app:waiter", "app:one"), node.spawn("app:waiter", "app:one")
        with pytest.raises(PerdureError) as caught:
            node.result(good, 0)
        assert caught.value.kind == Kind.TIMEOUT
        node.send(good, "done", {"n": 1})
        node.send(bad, "raise")
        for _ in range(2):
            assert node.result(good, PATIENCE) == {"n": 1}
            with pytest.raises(PerdureError, match="it broke"):
                node.result(bad, PATIENCE)


def test_a_result_that_cannot_be_sent_fails_the_process(tmp_path: Path) -> None:
    cyclic = process("local t = {} t.t = t return t")
    with running(tmp_path, {"cyclic": cyclic}) as node, pytest.raises(PerdureError) as caught:
        run(node, "app:cyclic", "app:one")
    assert caught.value.kind == Kind.INVALID


def _kept(results: Results, pid: str) -> bool:
    reply = ("{python|caller}", 1)
    found = results.get(pid, reply) is not None
    return found or not results.give_up(pid, reply)


def test_results_are_kept_for_a_while() -> None:
    clock = FakeClock()
    results = Results(clock)
    results.add("old", Result(True, b"x"))
    clock.advance(KEPT_FOR // 2)
    results.add("young", Result(True, b"x"))
    clock.advance(KEPT_FOR // 2)
    assert _kept(results, "old")
    clock.advance(1)
    assert not _kept(results, "old")
    assert _kept(results, "young")


def test_results_are_kept_up_to_a_number() -> None:
    results = Results(FakeClock())
    for number in range(KEPT + 5):
        results.add(str(number), Result(True, b"x"))
    assert [_kept(results, str(number)) for number in (0, 4, 5, KEPT + 4)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_results_are_kept_up_to_a_size() -> None:
    results = Results(FakeClock())
    for number in range(3):
        results.add(str(number), Result(True, bytes(KEPT_BYTES // 2)))
    assert [_kept(results, str(number)) for number in range(3)] == [False, True, True]


def test_those_who_gave_up_are_forgotten() -> None:
    results = Results(FakeClock(), lambda reply: reply[1] == 7)
    for number in range(1000):
        assert results.get("p", ("{python|caller}", number)) is None
    assert len(results.take_waiting("p")) <= 64


def test_who_waits_for_a_result_gets_it() -> None:
    results = Results(FakeClock())
    one, two = ("{python|caller}", 1), ("{python|caller}", 2)
    assert results.get("p", one) is None
    assert results.get("p", two) is None
    assert results.give_up("p", two)
    assert not results.give_up("p", two)
    assert results.add("p", Result(False, b"e")) == [one]
    assert results.get("p", two) == Result(False, b"e")
    assert results.get("{h|0x1}", one) is None
    assert results.take_waiting("{h|") == [one]
