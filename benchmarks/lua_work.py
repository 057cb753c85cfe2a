"""Lua that computes: what fuel costs it, and what a second VM brings.

Beside it the same source in a bare Lua 5.4 without our sandbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pykka
from lupa import lua54

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round

_WORK: Final = """
local work = {}
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
function work.calls(times)
  for _ = 1, times do fib(20) end
end
function work.pairs(times)
  local map = {}
  for i = 1, 1000 do map["key" .. i] = i end
  local sum = 0
  for _ = 1, times do
    for _, value in pairs(map) do sum = sum + value end
  end
end
"""

_PROCESS: Final = """
local inbox = process.inbox()
while true do
  local client = inbox:receive()
  local order = client:payload():data()
  -- In turns, as fuel is for one.
  for _ = 1, order.turns do
    work[order.work](order.times)
    time.sleep(0)
  end
  process.send(client:from(), "done")
end
"""

_APPLICATION: Final = """
  - {name: with, kind: process.host, host: {workers: 1}}
  - {name: also, kind: process.host, host: {workers: 1}}
  - {name: without, kind: process.host, host: {workers: 1}, limits: {fuel: 0}}
  - name: worker
    kind: process.lua
    modules: [time]
    source: file://worker.lua
"""

#: What one turn does: kind -> (times, how many of its unit those are).
_TURNS: Final = {"calls": (10, 218_910), "pairs": (20, 20_000)}

_KINDS: Final = (("calls", "call-heavy", "calls/s"), ("pairs", "pairs-heavy", "fields/s"))
_BARE: Final = "bare Lua"
_ONE_VM: Final = "two jobs in one VM"
_TWO_VMS: Final = "two jobs in two VMs"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: turns in a round."""
    home = nodes.write(folder, _APPLICATION)
    (home / "worker.lua").write_text(_WORK + _PROCESS)
    bare = lua54.LuaRuntime().execute(_WORK + "return work")

    with nodes.started(home) as node:
        with_fuel, beside, elsewhere, without = (
            node.actor(node.spawn("bench:worker", f"bench:{host}"))
            for host in ("with", "with", "also", "without")
        )

        def rate(work: str, *workers: pykka.ActorRef[Any]) -> float:
            """Units/s of some workers that do the same at the same time."""
            times, units = _TURNS[work]
            order = {"work": work, "times": times, "turns": size}
            begin = time.perf_counter()
            for reply in [each.ask(order, block=False) for each in workers]:
                reply.get()
            return len(workers) * size * units / (time.perf_counter() - begin)

        def bare_rate(work: str) -> float:
            times, units = _TURNS[work]
            begin = time.perf_counter()
            bare[work](size * times)
            return size * units / (time.perf_counter() - begin)

        def measure() -> Round:
            values = {}
            for work, name, _ in _KINDS:
                values[f"{name}, with fuel"] = rate(work, with_fuel)
                values[f"{name}, without fuel"] = rate(work, without)
                values[f"{name}, {_BARE}"] = bare_rate(work)
            values[_ONE_VM] = rate("calls", with_fuel, beside)
            values[_TWO_VMS] = rate("calls", with_fuel, elsewhere)
            return values

        yield measure


LUA_WORK: Final = Benchmark(
    "computing",
    (
        *(
            Figure(f"{name}, {how}", unit, f"{name}, {_BARE}")
            for _, name, unit in _KINDS
            for how in ("with fuel", "without fuel")
        ),
        Figure(_TWO_VMS, "calls/s", _ONE_VM, Goal(1.7, at_least=True)),
    ),
    full=40,
    quick=1,
    prepare=_prepare,
)
