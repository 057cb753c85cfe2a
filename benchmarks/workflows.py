"""Durable throughput: activity round trips, empty workflows and signals, 200 workflows at a time.

All of it goes through the journal, with an fsync per commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.load import Answered, closed_loop, run_workflows, signal
from benchmarks.peers import durable
from benchmarks.peers.durable import DBOS, TEMPORAL
from supervision import Node

IN_FLIGHT: Final = 200
ACTIVITIES: Final = 5
SIGNALS: Final = 20

APPLICATION: Final = """
  - {name: journal, kind: journal.lmdb, path: ./journal}
  - {name: host, kind: workflow.host, journal: "bench:journal", workers: 1,
     lifecycle: {auto_start: true}}
  - {name: add, kind: function.lua, source: "local a, b = ...; return a + b"}
  - name: trips
    kind: workflow.lua
    modules: [funcs]
    source: |
      local funcs = require("funcs")
      local activities, wait = ...
      if wait then process.inbox():receive() end
      local sum = 0
      for _ = 1, activities do sum = assert(funcs.call("bench:add", sum, 1)) end
      return sum
  - {name: empty, kind: workflow.lua, source: "return true"}
  - name: signals
    kind: workflow.lua
    source: |
      local count = ...
      local inbox = process.inbox()
      for _ = 1, count do inbox:receive() end
"""

#: Workflows of the peers in a round: as many as are in flight.
_PEER_SIZE: Final = IN_FLIGHT

_TRIPS: Final = "of workflows that wait"
_WHOLE: Final = "with start and end of the workflows"
_EMPTY: Final = "started and ended"
_SIGNALS: Final = "acknowledged and received"


def _waiting(node: Node, count: int, entry: str, *args: object) -> list[str]:
    """PIDs of workflows that were started."""
    return [node.spawn(entry, "bench:host", *args) for _ in range(count)]


def _burst(node: Node) -> float:
    """Round trips/s of workflows that begin together, from their signal to their results."""
    pids = _waiting(node, IN_FLIGHT, "bench:trips", ACTIVITIES, True)

    def begin(number: int, answered: Answered) -> None:
        node.router.outcome(pids[number], node.clients.expect(answered))
        signal(node, pids[number], lambda ok, value: None)

    return IN_FLIGHT * ACTIVITIES / closed_loop(IN_FLIGHT, IN_FLIGHT, begin)


@contextmanager
def _round_trips(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows that are started and ended in a round."""
    peers = durable.printing("trips", min(size, _PEER_SIZE), IN_FLIGHT, ACTIVITIES)
    with nodes.running(folder, APPLICATION) as node:
        _burst(node)  # to warm up; the peers need no whole round for that

        def measure() -> Round:
            seconds = run_workflows(node, "bench:trips", size, IN_FLIGHT, ACTIVITIES)
            return {
                _TRIPS: _burst(node),
                _WHOLE: size * ACTIVITIES / seconds,
                **durable.beside({"rate": _WHOLE}, peers, folder),
            }

        yield measure


@contextmanager
def _empty(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows in a round."""
    peers = durable.printing("empty", min(size, _PEER_SIZE), IN_FLIGHT)
    with nodes.running(folder, APPLICATION) as node:
        yield lambda: {
            _EMPTY: size / run_workflows(node, "bench:empty", size, IN_FLIGHT),
            **durable.beside({"rate": _EMPTY}, peers, folder),
        }


@contextmanager
def _signals(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows in a round; each gets its signals one after the other."""
    with nodes.running(folder, APPLICATION) as node:

        def measure() -> Round:
            pids = _waiting(node, size, "bench:signals", SIGNALS)
            total = size * SIGNALS
            seconds = closed_loop(
                total, size, lambda number, answered: signal(node, pids[number % size], answered)
            )
            for pid in pids:
                node.result(pid)
            return {_SIGNALS: total / seconds}

        yield measure


ROUND_TRIPS: Final = Benchmark(
    "activity round trips",
    (
        Figure(_WHOLE, "round trips/s", goal=Goal(20_000, at_least=True)),
        Figure(_WHOLE, "round trips/s", DBOS, Goal(50, at_least=True)),
        Figure(_WHOLE, "round trips/s", TEMPORAL, Goal(150, at_least=True)),
        Figure(_TRIPS, "round trips/s"),
    ),
    full=2000,
    quick=20,
    prepare=_round_trips,
    rounds=3,
    warmup=0,
)

EMPTY: Final = Benchmark(
    "empty workflows",
    (Figure(_EMPTY, "workflows/s", DBOS), Figure(_EMPTY, "workflows/s", TEMPORAL)),
    full=4000,
    quick=20,
    prepare=_empty,
    rounds=3,
    warmup=0,
)

SIGNALED: Final = Benchmark(
    "signals", (Figure(_SIGNALS, "signals/s"),), full=200, quick=5, prepare=_signals
)
