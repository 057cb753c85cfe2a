"""print and the module logger: what user code says is in the node's log, with who said it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervision.node import Node
from tests.durable_lab import durable_app
from tests.process_lab import PATIENCE, function, process, run, running

ENTRIES = {
    "says": process(
        """
        local logger = require("logger")
        print("hello", 1, nil)
        logger.debug("a")
        logger.info("b", { n = 1 })
        logger:warn("c", { deep = { 1, 2 }, bytes = "\\xff", err = errors.new("no"), f = print })
        logger.error("d", "just this")
        local log = logger.named("till"):with({ order = 7, n = 1 }):named("drawer")
        log:info("e", { n = 2 })
        log:info("f")
        logger.with({ order = 8 }):info(errors.new("as a message"))
        return process.pid()
        """
    ),
    "function": function('print("in a function")'),
    "calls": process('return require("funcs").call("app:function")'),
    "misuses": process(
        """
        local logger, found = require("logger"), {}
        for i, call in ipairs({
            function() logger.with() end,
            function() logger.with("x") end,
            function() logger.named("x").info("y") end,
        }) do
            local ok, err = pcall(call)
            found[i] = { ok, err:kind() }
        end
        return found
        """
    ),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, ENTRIES) as node:
        yield node


def said(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "perdure.lua"]


def test_a_line_has_its_level_its_fields_and_who_said_it(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "perdure.lua"):
        pid = run(node, "app:says", "app:one")
    records = said(caplog)
    assert {(record.pid, record.entry) for record in records} == {(pid, "app:says")}
    head = f"{pid} app:says: "
    assert [(record.levelname, record.getMessage().removeprefix(head)) for record in records] == [
        ("INFO", "hello\t1\tnil"),
        ("DEBUG", "a"),
        ("INFO", 'b {"n": 1}'),
        ("WARNING", 'c {"bytes": "\\\\xff", "deep": [1, 2], "err": "no"}'),
        ("ERROR", 'd {"value": "just this"}'),
        ("INFO", 'e {"logger": "till.drawer", "n": 2, "order": 7}'),
        ("INFO", 'f {"logger": "till.drawer", "n": 1, "order": 7}'),
        ("INFO", 'as a message {"order": 8}'),
    ]
    assert records[5].fields == {"logger": "till.drawer", "n": 2, "order": 7}


def test_a_function_speaks_for_itself(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "perdure.lua"):
        run(node, "app:calls", "app:one")
        node.call("app:function", timeout=PATIENCE)
    assert [record.entry for record in said(caplog)] == ["app:function"] * 2


def test_what_the_log_does_not_want_costs_nothing(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "perdure.lua"):
        run(node, "app:says", "app:one")
    assert [record.levelname for record in said(caplog)] == ["ERROR"]


def test_misuse_raises(node: Node) -> None:
    assert run(node, "app:misuses", "app:one") == [[False, "Invalid"]] * 3


def test_a_replay_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = """
    local logger = require("logger")
    print("before")
    logger:named("w"):info("and this")
    process.inbox():receive()
    print("after")
    """
    app = durable_app(tmp_path / "app", {"main": source})
    with caplog.at_level(logging.INFO, "perdure.lua"):
        with Node.from_path(app) as node:
            pid = node.spawn("app:main", "app:orders")
        with Node.from_path(app) as node:
            node.send(pid, "go on")
            node.result(pid, PATIENCE)
    texts = [record.getMessage().removeprefix(f"{pid} app:main: ") for record in said(caplog)]
    assert texts == ["before", 'and this {"logger": "w"}', "after"]
