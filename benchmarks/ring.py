"""Messages/s around a ring: a number is passed on, one less each time, until it is 0.

A ring of two is ping-pong. Beside ours, processes of one VM, stands the same ring of plain Pykka
ThreadingActors. What that does depends on where the system puts its threads: while they wake each
other across cores that are free it is several times slower than where they have to share one, as
they do when others keep the rest busy. So it is measured as it comes, which is what the goal means,
and held to one core, which is its best. Erlang/OTP does the same where it is installed.

Fuel costs next to nothing of ours (see prelude/fuel.lua). What a message costs beyond the code that
it runs is memory, its own, its payload's and that of what is handed out: with Lua's collector
stopped there are two fifths more messages/s, and with a generational one a tenth more.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pykka

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.peers import erlang

_APPLICATION: Final = """
  - name: processes
    kind: process.host
    host: {workers: 1}
    lifecycle: {auto_start: true, stop_timeout: 1s}
  - name: head
    kind: process.lua
    source: |
      local members = ...
      local neighbour = process.pid()
      for _ = 2, members do
        neighbour = assert(process.spawn("bench:member", "bench:processes", neighbour))
      end
      local inbox = process.inbox()
      while true do
        local client = inbox:receive()
        local hops = client:payload():data()
        while hops > 0 do
          process.send(neighbour, "token", hops - 1)
          hops = inbox:receive():payload():data()
        end
        process.send(client:from(), "done", hops)
      end
  - name: member
    kind: process.lua
    source: |
      local neighbour = ...
      local inbox = process.inbox()
      while true do
        process.send(neighbour, "token", inbox:receive():payload():data() - 1)
      end
"""

_OURS: Final = "Lua processes of one VM"
_PLAIN: Final = "plain Pykka"
_ONE_CORE: Final = "Pykka on one core"
_CAN_PIN: Final = hasattr(os, "sched_setaffinity")

#: Messages of ours for each of the peer's, so that both take about as long.
_SHARE: Final = 20

#: CPython's default, which a plain Pykka program runs at; a node lowers it.
_SWITCH_INTERVAL: Final = 0.005


class _Member(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, done: Callable[[], None]) -> None:
        super().__init__()
        self._done = done
        self._neighbour: pykka.ActorRef[_Member] | None = None

    def on_receive(self, message: int | pykka.ActorRef[_Member]) -> None:
        if not isinstance(message, int):
            self._neighbour = message
        elif message == 0 or self._neighbour is None:
            self._done()
        else:
            self._neighbour.tell(message - 1)


@contextmanager
def _one_core() -> Iterator[None]:
    """Threads that are started meanwhile stay on one core for good."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def plain(members: int) -> Iterator[Callable[[int], float]]:
    """A ring of plain Pykka actors: called with a number of hops it gives messages/s."""
    arrived = threading.Event()
    ring = [_Member.start(arrived.set) for _ in range(members)]
    for member, neighbour in zip(ring, ring[1:] + ring[:1], strict=True):
        member.tell(neighbour)

    def rate(hops: int) -> float:
        arrived.clear()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        begin = time.perf_counter()
        ring[0].tell(hops)
        arrived.wait()
        seconds = time.perf_counter() - begin
        sys.setswitchinterval(interval)
        return hops / seconds

    try:
        yield rate
    finally:
        for member in ring:
            member.stop()


@contextmanager
def _ours(members: int, folder: Path) -> Iterator[Callable[[int], float]]:
    with nodes.running(folder, _APPLICATION) as node:
        head = node.actor(node.spawn("bench:head", "bench:processes", members))

        def rate(hops: int) -> float:
            begin = time.perf_counter()
            head.ask(hops)
            return hops / (time.perf_counter() - begin)

        yield rate


@contextmanager
def _prepare(members: int, size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: messages of ours in a round, made a whole number of laps."""
    laps = max(size // members, 1) * members
    peer_laps = max(size // _SHARE // members, 1) * members

    def measure() -> Round:
        values = {_OURS: ours(laps)}
        with plain(members) as peer:
            values[_PLAIN] = peer(peer_laps)
        if _CAN_PIN:
            with _one_core(), plain(members) as peer:
                values[_ONE_CORE] = peer(peer_laps)
        for value in erlang.measure("ring", members, 5 * laps).values():
            values[erlang.ERLANG.of(_OURS)] = value
        return values

    with _ours(members, folder) as ours:
        yield measure


_FIGURES: Final = (
    Figure(_OURS, "messages/s", _PLAIN, Goal(25, at_least=True)),
    *((Figure(_OURS, "messages/s", _ONE_CORE),) if _CAN_PIN else ()),
    Figure(_OURS, "messages/s", erlang.ERLANG, Goal(1 / 6, at_least=True)),
)


PING_PONG: Final = Benchmark(
    "ping-pong",
    _FIGURES,
    full=400_000,
    quick=2_000,
    prepare=partial(_prepare, 2),
)

RING: Final = Benchmark(
    "ring of 1000",
    _FIGURES,
    full=400_000,
    quick=1_000,
    prepare=partial(_prepare, 1000),
)
