"""Dormant workflows: starting many that wait for a message, and a boot that finds them on disk.

Each part in a child process, so that nothing else is in its resident set:
`python -m benchmarks.dormant COUNT FOLDER` starts them where there is no journal yet, and boots on
what is there where there is one. It prints its series as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from benchmarks.figures import Benchmark, Figure, Goal, Round
from benchmarks.idle import resident
from benchmarks.load import start_workflows
from benchmarks.nodes import write
from supervision import Node

APPLICATION: Final = """
  - {name: journal, kind: journal.lmdb, path: ./journal}
  - {name: host, kind: workflow.host, journal: "bench:journal", workers: 1}
  - {name: waiting, kind: workflow.lua, source: "return process.inbox():receive().n"}
"""

_ROOT: Final = Path(__file__).parent.parent
_IN_FLIGHT: Final = 500

_STARTED: Final = "started"
_LIVE: Final = "resident memory once started"
_READY: Final = "ready after a boot"
_DORMANT: Final = "resident memory after it"
_ANSWERED: Final = "first signal to the result"


def _start(node: Node, count: int) -> Round:
    seconds = start_workflows(node, "bench:waiting", count, min(_IN_FLIGHT, count))
    return {_STARTED: count / seconds, _LIVE: resident() / 1e6}


def _boot(node: Node, seconds: float) -> Round:
    dormant = resident() / 1e6
    begin = time.perf_counter()
    node.send("{bench:host|w0}", "n", {"n": 1})
    node.result("{bench:host|w0}")
    return {
        _READY: seconds * 1000,
        _DORMANT: dormant,
        _ANSWERED: (time.perf_counter() - begin) * 1000,
    }


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: workflows."""
    numbers = itertools.count()

    def measure() -> Round:
        own = folder / str(next(numbers))
        own.mkdir()
        home = write(own, APPLICATION)
        values: dict[str, float] = {}
        for _ in ("start", "boot"):
            command = [sys.executable, "-m", "benchmarks.dormant", str(size), str(home)]
            values |= cast(
                dict[str, float], json.loads(subprocess.check_output(command, cwd=_ROOT))
            )
        return values

    yield measure


DORMANT: Final = Benchmark(
    "dormant workflows",
    (
        Figure(_STARTED, "workflows/s"),
        Figure(_LIVE, "MB"),
        Figure(_READY, "ms", goal=Goal(2000, at_least=False)),
        Figure(_DORMANT, "MB", goal=Goal(250, at_least=False)),
        Figure(_ANSWERED, "ms"),
    ),
    full=100_000,
    quick=200,
    prepare=_prepare,
    rounds=1,
    warmup=0,
)


def main() -> None:
    count, home = int(sys.argv[1]), Path(sys.argv[2])
    fresh = not (home / "journal").exists()
    begin = time.perf_counter()
    node = Node.from_path(home)
    node.start()
    seconds = time.perf_counter() - begin
    print(json.dumps(_start(node, count) if fresh else _boot(node, seconds)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
