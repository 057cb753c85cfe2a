"""A failure is in the log once, with PID, entry id, Lua file, line and traceback."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from runtime.errors import PerdureError
from supervision.node import Node
from tests.durable_lab import durable_app
from tests.process_lab import PATIENCE, failure, process, running
from tests.test_process_vm_lost import ENTRIES, blow_up

CRASH = "local x = nil\nreturn x.y"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


def test_of_a_process_in_lua(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path, {"crash": process(CRASH)}) as node:
        pid = node.spawn("app:crash", "app:one")
        failure(node, pid)
    (line,) = lines(caplog)
    assert line.startswith(f"{pid} (app:crash) ended with an error: Internal: ")
    assert "app:crash:2: attempt to index a nil value" in line
    assert "thread main" in line


def test_of_a_process_in_python(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = """
        from hosts.api import Process
        class Actor(Process):
            def on_message(self, topic, payload, sender):
                raise ValueError("it broke")
    """
    entries = {"actor": {"kind": "process.python", "target": "actors:Actor"}}
    with running(tmp_path, entries, {"actors": source}) as node:
        pid = node.spawn("app:actor", "app:one")
        node.send(pid, "anything")
        failure(node, pid)
    (line,) = lines(caplog)
    assert line.startswith(f"{pid} (app:actor) ended with an error: Internal: ValueError: it broke")
    assert "actors.py" in line


@pytest.mark.parametrize("tied", [False, True])
def test_of_a_vm(tmp_path: Path, caplog: pytest.LogCaptureFixture, tied: bool) -> None:
    watcher = process("""
        assert(process.spawn_monitored("app:deaf", "app:small"))
        process.send("gate", "ready")
        return process.events():receive().kind
    """)
    gate = process("process.inbox():receive()")
    with running(tmp_path, {**ENTRIES, "watcher": watcher, "gate": gate}) as node:
        ready = node.spawn("app:gate", "app:one", name="gate")
        if tied:
            pid = node.spawn("app:watcher", "app:one")
            node.result(ready, PATIENCE)
        blow_up(node)
        if tied:
            assert node.result(pid, PATIENCE) == "pid.exit"
    (line,) = lines(caplog)
    assert "app:small worker 0" in line
    assert "the VM was replaced" in line
    assert ("(app:deaf) ended with an error" in line) == tied


def test_of_a_workflow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = durable_app(tmp_path, {"crash": CRASH, "refuses": 'return nil, "no"'})
    with Node.from_path(app) as node:
        pids = [node.spawn(f"app:{entry}", "app:orders") for entry in ("crash", "refuses")]
        for pid in pids:
            with pytest.raises(PerdureError):
                node.result(pid, PATIENCE)
    crashed, refused = sorted(lines(caplog), key=lambda line: "app:refuses" in line)
    assert crashed.startswith(f"{pids[0]} (app:crash) ended with an error: Internal: ")
    assert "crash.lua:5: attempt to index a nil value" in crashed
    assert refused == f"{pids[1]} (app:refuses) ended with an error: Internal: no"
