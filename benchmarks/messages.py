"""Messages/s where they leave their VM, and one message to very many processes.

Cross-VM: pairs of processes on two VMs, each waiting for the answer before it sends again. Beside
it stands ping-pong of plain Pykka ThreadingActors, as in the ring.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.peers import erlang
from benchmarks.ring import plain

_APPLICATION: Final = """
  - {name: one, kind: process.host, host: {workers: 1}}
  - {name: other, kind: process.host, host: {workers: 1}}
  - name: echo
    kind: process.lua
    source: |
      local inbox = process.inbox()
      while true do
        local msg = inbox:receive()
        process.send(msg:from(), "n", msg:payload():data())
      end
  - name: pinger
    kind: process.lua
    source: |
      local master, host = ...
      local inbox, echo = process.inbox(), assert(process.spawn("bench:echo", host))
      while true do
        local rounds = inbox:receive():payload():data()
        for i = 1, rounds do
          process.send(echo, "n", i)
          inbox:receive()
        end
        process.send(master, "done")
      end
  - name: pairs
    kind: process.lua
    source: |
      local count, own, other = ...
      local inbox, pids = process.inbox(), {}
      for i = 1, count do
        pids[i] = assert(process.spawn("bench:pinger", own, process.pid(), other))
      end
      while true do
        local client = inbox:receive()
        for i = 1, count do process.send(pids[i], "go", client:payload():data()) end
        for i = 1, count do inbox:receive() end
        process.send(client:from(), "done")
      end
  - name: fan
    kind: process.lua
    source: |
      local count, host, payload = ...
      local inbox, pids = process.inbox(), {}
      for i = 1, count do pids[i] = assert(process.spawn("bench:leaf", host, process.pid())) end
      while true do
        local client = inbox:receive()
        for i = 1, count do process.send(pids[i], "news", payload) end
        for i = 1, count do inbox:receive() end
        process.send(client:from(), "done")
      end
  - name: leaf
    kind: process.lua
    source: |
      local fan = ...
      local inbox = process.inbox()
      while true do
        inbox:receive()
        process.send(fan, "got")
      end
"""

_ACROSS: Final = "between two VMs"
_PLAIN: Final = "plain Pykka"
_FAN: Final = "in one VM"
_FAN_ACROSS: Final = "to another VM"

#: Pairs under way at the same time.
_PAIRS: Final = 100
#: Messages of ours for each of the peer's.
_SHARE: Final = 5
_NEWS: Final = {"title": "a message of some size", "tags": ["a", "b"], "at": 1.5}


@contextmanager
def _cross(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: messages of ours in a round."""
    rounds = max(size // _PAIRS // 2, 1)
    sent = rounds * _PAIRS * 2
    with nodes.running(folder, _APPLICATION) as node:
        master = node.actor(
            node.spawn("bench:pairs", "bench:one", _PAIRS, "bench:one", "bench:other")
        )

        def measure() -> Round:
            begin = time.perf_counter()
            master.ask(rounds)
            rate = sent / (time.perf_counter() - begin)
            with plain(2) as peer:
                return {_ACROSS: rate, _PLAIN: peer(max(sent // _SHARE, 2))}

        yield measure


@contextmanager
def _fan_out(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: processes that get the message."""
    with nodes.running(folder, _APPLICATION) as node:
        fans = {
            _FAN: node.actor(node.spawn("bench:fan", "bench:one", size, "bench:one", _NEWS)),
            _FAN_ACROSS: node.actor(
                node.spawn("bench:fan", "bench:one", size, "bench:other", _NEWS)
            ),
        }

        def measure() -> Round:
            values = {}
            for series, fan in fans.items():
                begin = time.perf_counter()
                fan.ask("go")
                values[series] = (time.perf_counter() - begin) * 1e3
            for value in erlang.measure("fan", size).values():
                values[erlang.ERLANG.of(_FAN)] = value
            return values

        yield measure


CROSS_VM: Final = Benchmark(
    "cross-VM messages",
    (Figure(_ACROSS, "messages/s", _PLAIN, Goal(4, at_least=True)),),
    full=200_000,
    quick=400,
    prepare=_cross,
)

FAN_OUT: Final = Benchmark(
    "fan-out to 10 k, with answers",
    (Figure(_FAN, "ms", erlang.ERLANG), Figure(_FAN_ACROSS, "ms")),
    full=10_000,
    quick=50,
    prepare=_fan_out,
)
