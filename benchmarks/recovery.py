"""Workflows that wait for a signal: their memory, a kill -9, the way back until all have ended.

`python -m benchmarks.recovery block|recover FOLDER COUNT` does our part, see peers/durable.py.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.dormant import APPLICATION
from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.idle import resident
from benchmarks.load import Answered, closed_loop, signal, start_workflows
from benchmarks.nodes import write
from benchmarks.peers import durable
from benchmarks.peers.durable import DBOS, TEMPORAL
from supervision import Node

_MODULE: Final = "benchmarks.recovery"
_IN_FLIGHT: Final = 50

_STARTED: Final = "started"
_RESIDENT: Final = "resident memory once all wait"
_RECOVERED: Final = "from the boot to all ended"


def _block(home: Path, count: int) -> dict[str, float]:
    write(home.parent, APPLICATION)
    node = Node.from_path(home)
    node.start()
    seconds = start_workflows(node, "bench:waiting", count, min(_IN_FLIGHT, count))
    return {"rate": count / seconds, "MB": resident() / 1e6}


def _recover(home: Path, count: int) -> dict[str, float]:
    begin = time.perf_counter()
    node = Node.from_path(home)
    node.start()

    def finish(number: int, answered: Answered) -> None:
        pid = f"{{bench:host|w{number}}}"
        node.router.outcome(pid, node.clients.expect(answered))
        signal(node, pid, lambda ok, value: None)

    closed_loop(count, min(_IN_FLIGHT, count), finish)
    return {"ms": (time.perf_counter() - begin) * 1e3}


@contextmanager
def _recovery(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows."""
    shown = {"ms": _RECOVERED}

    def measure() -> Round:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            values = durable.crash(_MODULE, own, size)
        return {_RECOVERED: values["ms"], **durable.beside(shown, durable.crash, folder, size)}

    yield measure


@contextmanager
def _blocked(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows."""
    shown = {"rate": _STARTED, "MB": _RESIDENT}

    def measure() -> Round:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            values = durable.block(_MODULE, own, size)
        ours = {series: values[key] for key, series in shown.items()}
        return {**ours, **durable.beside(shown, durable.block, folder, size)}

    yield measure


RECOVERY: Final = Benchmark(
    "kill -9 with 1000 that wait",
    (
        Figure(_RECOVERED, "ms", goal=Goal(1000, at_least=False)),
        Figure(_RECOVERED, "ms", DBOS),
        Figure(_RECOVERED, "ms", TEMPORAL),
    ),
    full=1000,
    quick=3,
    prepare=_recovery,
    rounds=1,
    warmup=0,
)

BLOCKED: Final = Benchmark(
    "5000 workflows that wait",
    tuple(
        Figure(series, unit, peer)
        for series, unit in ((_STARTED, "workflows/s"), (_RESIDENT, "MB"))
        for peer in (DBOS, TEMPORAL)
    ),
    full=5000,
    quick=3,
    prepare=_blocked,
    rounds=1,
    warmup=0,
)


def main() -> None:
    part = {"block": _block, "recover": _recover}[sys.argv[1]]
    print(json.dumps(part(Path(sys.argv[2]) / "application", int(sys.argv[3]))), flush=True)
    if part is _block:
        threading.Event().wait()
    os._exit(0)


if __name__ == "__main__":
    main()
