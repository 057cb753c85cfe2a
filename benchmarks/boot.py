"""Boot: from nothing to a small application that is ready, and what of it Perdure itself takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Round
from supervision import Node

_APPLICATION: Final = """
  - {name: journal, kind: journal.lmdb, path: ./journal}
  - {name: workflows, kind: workflow.host, journal: "bench:journal", workers: 1,
     lifecycle: {auto_start: true}}
  - {name: processes, kind: process.host, host: {workers: 1}, lifecycle: {auto_start: true}}
  - {name: main, kind: process.lua, source: "process.events():receive()"}
  - {name: service, kind: process.service, process: "bench:main", host: "bench:processes",
     lifecycle: {auto_start: true}}
  - {name: add, kind: function.lua, source: "local a, b = ...; return a + b"}
  - {name: empty, kind: workflow.lua, source: "return true"}
"""

_COLD: Final = "a new process, until its services run"
_CHECK: Final = "perdure check, from start to exit"
_PYTHON: Final = "bare Python"
_START: Final = "a node started in a warm process"
_STOP: Final = "a node stopped in order"

_ROOT: Final = Path(__file__).parent.parent

_BOOT: Final = """
import sys
from supervision import Node
with Node.from_path(sys.argv[1]):
    print("ready", flush=True)
"""


def _until_ready(code: str, *args: str) -> float:
    """Milliseconds from the start of a Python process to its first line."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", code, *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        seconds = time.perf_counter() - begin
    if line.strip() != b"ready":
        raise RuntimeError(f"the process did not get ready: exit code {child.returncode}")
    return seconds * 1e3


def _check(home: Path) -> float:
    """Milliseconds of `perdure check`."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "supervision.cli", "check", str(home)]
    subprocess.run(command, check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def _in_process(home: Path) -> tuple[float, float]:
    """Milliseconds for start and stop of a node."""
    times = [time.perf_counter()]
    with Node.from_path(home):
        times.append(time.perf_counter())
    times.append(time.perf_counter())
    return (times[1] - times[0]) * 1e3, (times[2] - times[1]) * 1e3


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: boots of each sort in a round."""
    home = nodes.write(folder, _APPLICATION)

    def measure() -> Round:
        bare = [_until_ready("print('ready', flush=True)") for _ in range(size)]
        check = [_check(home) for _ in range(size)]
        cold = [_until_ready(_BOOT, str(home)) for _ in range(size)]
        warm = [_in_process(home) for _ in range(size)]
        return {
            _PYTHON: sum(bare) / size,
            _CHECK: sum(check) / size,
            _COLD: sum(cold) / size,
            _START: sum(start for start, _ in warm) / size,
            _STOP: sum(stop for _, stop in warm) / size,
        }

    yield measure


BOOT: Final = Benchmark(
    "boot",
    (
        Figure(_CHECK, "ms", _PYTHON),
        Figure(_COLD, "ms", _PYTHON),
        Figure(_START, "ms"),
        Figure(_STOP, "ms"),
    ),
    full=3,
    quick=1,
    prepare=_prepare,
)
