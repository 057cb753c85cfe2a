"""What goes on between the coroutines of one process: hand-offs, buffers, select."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Round

#: A process that does as it is told: {channels, buffer, values}; each channel has its own sender.
_APPLICATION: Final = """
  - {name: processes, kind: process.host, host: {workers: 1}}
  - name: channels
    kind: process.lua
    source: |
      local function values(order)
        local cases = {}
        for i = 1, order.channels do
          local ch = channel.new(order.buffer)
          cases[i] = ch:case_receive()
          coroutine.spawn(function()
            for n = 1, order.values // order.channels do ch:send(n) end
          end)
          if order.channels == 1 then
            return function() return (ch:receive()) end
          end
        end
        return function() return channel.select(cases).value end
      end
      local inbox = process.inbox()
      while true do
        local client = inbox:receive()
        local order = client:payload():data()
        local next_value = values(order)
        for _ = 1, order.values do assert(next_value()) end
        process.send(client:from(), "done")
      end
"""

#: Series -> (channels, buffer of each).
_ORDERS: Final = {
    "handed over without a buffer": (1, 0),
    "through a buffer of 64": (1, 64),
    "selected from 10 channels": (10, 0),
}


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: values of each series in a round."""
    with nodes.running(folder, _APPLICATION) as node:
        process = node.actor(node.spawn("bench:channels", "bench:processes"))

        def rate(channels: int, buffer: int) -> float:
            begin = time.perf_counter()
            process.ask({"channels": channels, "buffer": buffer, "values": size})
            return size / (time.perf_counter() - begin)

        yield lambda: {series: rate(*order) for series, order in _ORDERS.items()}


CHANNELS: Final = Benchmark(
    "channels",
    tuple(Figure(series, "values/s") for series in _ORDERS),
    full=200_000,
    quick=200,
    prepare=_prepare,
)
