"""Nodes killed with -9 at random moments under load, on a Temporal server: nothing that was
acknowledged is lost. The oracle is the test, which no kill reaches."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

from hosts.temporal.worker import TemporalWorker
from supervision.node import Node
from tests.orders_lab import ROOT
from tests.process_lab import PATIENCE, eventually, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_temporal_replay import workflow

FUNCTIONS: Final = """
import pathlib
from runtime.api import ctx
effects = pathlib.Path(__file__).parent / "effects"

def effect(n, step):
    with effects.open("a") as file:
        file.write(f"{n} {step} {ctx.get('activity.key')}\\n")
    return n * 10 + step
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {
        "kind": "temporal.worker", "client": "app:journal", "workers": 2,
        "heartbeat_timeout": "1s", "task_timeout": "2s",
        "worker_options": {"sticky_schedule_to_start_timeout": "1s"},
    },
    "effect": {"kind": "function.python", "target": "functions:effect"},
    "flow": workflow("""
        local n = ...
        local got = {funcs.call("app:effect", n, 1)}
        got[2] = process.inbox():receive():payload():data()
        got[3] = funcs.call("app:effect", n, 2)
        time.sleep("50ms")
        got[4] = funcs.call("app:effect", n, 3)
        return got
    """),
}  # fmt: skip

#: Starts and signals the workflows whose numbers it is told, and says when each is acknowledged.
NODE: Final = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from supervision.node import Node
from tests.test_temporal_kills import send, start

def say(what, n):
    os.write(1, f"{what} {n}\\n".encode())

def work(node, n):
    start(node, n)
    say("started", n)
    send(node, n)
    say("sent", n)

with Node.from_path(sys.argv[1], sys.argv[3:], sys.argv[2]) as node, ThreadPoolExecutor(4) as pool:
    say("up", 0)
    for line in sys.stdin:
        pool.submit(work, node, int(line))
"""


def start(node: Node, n: int) -> None:
    node.spawn("app:flow", "app:worker", n, options={"workflow.id": name(n)})


def send(node: Node, n: int) -> None:
    node.send(f"{{app:worker|{name(n)}}}", "n", n, key=f"send-{n}")


def name(n: int) -> str:
    return f"killed-{n}"


class Victim:
    """A node in a process of its own, and what it has acknowledged."""

    def __init__(self, app: Path, overrides: list[str], acknowledged: dict[str, set[int]]) -> None:
        command = [sys.executable, "-c", NODE, str(app), str(app / "victim"), *overrides]
        self._acknowledged = acknowledged
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._said = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until(1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, n = line.split()
            self._acknowledged[what].add(int(n))
            self._said += 1

    def until(self, said: int) -> None:
        """Come back when it has said so many things, the first of which is that it is up."""
        eventually(lambda: self._said >= said)

    def tell(self, numbers: range) -> None:
        assert self._process.stdin is not None
        self._process.stdin.writelines(f"{n}\n" for n in numbers)
        self._process.stdin.flush()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for each in (self._process.stdin, self._process.stdout):
            if each is not None:
                each.close()


def survives_kills(folder: Path, server: DevServer, kills: int, seed: int) -> None:
    """Kill a node under load so many times; every workflow ends right on the last one."""
    app = write_app(folder, ENTRIES, {"functions": FUNCTIONS})
    overrides = on_server(server, "app:journal")
    moments, each = random.Random(seed), 12
    acknowledged: dict[str, set[int]] = defaultdict(set)
    for kill in range(kills):
        victim = Victim(app, overrides, acknowledged)
        victim.tell(range(kill * each, (kill + 1) * each))
        victim.until(moments.randint(2, each))
        time.sleep(moments.uniform(0, 0.1))
        victim.kill()
    told = range(kills * each)
    with Node.from_path(app, overrides, app / "last") as node:
        for n in sorted(set(told) - acknowledged["started"]):
            start(node, n)
        for n in sorted(set(told) - acknowledged["sent"]):
            send(node, n)
        for n in told:
            result = node.result(f"{{app:worker|{name(n)}}}", 2 * PATIENCE)
            assert result == [n * 10 + 1, n, n * 10 + 2, n * 10 + 3]
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker.replay()[1] == {}
    effects: dict[tuple[int, int], set[str]] = defaultdict(set)
    for line in (app / "effects").read_text().splitlines():
        number, step, key = line.split()
        effects[int(number), int(step)].add(key)
    assert effects.keys() == {(n, step) for n in told for step in (1, 2, 3)}
    assert all(len(keys) == 1 for keys in effects.values()), "an attempt had another key"
    assert len(acknowledged["sent"]) < len(told), "every kill came after all work"


def test_nothing_acknowledged_is_lost_by_kills_at_random_moments(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    survives_kills(tmp_path, temporal_server, 2, 7)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_nothing_acknowledged_is_lost_by_many_kills(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    survives_kills(tmp_path, temporal_server, 20, 11)
