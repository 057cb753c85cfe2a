"""A failure is in the log once, with PID, entry id, Lua file, line and traceback."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import PerdureError
from supervision.node import Node
from tests.durable_lab import durable_app
from tests.process_lab import PATIENCE, eventually, failure, function, process, running
from tests.replay_lab import misfits
from tests.test_process_vm_lost import ENTRIES, blow_up

DURABLE = {
    "journal": {"kind": "journal.lmdb", "path": "./journal"},
    "workflows": {"kind": "workflow.host", "journal": "app:journal"},
}
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


UNREAD = """
    local funcs, time = require("funcs"), require("time")
    local seen, asked, told, unread, good, gone = funcs.async("app:fails", 1),
      funcs.async("app:fails", 2), funcs.async("app:fails", 3), funcs.async("app:fails", 4),
      funcs.async("app:fine"), funcs.async("app:hangs")
    gone:cancel()
    seen:response():receive()
    while not (asked:is_complete() and told:is_complete() and unread:is_complete()) do
      time.sleep("1ms")
    end
    asked:result()
    told:error()
    return "done"
"""


@pytest.mark.parametrize("kind", ["function", "process", "workflow"])
def test_of_a_future_that_nobody_looks_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    entries: dict[str, Any] = {
        **DURABLE,
        "fails": function('return nil, "number " .. ...'),
        "fine": function("return 1"),
        "hangs": function("process.events():receive()"),
        "owner": {**process(UNREAD), "kind": f"{kind}.lua"},
    }
    with running(tmp_path, entries) as node:
        if kind == "function":
            assert node.call("app:owner", timeout=PATIENCE) == "done"
        else:
            host = "app:one" if kind == "process" else "app:workflows"
            assert node.result(node.spawn("app:owner", host), PATIENCE) == "done"
    (line,) = lines(caplog)
    text = "app:owner: a call of app:fails failed, and nobody looked at its future: number 4"
    assert re.fullmatch(r"\{(app:)?[a-z]+\|[^}]+\} " + text, line)
    assert misfits(tmp_path, "journal")[1] == {}
    assert len(lines(caplog)) == 1


def test_of_many_futures_that_nobody_looks_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    owner = process("""
        for i = 1, 100 do funcs.async("app:fails", i) end
        process.inbox():receive()
    """)
    with running(tmp_path, {"owner": owner, "fails": function("return nil, ...")}) as node:
        pid = node.spawn("app:owner", "app:one")
        eventually(lambda: len(lines(caplog)) == 36)
        node.send(pid, "end")
        node.result(pid, PATIENCE)
    told = [line.rpartition(" ")[2] for line in lines(caplog)]
    assert told == [str(n) for n in range(1, 101)]


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
