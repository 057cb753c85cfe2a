"""Idle processes: how fast they are made, and what each costs in memory.

Measured in a child process, so that nothing else is in its resident set:
`python -m benchmarks.idle COUNT FOLDER` prints the series as JSON.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.peers import erlang
from supervision import Node

_APPLICATION: Final = """
  - name: processes
    kind: process.host
    host: {workers: 1}
    limits: {memory: 4GB}
    lifecycle: {auto_start: true}
  - name: idle
    kind: process.lua
    source: process.inbox():receive()
  - name: parent
    kind: process.lua
    source: |
      local count = ...
      for _ = 1, count do assert(process.spawn("bench:idle", "bench:processes")) end
      -- It runs after all of them have come to wait.
      return process.exec("bench:last", "bench:processes")
  - {name: last, kind: process.lua, source: return true}
  - {name: memory, kind: process.lua, source: 'return collectgarbage("count")'}
"""

_ROOT: Final = Path(__file__).parent.parent

_SPAWNS: Final = "spawned"
_RESIDENT: Final = "resident memory of each"
_VM: Final = "memory in the VM of each"
_TOTAL: Final = "growth of the node"


def resident(pid: int | None = None) -> int:
    """Bytes of a process that are in memory, by default of this one."""
    pid = pid or os.getpid()
    statm = Path(f"/proc/{pid}/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    listed = subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)])
    return int(listed) * 1024


def _measure(node: Node, count: int) -> Round:
    def result(entry: str, *args: int) -> float:
        return cast(float, node.result(node.spawn(entry, "bench:processes", *args)))

    result("bench:parent", 10)
    gc.collect()
    in_vm, before = result("bench:memory"), resident()
    begin = time.perf_counter()
    result("bench:parent", count)
    seconds = time.perf_counter() - begin
    grown = resident() - before
    return {
        _SPAWNS: count / seconds,
        _RESIDENT: grown / count,
        _VM: (result("bench:memory") - in_vm) * 1024 / count,
        _TOTAL: grown / 1e6,
    }


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: processes."""
    numbers = itertools.count()

    def measure() -> Round:
        own = folder / str(next(numbers))
        own.mkdir()
        command = [sys.executable, "-m", "benchmarks.idle", str(size), str(own)]
        values = cast(dict[str, float], json.loads(subprocess.check_output(command, cwd=_ROOT)))
        if peer := erlang.measure("spawn", size):
            values[erlang.ERLANG.of(_SPAWNS)] = peer["spawned"]
            values[erlang.ERLANG.of(_RESIDENT)] = peer["bytes"]
        return values

    yield measure


IDLE: Final = Benchmark(
    "idle processes",
    (
        Figure(_SPAWNS, "processes/s", goal=Goal(50_000, at_least=True)),
        Figure(_SPAWNS, "processes/s", erlang.ERLANG),
        Figure(_RESIDENT, "bytes", goal=Goal(4096, at_least=False)),
        Figure(_RESIDENT, "bytes", erlang.ERLANG),
        Figure(_VM, "bytes"),
        Figure(_TOTAL, "MB", goal=Goal(600, at_least=False)),
    ),
    full=100_000,
    quick=500,
    prepare=_prepare,
    rounds=3,
    warmup=0,
)

if __name__ == "__main__":
    with nodes.running(Path(sys.argv[2]), _APPLICATION) as running:
        print(json.dumps(_measure(running, int(sys.argv[1]))), flush=True)
        # The processes never hear a CANCEL: an orderly stop would wait out its whole timeout.
        os._exit(0)
