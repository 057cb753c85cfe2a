"""The latency of durability: one workflow, one activity after the other.

Beside it the least that a round trip on disk could cost: an LMDB commit of one record with fsync,
in the same folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.peers import durable
from benchmarks.peers.durable import DBOS, TEMPORAL
from benchmarks.workflows import APPLICATION

_OURS: Final = "one round trip"
_COMMIT: Final = "LMDB commit"

#: Round trips of ours for each of the peers'.
_SHARE: Final = 5

#: About what a round trip writes, bytes.
_RECORD: Final = b"x" * 200


def _commits(env: lmdb.Environment, first: int, count: int) -> float:
    """Milliseconds per commit of one record."""
    begin = time.perf_counter()
    for number in range(first, first + count):
        with env.begin(write=True) as txn:
            txn.put(number.to_bytes(8, "big"), _RECORD)
    return (time.perf_counter() - begin) / count * 1e3


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: round trips, and commits, in a round; small ones, since disks stall now and then."""
    written = 0
    peers = durable.printing("sequential", max(size // _SHARE, 2))
    with (
        nodes.running(folder, APPLICATION) as node,
        lmdb.open(str(folder / "bare"), map_size=1 << 30) as env,
    ):

        def trips() -> float:
            begin = time.perf_counter()
            node.result(node.spawn("bench:trips", "bench:host", size, False))
            return (time.perf_counter() - begin) / size * 1e3

        def measure() -> Round:
            nonlocal written
            bare = _commits(env, written, size)
            written += size
            return {_COMMIT: bare, _OURS: trips(), **durable.beside({"ms": _OURS}, peers, folder)}

        yield measure


SEQUENTIAL: Final = Benchmark(
    "sequential round trips",
    (
        Figure(_OURS, "ms", _COMMIT, Goal(2.5, at_least=False)),
        Figure(_OURS, "ms", DBOS),
        Figure(_OURS, "ms", TEMPORAL),
    ),
    full=200,
    quick=10,
    prepare=_prepare,
    rounds=7,
)
