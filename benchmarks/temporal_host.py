"""Activity round trips on a Temporal server: our worker beside a plain Python SDK worker.

Both on one dev server, in one process, with workflows of the same shape, one after the other. The
plain worker has no sandbox, as ours has none. Needs the extra bench.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.load import run_workflows
from supervision.cli.temporal_dev import dev_server

T = TypeVar("T")

_APPLICATION: Final = """
  - {{name: client, kind: temporal.client, address: "{address}"}}
  - {{name: host, kind: temporal.worker, client: "bench:client", workers: 1}}
  - {{name: add, kind: function.lua, source: "local a, b = ...; return a + b"}}
  - name: trips
    kind: workflow.lua
    modules: [funcs]
    source: |
      local funcs = require("funcs")
      local sum = 0
      for _ = 1, ... do sum = assert(funcs.call("bench:add", sum, 1)) end
      return sum
"""

IN_FLIGHT: Final = 20
ACTIVITIES: Final = 5

_RATE: Final = "round trips"
_MS: Final = "one round trip"
_PLAIN_RATE: Final = "plain SDK"
_PLAIN_MS: Final = "plain SDK, one after the other"


class _Plain:
    """The plain worker and its client, on a loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _together(count: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Round trips/s of so many workflows, IN_FLIGHT at a time."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def limited(number: int) -> None:
        async with slots:
            await one(number)

    begin = time.perf_counter()
    await asyncio.gather(*(limited(number) for number in range(count)))
    return count * ACTIVITIES / (time.perf_counter() - begin)


class _Names:
    count = 0

    def next(self) -> str:
        self.count += 1
        return f"plain-{self.count}"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows in a round, and half as many round trips one after the other."""
    # Not before it is measured: what it brings would count as memory of other benchmarks.
    from benchmarks.peers.temporal_worker import worker as plain_worker

    one_by_one, names = max(size // 2, 5), _Names()
    with (
        dev_server() as server,
        nodes.running(folder, _APPLICATION.format(address=server.address)) as node,
    ):
        plain = _Plain()
        worker = plain_worker(server.address)
        trips = plain.run(worker.__aenter__())

        async def theirs(activities: int) -> None:
            await trips(names.next(), activities)

        def ours(count: int, in_flight: int, activities: int) -> float:
            """Round trips/s."""
            seconds = run_workflows(node, "bench:trips", count, in_flight, activities)
            return count * activities / seconds

        def one_of_theirs(activities: int) -> float:
            begin = time.perf_counter()
            plain.run(theirs(activities))
            return (time.perf_counter() - begin) / activities * 1e3

        def measure() -> Round:
            ours(1, 1, 1), one_of_theirs(1)
            return {
                _RATE: ours(size, IN_FLIGHT, ACTIVITIES),
                _PLAIN_RATE: plain.run(_together(size, lambda _: theirs(ACTIVITIES))),
                _MS: 1e3 / ours(1, 1, one_by_one),
                _PLAIN_MS: one_of_theirs(one_by_one),
            }

        try:
            yield measure
        finally:
            plain.run(worker.__aexit__(None, None, None))
            plain.close()


TEMPORAL_HOST: Final = Benchmark(
    "workflows on a Temporal server",
    (
        Figure(_RATE, "/s", _PLAIN_RATE, Goal(0.9, at_least=True)),
        Figure(_MS, "ms", _PLAIN_MS, Goal(1.1, at_least=False)),
    ),
    full=60,
    quick=4,
    prepare=_prepare,
    rounds=9,
)
