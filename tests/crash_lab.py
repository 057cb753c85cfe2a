"""The test's side of a node that gets killed: it alone knows what was acknowledged.

An application is a folder; `effects` lists what its Python functions did, which they append to a
file and sync (`EFFECTS_SOURCE`), so that it survives them.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from journal.verify import verify
from runtime.errors import PerdureError
from tests.crash.bugs import VARIABLE

#: Seconds after which an answer that has not come is a failure of the test; with a planted bug it
#: is the failure that is waited for.
PATIENCE = 5.0 if VARIABLE in os.environ else 30.0

#: In an application, where it has some: overrides, one a line.
OVERRIDES = "overrides"

#: `effects.py` of an application: `record` puts one line for one call into effects.jsonl.
EFFECTS_SOURCE = """
import json, os, pathlib
from runtime.api import ctx

FILE = pathlib.Path(__file__).parent / "effects.jsonl"

def record(function, *args):
    line = json.dumps([function, list(args), ctx.get("activity.key"), ctx.get("activity.attempt")])
    file = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode() + b"\\n")
    os.fsync(file)
    os.close(file)
"""


class NodeDied(Exception):
    """The node was killed before it answered."""


class NodeRefused(Exception):
    """The node did not boot; its words."""


class Effect(NamedTuple):
    """One call of a function with effects."""

    function: str
    args: list[Any]
    key: str | None
    attempt: int | None


def write_app(folder: Path, files: Mapping[str, str]) -> Path:
    """An application of these files, and effects.py."""
    for name, text in {"effects.py": EFFECTS_SOURCE, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def effects(app: Path) -> list[Effect]:
    """What the functions of an application did, in order."""
    file = app / "effects.jsonl"
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Effect(*json.loads(line)) for line in lines]


def effects_by_key(app: Path) -> list[tuple[str, list[Any]]]:
    """What was done, counting what has the same activity.key once, in order of the first times."""
    seen: dict[Any, tuple[str, list[Any]]] = {}
    for effect in effects(app):
        seen.setdefault(effect.key, (effect.function, effect.args))
    return list(seen.values())


def check_journal(app: Path, path: str = "data/journal") -> None:
    """`perdure journal verify` finds nothing, where there is a journal."""
    if has_journal(app):
        assert verify(app / path) == []


def put_on_server(app: Path, overrides: Sequence[str]) -> None:
    """Let every node of an application boot with these overrides, which make the journal a client
    of a Temporal server."""
    (app / OVERRIDES).write_text("\n".join(overrides), encoding="utf-8")


def overrides_of(app: Path) -> list[str]:
    """With which every node of an application boots."""
    file = app / OVERRIDES
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def has_journal(app: Path) -> bool:
    """Whether the runs of an application are on a journal; else they are on a Temporal server."""
    return not overrides_of(app)


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Come back once a condition holds; fail when it does not within some seconds."""
    give_up = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.002)


class NodeProcess:
    """A node in a process of its own.

    Args:
        app: the application's folder.
        fault: a fault to arm before it boots, as journal.faults writes them.
        wall: seconds by which its wall clock is ahead.
        limit: bytes that no file of its can outgrow, from before it boots.
        overrides: of its entries, `Host.overrides` for one whose workflows are on a server; by
            default those of the application, see `put_on_server`.

    Raises NodeRefused when the node does not boot, NodeDied when it is killed on the way. As a
    context manager it is killed at the end of the block, unless it was stopped.
    """

    def __init__(
        self,
        app: Path,
        fault: str | None = None,
        wall: float = 0,
        limit: int | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.app = app
        #: Seconds by which its wall clock is ahead: `advance` moves it.
        self.ahead = wall
        self._overrides = overrides or overrides_of(app)
        self._boot(fault, wall, limit)

    def crash(self, fault: str | None = None, wall: float = 0) -> None:
        """`kill -9`, then boot anew."""
        self.ahead = wall
        if not self._dead.is_set():
            self.kill()
        self._boot(fault, wall)

    def _boot(self, fault: str | None, wall: float, limit: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(_nursery(*["hosts.temporal.worker"] if self._overrides else []))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._waiting: dict[int, Future[Any]] = {}
        self._number = 0
        self._dead = threading.Event()
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._say(
            {
                "app": str(self.app), "overrides": self._overrides,
                "fault": fault, "wall": int(wall * 1e9), "limit": limit,
            }
        )  # fmt: skip
        first, second = self._hear(), self._hear()
        self.pid: int = json.loads(first)["pid"]
        if not second or "refused" in second:
            self._dead.set()
            self.wait_dead()
            raise NodeRefused(json.loads(second)["refused"]) if second else NodeDied("at boot")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, op: str, **fields: Any) -> Future[Any]:
        """Make a request; the future raises PerdureError, or NodeDied."""
        future: Future[Any] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = future
        try:
            self._say({"id": number, "op": op, **fields})
        except OSError:
            self._dead.wait(PATIENCE)
        if self._dead.is_set():
            self._give_up()
        return future

    def _hear(self) -> str:
        """The next line, empty when the process is gone."""
        try:
            return self._lines.readline()
        except ConnectionResetError:
            return ""

    def _say(self, line: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(line).encode() + b"\n")

    def _give_up(self) -> None:
        """Nothing that is asked for will be answered any more."""
        with self._lock:
            while self._waiting:
                self._waiting.popitem()[1].set_exception(NodeDied("before it answered"))

    def _read(self) -> None:
        while line := self._hear():
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if "error" in answer:
                future.set_exception(PerdureError(*answer["error"]))
            else:
                future.set_result(answer["value"])
        self._dead.set()
        self._give_up()

    def do(self, op: str, **fields: Any) -> Any:
        """Make a request and wait for its answer."""
        return self.ask(op, **fields).result(PATIENCE)

    def spawn(self, entry: str, host: str, *args: Any, **options: Any) -> str:
        return str(self.do("spawn", entry=entry, host=host, args=args, **options))

    def send(self, dest: str, topic: str, *payload: Any, key: str | None = None) -> None:
        self.do("send", dest=dest, topic=topic, payload=payload, key=key)

    def result(self, pid: str, timeout: float = PATIENCE) -> Any:
        return self.do("result", pid=pid, timeout=timeout)

    def call(self, function: str, *args: Any) -> Any:
        return self.do("call", function=function, args=args)

    def advance(self, seconds: float) -> None:
        """Let time pass. That of a server cannot be moved: there it passes by itself."""
        if has_journal(self.app):
            self.do("advance", seconds=seconds)
            self.ahead += seconds

    def history(self, pid: str, run: int | None = None) -> list[list[Any]]:
        records: list[list[Any]] = self.do("history", pid=pid, run=run)
        return records

    def told(self, pid: str) -> list[dict[str, Any]]:
        """The history of a workflow's current run as its host tells it, a journal or not."""
        moments: list[dict[str, Any]] = self.do("told", pid=pid)
        return moments

    def kinds(self, pid: str) -> list[str]:
        """The types of what a workflow's history tells of."""
        return [moment["type"] for moment in self.told(pid)]

    def shown(self, workflow: str, run: str = "") -> dict[str, Any]:
        """How the current or last run of a workflow stands, or that with a run id; on a journal or
        not."""
        row: dict[str, Any] = self.do("shown", pid=workflow, run=run)
        return row

    def until_recorded(self, pid: str, kind: str, count: int = 1) -> None:
        """Wait until a workflow's history has so many records of a kind."""
        self.do("until_recorded", pid=pid, kind=kind, count=count)

    def rows(self) -> list[dict[str, Any]]:
        """The runs that there are, the newest first; a server may know of one a moment later."""
        found: list[dict[str, Any]] = self.do("workflows", where="")
        return found

    def row(self, workflow_id: str) -> dict[str, Any]:
        """How the last run of a workflow id stands."""
        rows = [row for row in self.do("runs") if row["workflow_id"] == workflow_id]
        found: dict[str, Any] = rows[-1]
        return found

    def kill(self) -> None:
        """`kill -9`, and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_dead()

    def wait_dead(self) -> None:
        """Wait until the process is gone, by itself or by a fault."""
        assert self._dead.wait(PATIENCE), f"process {self.pid} lives on"
        until(self._is_gone)
        self.close()

    def _is_gone(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def stop(self) -> None:
        """The orderly end."""
        assert self.do("stop") == []
        self._socket.shutdown(socket.SHUT_WR)
        self.wait_dead()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.join(PATIENCE)
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._dead.is_set():
            self.kill()
        self.wait_dead()


def survive(
    app: Path, script: Callable[[NodeProcess], Any], *faults: str | None
) -> tuple[Any, int]:
    """Run a script of requests to its end through as many crashes as it takes.

    Boot after boot has its fault of `faults`, then none. The script is begun anew after each crash,
    so what it asks for has to be idempotent. Checks the journal after each crash.
    Returns what the script returned, and how often the node died.
    """
    booted = False
    for deaths, fault in enumerate([*faults, None]):
        try:
            with NodeProcess(app, fault) as node:
                booted = True
                result = script(node)
                node.stop()
            check_journal(app)
            return result, deaths
        except NodeDied:
            if booted:
                check_journal(app)
    raise AssertionError("the node died without a fault")


@cache
def _nursery(*modules: str) -> str:
    """The socket of the process that forks nodes; it ends with this one.

    Args:
        modules: what its nodes need not import, each for itself.
    """
    folder = tempfile.TemporaryDirectory(prefix="perdure-")
    path = f"{folder.name}/nodes"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash_node", path, *modules],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    return path
