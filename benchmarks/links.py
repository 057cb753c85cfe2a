"""From the crash of a process to all that are linked with it knowing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Round
from benchmarks.peers import erlang

_APPLICATION: Final = """
  - {name: one, kind: process.host, host: {workers: 1}}
  - {name: other, kind: process.host, host: {workers: 1}}
  - name: victim
    kind: process.lua
    source: process.inbox():receive(); error("crashed")
  - name: watcher
    kind: process.lua
    source: |
      local victim, master = ...
      process.set_options({trap_links = true})
      assert(process.link(victim))
      process.send(master, "ready")
      local event = process.events():receive()
      process.send(master, event.kind)
  - name: master
    kind: process.lua
    source: |
      local inbox = process.inbox()
      local function wait(peers, topic)
        for _ = 1, peers do
          local heard = inbox:receive():topic()
          assert(heard == topic, heard)
        end
      end
      while true do
        local client = inbox:receive()
        local order = client:payload():data()
        local victim = assert(process.spawn("bench:victim", "bench:one"))
        for _ = 1, order.peers do
          assert(process.spawn("bench:watcher", order.host, victim, process.pid()))
        end
        wait(order.peers, "ready")
        process.send(client:from(), "ready")
        local go = inbox:receive()
        process.send(victim, "die")
        wait(order.peers, process.event.LINK_DOWN)
        process.send(go:from(), "done")
      end
"""

_ONE: Final = "one peer"
_MANY: Final = "1000 peers"
_ACROSS: Final = "1000 peers in another VM"


@contextmanager
def _silence() -> Iterator[None]:
    """Crashes are logged, here and by the peer, and nobody wants to read thousands."""
    log = logging.getLogger("perdure.lua")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: the peers that are called 1000 in the table."""
    crashes = max(size // 20, 1)
    with _silence(), nodes.running(folder, _APPLICATION) as node:
        master = node.actor(node.spawn("bench:master", "bench:one"))

        def crash(peers: int, host: str) -> float:
            """Milliseconds; the way of the request from Python and back is in them."""
            master.ask({"peers": peers, "host": host})
            begin = time.perf_counter()
            master.ask("go")
            return (time.perf_counter() - begin) * 1e3

        def measure() -> Round:
            values = {
                _ONE: sum(crash(1, "bench:one") for _ in range(crashes)) / crashes,
                _MANY: crash(size, "bench:one"),
                _ACROSS: crash(size, "bench:other"),
            }
            for series, peers, times in ((_ONE, 1, crashes), (_MANY, size, 1)):
                for value in erlang.measure("crash", peers, times).values():
                    values[erlang.ERLANG.of(series)] = value
            return values

        yield measure


LINKS: Final = Benchmark(
    "crash, until linked peers know",
    (
        Figure(_ONE, "ms", erlang.ERLANG),
        Figure(_MANY, "ms", erlang.ERLANG),
        Figure(_ACROSS, "ms"),
    ),
    full=1000,
    quick=10,
    prepare=_prepare,
)
