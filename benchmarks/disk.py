"""What a workflow of five activities leaves on disk, once the journal is compact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.load import run_workflows
from benchmarks.peers import durable
from benchmarks.peers.durable import DBOS, TEMPORAL
from benchmarks.workflows import ACTIVITIES, APPLICATION, IN_FLIGHT
from journal.upkeep import compact

#: Workflows of the peers, at most; more would say the same, later.
_PEER_SIZE: Final = 100

_LEFT: Final = "left by each workflow"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows that are run to their end; a round adds as many."""
    home = nodes.write(folder, APPLICATION)
    ended = durable.printing("disk", min(size, _PEER_SIZE), ACTIVITIES)

    def compacted(count: int) -> int:
        with nodes.started(home) as node:
            if count:
                run_workflows(node, "bench:trips", count, min(IN_FLIGHT, count), ACTIVITIES)
        return compact(home / "journal")[1]

    def measure() -> Round:
        left = (-compacted(0) + compacted(size)) / size
        return {_LEFT: left, **durable.beside({"bytes": _LEFT}, ended, folder)}

    yield measure


DISK: Final = Benchmark(
    "disk",
    (
        Figure(_LEFT, "bytes", goal=Goal(1500, at_least=False)),
        Figure(_LEFT, "bytes", DBOS),
        Figure(_LEFT, "bytes", TEMPORAL),
    ),
    full=2000,
    quick=20,
    prepare=_prepare,
    rounds=1,
    warmup=0,
)
