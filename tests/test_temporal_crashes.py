"""Nodes on one Temporal server: one is killed with -9, another goes on with its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hosts.temporal.worker import TemporalWorker
from supervision.node import Node
from tests.both_hosts import SOON
from tests.orders_lab import ROOT, copy, counts, demo, expected
from tests.process_lab import PATIENCE, write_app
from tests.temporal_lab import DevServer, on_server


def test_orders_on_temporal_killed_in_the_middle_and_resumed_by_another_node(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    app = copy(tmp_path, 30)
    overrides = on_server(temporal_server, "app:journal")
    overrides += [f"app:orders:{each}" for each in SOON]
    killed = demo(app, overrides)
    assert killed.stdout is not None
    line = ""
    while "accepted" not in line or " 0 shipped" in line:
        line = killed.stdout.readline()
    killed.kill()
    killed.communicate()
    assert " 0 under way" not in line, "it was killed too late"

    output, errors = demo(app, overrides, data=tmp_path / "another").communicate(timeout=60)
    assert errors.splitlines()[0].endswith("app:journal: path: it has no effect here")
    assert "Traceback" not in errors
    assert {outcome: n for outcome, n in counts(output).items() if n} == expected(app)
    assert "lost:          none\ncharged twice: none\nwrong balance: none\n" in output
    with Node.from_path(app, overrides, tmp_path / "third") as node:
        worker = node.service("app:orders")
        assert isinstance(worker, TemporalWorker)
        count, differ = worker.replay()
        assert (count, differ) == (30, {})


FUNCTIONS = """
import os, pathlib, time
here = pathlib.Path(__file__).parent

def hold():
    with (here / "held").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not (here / "go").exists():
        time.sleep(0.01)
    return os.getpid()
"""

NODE = """
import sys
from supervision.node import Node
with Node.from_path(sys.argv[1], sys.argv[3:], sys.argv[2]):
    print("up", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_node(app: Path, overrides: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A node of the same application in a process of its own."""
    command = [sys.executable, "-c", NODE, str(app), str(app / "other"), *overrides]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_two_nodes_on_a_task_queue_one_is_killed_and_the_other_carries_on(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    entries: dict[str, dict[str, Any]] = {
        "journal": {"kind": "journal.lmdb", "path": "j"},
        "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
        "hold": {"kind": "function.python", "target": "functions:hold"},
        "flow": {
            "kind": "workflow.lua",
            "source": "return funcs.call('app:hold')",
            "modules": ["funcs"],
        },
    }
    app = write_app(tmp_path, entries, {"functions": FUNCTIONS})
    overrides = on_server(temporal_server, "app:journal")
    overrides += [f"app:worker:{each}" for each in SOON]
    held = app / "held"
    own = [*overrides, "app:worker:limits.activities=1"]
    with other_node(app, overrides) as first, Node.from_path(app, own) as node:
        pids = [node.spawn("app:flow", "app:worker") for _ in range(4)]
        while not held.exists() or str(first.pid) not in held.read_text().split():
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        (app / "go").touch()
        assert {node.result(pid, PATIENCE) for pid in pids} == {os.getpid()}
