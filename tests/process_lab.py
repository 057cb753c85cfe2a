"""Nodes for tests of processes: an application from Lua sources, booted in a folder of the test's.

Three hosts are always there: `app:one` and `app:other` with one VM each, `app:two` with two.
"""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pykka
import yaml

from hosts.timers import Timers
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.clock import EPOCH
from tests.services import eventually

#: Seconds after which an answer that has not come is a failure of the test.
PATIENCE = 30.0

#: Where a process and its peer live: the same VM, two VMs of a host, two hosts. Each has the host
#: of the first and that of the second; what is spawned by the only process of `app:two` goes to
#: its other VM.
PLACES = {
    "same VM": ("app:one", "app:one"),
    "other VM": ("app:two", "app:two"),
    "other host": ("app:one", "app:other"),
}

_HOSTS: list[dict[str, Any]] = [
    {"name": "one", "kind": "process.host", "host": {"workers": 1}},
    {"name": "two", "kind": "process.host", "host": {"workers": 2}},
    {"name": "other", "kind": "process.host", "host": {"workers": 1}},
]
_MODULES = ["funcs", "time", "ctx", "json", "uuid", "logger"]


def process(source: str, **fields: Any) -> dict[str, Any]:
    """A process.lua whose main is the source itself."""
    return _code("process.lua", source, fields)


def function(source: str, **fields: Any) -> dict[str, Any]:
    """A function.lua whose body is the source itself."""
    return _code("function.lua", source, fields)


def _code(kind: str, source: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "source": textwrap.dedent(source), "modules": _MODULES, **fields}


#: Source: returns what its messages had, once one has the topic "end".
COLLECTS = """
    local got = {}
    while true do
      local m = process.inbox():receive()
      if m:topic() == "end" then return got end
      got[#got + 1] = m:payload():data()
    end
"""
#: Ends as it is told to by its first message.
WAITER = process("""
    local msg = process.inbox():receive()
    if msg:topic() == "raise" then error("it broke") end
    return msg:payload():data()
""")


def write_app(
    folder: Path, entries: Mapping[str, dict[str, Any]], python: Mapping[str, str] | None = None
) -> Path:
    """An application with these entries, by name, and these Python modules."""
    listed = [*_HOSTS, *({"name": name, **entry} for name, entry in entries.items())]
    for entry in listed:
        if entry["kind"] == "process.host":
            entry.setdefault("lifecycle", {"auto_start": True})
    document = {"version": "1.0", "namespace": "app", "entries": listed}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    for name, text in (python or {}).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@contextmanager
def running(
    folder: Path,
    entries: Mapping[str, dict[str, Any]],
    python: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Node]:
    """A node that runs such an application."""
    with Node.from_path(write_app(folder, entries, python), **options) as node:
        yield node


def run(node: Node, entry: str, host: str, *args: Any, **options: Any) -> Any:
    """Spawn a process and wait for what it returns."""
    return node.result(node.spawn(entry, host, *args, **options), PATIENCE)


def answer(node: Node, name: str, question: str) -> Any:
    """What the process of that name answers; when one ends without, its successor is asked."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        eventually(lambda: node.router.lookup(name) is not None)
        try:
            return node.actor(name).ask(question, timeout=PATIENCE)
        except pykka.ActorDeadError:
            pass
        except PerdureError as error:
            if error.kind != Kind.NOT_FOUND:
                raise
    raise AssertionError(f"each process named {name} ended without an answer")


def failure(node: Node, pid: str) -> PerdureError:
    """The error that a process ends with."""
    try:
        value = node.result(pid, PATIENCE)
    except PerdureError as error:
        return error
    raise AssertionError(f"{pid} ended well, with {value!r}")


class NodeClock:
    """A clock for a node that moves only when a test moves it; what is due then runs at once."""

    def __init__(self) -> None:
        self._now = 0
        self._lock = threading.Lock()

    def wall(self) -> int:
        return EPOCH + self._now

    def monotonic(self) -> int:
        return self._now

    def advance(self, timers: Timers, nanoseconds: int) -> None:
        """Move on, stopping at each deadline to run what is due there."""
        with self._lock:
            end = self._now + nanoseconds
            while (due := timers.next_due()) is not None and due <= end:
                self._now = max(self._now, due)
                timers.run_due()
            self._now = end
            timers.run_due()


__all__ = ["PATIENCE", "PLACES", "NodeClock", "eventually", "failure", "function", "process", "run"]
