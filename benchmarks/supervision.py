"""Supervision: from a crash to the restarted child, start and stop of many, and what one costs.

The child is a process.service without a delay, under a supervisor that never gives up. Its driver
tells it to die; the new one says as its first act what time it is. Beside it, where Erlang is
installed, stands its one_for_one supervisor with a child that does the same.
"""

from __future__ import annotations

import gc
import logging
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from hosts.timers import Timers
from runtime.clock import SystemClock
from supervision import Node
from supervision.service import Family, OnDone, OnExit, PromptService, ServiceSpec
from supervision.supervisor import Supervisor

_APPLICATION: Final = """
  - {name: processes, kind: process.host, host: {workers: 1}, lifecycle: {auto_start: true}}
  - {name: top, kind: process.supervisor, children: [child], intensity: {restarts: 1000000000},
     lifecycle: {auto_start: true}}
  - {name: child, kind: process.service, process: "bench:mortal", host: "bench:processes"}
  - name: mortal
    kind: process.lua
    modules: [time]
    source: |
      local born = time.now():unix_nano()
      process.send("driver", "born", {process.pid(), born})
      process.inbox():receive()
      error("told to die")
  - name: driver
    kind: process.lua
    modules: [time]
    source: |
      local count = ...
      process.registry.register("driver")
      local inbox = process.inbox()
      local pid = inbox:receive():payload():data()[1]
      local took = {}
      for i = 1, count do
        local begin = time.now():unix_nano()
        process.send(pid, "die")
        local born = inbox:receive():payload():data()
        pid, took[i] = born[1], born[2] - begin
      end
      return took
"""

_ERLANG: Final = """
-module(restarts).
-export([main/1, init/1, start_child/1]).
init([]) ->
  Child = #{id => child, start => {?MODULE, start_child, [whereis(driver)]}},
  {ok, {#{strategy => one_for_one, intensity => 1000000000, period => 1}, [Child]}}.
start_child(Driver) ->
  {ok, proc_lib:spawn_link(fun() ->
    Driver ! {born, self(), erlang:monotonic_time(nanosecond)},
    receive die -> exit(told_to_die) end
  end)}.
main([Count]) ->
  logger:set_primary_config(level, none),
  register(driver, self()),
  {ok, _} = supervisor:start_link(?MODULE, []),
  receive {born, Pid, _} -> run(list_to_integer(Count), Pid) end,
  halt().
run(0, _) -> ok;
run(Left, Pid) ->
  Begin = erlang:monotonic_time(nanosecond),
  Pid ! die,
  receive {born, Next, Born} -> io:format("~b~n", [Born - Begin]), run(Left - 1, Next) end.
"""

_MEDIAN: Final = "crash to restarted child, median"
_P99: Final = "crash to restarted child, 99th percentile"
_THEIRS: Final = "Erlang one_for_one, {}"
_MIDDLE, _HIGH = _THEIRS.format("median"), _THEIRS.format("99th percentile")

_BOOT: Final = "start of process services, one after the other"
_STOP: Final = "their orderly stop"
_MEMORY: Final = "supervision of an idle service"

_HAS_ERLANG: Final = bool(shutil.which("erl") and shutil.which("erlc"))


def _percentiles(took: list[float]) -> tuple[float, float]:
    """Median and 99th percentile of nanoseconds, as microseconds."""
    took = sorted(took)
    return took[len(took) // 2] / 1e3, took[len(took) * 99 // 100] / 1e3


def _erlang(folder: Path, count: int) -> list[float]:
    command = ["erl", "-noshell", "-pa", str(folder), "-run", "restarts", "main", str(count)]
    return [float(each) for each in subprocess.check_output(command, text=True).split()]


@contextmanager
def _prepare_restarts(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: restarts in a round."""
    if _HAS_ERLANG:
        (folder / "restarts.erl").write_text(_ERLANG)
        subprocess.run(["erlc", "restarts.erl"], cwd=folder, check=True)

    def measure() -> Round:
        with _quiet_node(folder) as node:
            driver = node.spawn("bench:driver", "bench:processes", size)
            node.supervisor.restart_child("bench:child")  # tells the driver that it is there
            median, p99 = _percentiles(node.result(driver, 600))
        values = {_MEDIAN: median, _P99: p99}
        if _HAS_ERLANG:
            values[_MIDDLE], values[_HIGH] = _percentiles(_erlang(folder, size))
        return values

    yield measure


@contextmanager
def _quiet_node(folder: Path) -> Iterator[Node]:
    """A node that does not write what dies."""
    shutil.rmtree(folder / "application", ignore_errors=True)
    logging.disable(logging.ERROR)
    try:
        with nodes.running(folder, _APPLICATION) as node:
            yield node
    finally:
        logging.disable(logging.NOTSET)


class _Idle(PromptService):
    """A service that costs nothing itself."""

    def __init__(self, service_id: str) -> None:
        self.id = service_id

    def attach(self, on_exit: OnExit) -> None:
        pass

    def begin_start(self, done: OnDone) -> None:
        done(None)

    def begin_stop(self, done: OnDone) -> None:
        done(None)


def _supervised_bytes(count: int) -> float:
    """Memory of a supervisor for each of the services that it keeps running."""
    services = [_Idle(f"bench:idle{n}") for n in range(count)]
    gc.collect()
    tracemalloc.start()
    family = Family(tuple(each.id for each in services))
    supervisor = Supervisor(
        "bench",
        [
            (ServiceSpec("bench:top", auto_start=True, family=family), None),
            *((ServiceSpec(each.id), each) for each in services),
        ],
        Timers(SystemClock()),
    )
    supervisor.start_all()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    supervisor.close()
    return used / count


def _many(count: int) -> str:
    """An application of as many services under one supervisor."""
    children = ", ".join(f"s{n}" for n in range(count))
    return "\n".join(
        [
            "  - {name: processes, kind: process.host, host: {workers: 1},"
            " lifecycle: {auto_start: true}}",
            '  - {name: waits, kind: process.lua, source: "process.events():receive()"}',
            f"  - {{name: top, kind: process.supervisor, children: [{children}]}}",
            *(
                f'  - {{name: s{n}, kind: process.service, process: "bench:waits",'
                ' host: "bench:processes"}'
                for n in range(count)
            ),
        ]
    )


def _timed(call: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


@contextmanager
def _prepare_many(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: services."""
    with nodes.running(folder, _many(size)) as node:

        def measure() -> Round:
            return {
                _BOOT: _timed(partial(node.supervisor.start_child, "bench:top")),
                _STOP: _timed(partial(node.supervisor.stop_child, "bench:top")),
                _MEMORY: _supervised_bytes(size),
            }

        yield measure


_US: Final = "µs"
RESTARTS: Final = Benchmark(
    "restarts",
    (
        Figure(_MEDIAN, _US, goal=Goal(300, at_least=False)),
        Figure(_P99, _US, goal=Goal(1000, at_least=False)),
        *((Figure(_MEDIAN, _US, _MIDDLE), Figure(_P99, _US, _HIGH)) if _HAS_ERLANG else ()),
    ),
    full=5_000,
    quick=50,
    prepare=_prepare_restarts,
)

MANY: Final = Benchmark(
    "1000 services",
    (Figure(_BOOT, "ms"), Figure(_STOP, "ms"), Figure(_MEMORY, "bytes")),
    full=1_000,
    quick=20,
    prepare=_prepare_many,
)
