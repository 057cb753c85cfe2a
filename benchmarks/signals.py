"""Signals to one workflow: how many a second, and how long until its answer is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.load import closed_loop, signal
from benchmarks.peers import durable
from benchmarks.peers.durable import DBOS, TEMPORAL
from benchmarks.peers.spread import percentiles
from benchmarks.workflows import APPLICATION

_ECHO: Final = """
  - name: echo
    kind: workflow.lua
    source: |
      local inbox = process.inbox()
      while true do
        local message = inbox:receive()
        process.send(message:from(), "answer", message:payload():data())
      end
"""

_IN_FLIGHT: Final = 50
#: Signals of ours for each of the peers'.
_SHARE: Final = 50
#: Answers that are waited for, ours and the peers'.
_ANSWERS: Final = 500
_PEER_ANSWERS: Final = 20

_RATE: Final = "acknowledged and received"
_P50: Final = "from signal to answer, p50"
_P99: Final = "from signal to answer, p99"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: signals to one workflow."""
    in_flight = min(_IN_FLIGHT, size)
    answers = min(_ANSWERS, size)
    peer_rate = durable.printing("signals", max(size // _SHARE, 2), in_flight)
    peer_latency = durable.printing("latency", min(_PEER_ANSWERS, answers))
    with nodes.running(folder, APPLICATION + _ECHO) as node:
        echo = node.actor(node.spawn("bench:echo", "bench:host"))

        def rate() -> float:
            pid = node.spawn("bench:signals", "bench:host", size)
            begin = time.perf_counter()
            closed_loop(size, in_flight, lambda _, answered: signal(node, pid, answered))
            node.result(pid)
            return size / (time.perf_counter() - begin)

        def latency() -> float:
            begin = time.perf_counter()
            echo.ask(1)
            return (time.perf_counter() - begin) * 1e3

        def measure() -> Round:
            found = percentiles([latency() for _ in range(answers)])
            return {
                _RATE: rate(),
                _P50: found["p50"],
                _P99: found["p99"],
                **durable.beside({"rate": _RATE}, peer_rate, folder),
                **durable.beside({"p50": _P50, "p99": _P99}, peer_latency, folder),
            }

        yield measure


SIGNALS: Final = Benchmark(
    "signals to one workflow",
    (
        Figure(_RATE, "signals/s", DBOS),
        Figure(_RATE, "signals/s", TEMPORAL, Goal(20, at_least=True)),
        *(Figure(series, "ms", peer) for series in (_P50, _P99) for peer in (DBOS, TEMPORAL)),
    ),
    full=10_000,
    quick=4,
    prepare=_prepare,
    rounds=3,
    warmup=0,
)
