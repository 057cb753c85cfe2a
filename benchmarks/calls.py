"""Function calls/s: in the VM of the caller, in VMs of their own, and in Python.

An inline call has a slot, globals and a chunk of its own, which are garbage when it ends: with
Lua's collector stopped there are two thirds more of them, with a generational one a quarter more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round

_APPLICATION: Final = """
  - {name: processes, kind: process.host, host: {workers: 1}}
  - {name: inline, kind: function.lua, source: return ...}
  - {name: pooled, kind: function.lua, source: return ..., pool: {type: static, workers: 2}}
  - {name: threads, kind: function.python, target: "functions:same"}
  - {name: loop, kind: function.python, target: "functions:same_async"}
  - name: children
    kind: function.python
    target: "functions:same"
    pool: {type: process, workers: 2}
  - name: caller
    kind: process.lua
    modules: [funcs]
    source: |
      local inbox = process.inbox()
      while true do
        local client = inbox:receive()
        local order = client:payload():data()
        local done = channel.new(order.side)
        for _ = 1, order.side do
          coroutine.spawn(function()
            for i = 1, order.count do assert(funcs.call(order.target, i)) end
            done:send(true)
          end)
        end
        for _ = 1, order.side do done:receive() end
        process.send(client:from(), "done")
      end
"""
_FUNCTIONS: Final = """
def same(value): return value
async def same_async(value): return value
"""

#: Calls under way at the same time.
_SIDE: Final = 16

#: Series -> (function, share of the calls that are made of it).
_TARGETS: Final = {
    "Lua, inline": ("bench:inline", 1),
    "Lua, static pool of 2": ("bench:pooled", 10),
    "Python, threads": ("bench:threads", 20),
    "Python, event loop": ("bench:loop", 20),
    "Python, 2 processes": ("bench:children", 40),
}


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: inline calls in a round."""
    home = nodes.write(folder, _APPLICATION)
    (home / "functions.py").write_text(_FUNCTIONS)
    with nodes.started(home) as node:
        caller = node.actor(node.spawn("bench:caller", "bench:processes"))

        def rate(target: str, share: int) -> float:
            count = max(size // share // _SIDE, 1)
            begin = time.perf_counter()
            caller.ask({"target": target, "count": count, "side": _SIDE})
            return count * _SIDE / (time.perf_counter() - begin)

        yield lambda: {series: rate(*order) for series, order in _TARGETS.items()}


CALLS: Final = Benchmark(
    "function calls, 16 at a time",
    tuple(
        Figure(series, "calls/s", goal=Goal(300_000, at_least=True) if share == 1 else None)
        for series, (_, share) in _TARGETS.items()
    ),
    full=200_000,
    quick=200,
    prepare=_prepare,
)
