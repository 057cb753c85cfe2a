"""Errors from afar: of functions, coroutines, linked processes and services, logged once or not."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import PerdureError
from supervision import Node
from tests.process_lab import PATIENCE, process, running
from tests.services import eventually

FILES = {
    "app.yaml": """
version: "1.0"
namespace: app
entries:
  - {name: processes, kind: process.host, host: {workers: 1}}
  - {name: main, kind: process.lua, source: file://main.lua, method: main, modules: [funcs]}
  - {name: deep, kind: function.lua, source: file://deep.lua, method: main}
  - {name: service, kind: process.service, process: main, host: processes, input: [2],
     lifecycle: {auto_start: false, restart: {max_attempts: 1, initial_delay: 1ms, jitter: 0}}}
""",
    "main.lua": """
local function inner(order: any)
  error("no stock for " .. order)
end

local function main(order)
  if order == 1 then
    local result, err = require("funcs").call("app:deep")
    error(err, 0)
  elseif order == 3 then
    coroutine.spawn(function() inner(order) end)
    process.inbox():receive()
  elseif order == 4 then
    pcall(inner, order)
    return nil
  end
  inner(order)
end
return {main = main}
""",
    "deep.lua": """
return {main = function()
  local t = nil
  return t.field
end}
""",
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with Node.from_path(tmp_path) as node:
        yield node


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of ends with an error."""
    found = [record for record in caplog.records if "ended with an error" in record.getMessage()]
    assert all(record.levelno == logging.ERROR for record in found)
    return [shortened(record.getMessage()) for record in found]


def shortened(text: str) -> str:
    """Without the folders in front of file names, which Lua shows the end of."""
    return re.sub(r"[^\s]*/(\w+\.(lua|yaml):)", r"\1", text)


def test_one_that_a_function_fails(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    pid = node.spawn("app:main", "app:processes", 1)
    with pytest.raises(PerdureError, match=r"deep\.lua:4: attempt to index a nil value"):
        node.result(pid, PATIENCE)
    (line,) = failures(caplog)
    assert line.startswith(f"{pid} (app:main) ended with an error: Internal: deep.lua:4: ")
    assert "\ndeep.lua:4: in " in line


def test_a_coroutine_that_fails(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    pid = node.spawn("app:main", "app:processes", 3)
    with pytest.raises(PerdureError, match="no stock for 3"):
        node.result(pid, PATIENCE)
    (line,) = failures(caplog)
    assert "thread coroutine 1\nmain.lua:3: in inner\nmain.lua:11: in " in line


def test_what_is_caught_is_not_logged(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    assert node.result(node.spawn("app:main", "app:processes", 4), PATIENCE) is None
    with pytest.raises(PerdureError, match=r"deep\.lua:4") as error:
        node.call("app:deep", timeout=PATIENCE)
    assert shortened(error.value.trace).startswith("thread main\ndeep.lua:4: in ")
    assert failures(caplog) == []


def test_a_service_that_fails(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Its process is named with the traceback, the service with what becomes of it."""
    node.supervisor.start_child("app:service")
    eventually(lambda: any("app:service" in each.getMessage() for each in caplog.records))
    eventually(lambda: failures(caplog) != [])
    traced = [each.getMessage() for each in caplog.records if "in inner" in each.getMessage()]
    assert [shortened(text) for text in traced] == failures(caplog)


def test_who_is_taken_down_by_a_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = {
        "parent": process("process.spawn_linked('app:child', 'app:one') process.inbox():receive()"),
        "child": process("error('first', 0)"),
    }
    with running(tmp_path, entries) as node:
        pid = node.spawn("app:parent", "app:one")
        with pytest.raises(PerdureError, match="linked process failed"):
            node.result(pid, PATIENCE)
        first, then = failures(caplog)
        assert " (app:child) ended with an error: Internal: first" in first
        assert then.startswith(f"{pid} (app:parent) ended with an error: Internal: linked process")
