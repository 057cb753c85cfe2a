"""Runs on a server beside those of a journal: both are listed, and who cannot tell is named."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client

from hosts.reports import Moment
from hosts.temporal.visibility import query
from hosts.where import parse
from runtime.errors import Kind, PerdureError
from supervision.cli.temporal_dev import DevServer, dev_server
from supervision.control import workflows as operations
from supervision.control.timeline import timeline
from supervision.node import Node
from tests.cli_lab import perdure
from tests.conformance_lab import lua
from tests.process_lab import PATIENCE, write_app
from tests.services import eventually

ENTRIES: dict[str, dict[str, Any]] = {
    "journal": {"kind": "journal.lmdb", "path": "./data/journal"},
    "here": {"kind": "workflow.host", "journal": "app:journal"},
    "there": {"kind": "temporal.worker", "client": "app:client", "workers": 1},
    "waits": lua("workflow", "return process.inbox():receive():payload():data()"),
}


def app(folder: Path, server: DevServer) -> Path:
    client = {"kind": "temporal.client", "address": server.address, "tq_prefix": f"{uuid.uuid4()}/"}
    return write_app(folder, {**ENTRIES, "client": client})


def test_a_host_whose_server_is_away_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    with dev_server() as server, Node.from_path(app(tmp_path, server)) as node:
        eventually(lambda: {each.state for each in node.services()} == {"running"})
        for host in ("here", "there"):
            node.spawn("app:waits", f"app:{host}", options={"workflow.id": host})
        eventually(lambda: len(node.workflows()) == 2)
        on_both = ["workflows", "list", "--open", "--app", str(tmp_path), "--json"]
        done = perdure(*on_both)
        listed = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(each["workflow_id"], each["host"]) for each in listed] == [
            ("there", "app:there"), ("here", "app:here")
        ]  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

        server.stop()
        done = perdure(*on_both)
        (row,) = map(json.loads, done.stdout.splitlines())
        assert (row["workflow_id"], done.returncode) == ("here", 1)
        away = f"app:there: the Temporal server at {server.address} does not answer"
        assert done.stderr == f"error: Unavailable: {away}\n"
        problems: list[str] = []
        rows = node.workflows(on_problem=lambda error: problems.append(error.message))
        assert ([each["workflow_id"] for each in rows], problems) == (["here"], [away])
        with pytest.raises(PerdureError) as refused:
            node.workflows()
        assert refused.value.kind == Kind.UNAVAILABLE
        assert "open" in perdure("workflows", "show", "here", "--app", tmp_path).stdout
        done = perdure("workflows", "history", "there", "--app", tmp_path)
        assert (done.returncode, done.stderr) == (1, f"error: Unavailable: {away}\n")


def test_the_command_line_shows_runs_of_a_server(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    def run(*args: str) -> str:
        done = perdure("workflows", *args, "--app", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with Node.from_path(app(tmp_path, temporal_server)) as node:
        name = str(uuid.uuid4())
        options = {"workflow.id": name, "workflow.memo": {"by": "ann"}}
        pid = node.spawn("app:waits", "app:there", 1, options=options)
        node.send(pid, "go", "well")
        assert node.result(pid, PATIENCE) == "well"
        # It has ended, and still answers by its workflow id.
        assert run("wait", name) == '"well"\n'
        header, *rows = run("history", name).splitlines()
        assert header.split() == ["SEQ", "TIME", "WHAT"]
        assert rows[0].endswith("started app:waits(1)")
        assert rows[-1].endswith('the run completed: "well"')
        # A PID names what another task queue has, too.
        elsewhere = {**options, "workflow.id": f"{name}-2", "workflow.task_queue": "elsewhere"}
        other = node.spawn("app:waits", "app:there", options=elsewhere)
        with pytest.raises(PerdureError, match="no workflow"):
            operations.show(node, f"{name}-2")
        operations.terminate(node, other)
        assert operations.show(node, other)["status"] == "terminated"
        # Its worker may be stopped: the server is asked.
        node.supervisor.stop_child("app:there")
        shown = run("show", name)
        for text in ("completed", "app:waits", 'by="ann"', '"well"', "app:there"):
            assert text in shown
        node.supervisor.stop_child("app:client")
        with pytest.raises(PerdureError, match="app:there: app:client is not running"):
            operations.show(node, name)


def test_what_a_server_cannot_compare_is_named(tmp_path: Path, temporal_server: DevServer) -> None:
    async def add() -> None:
        client = await Client.connect(temporal_server.address)
        kind = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST
        request = AddSearchAttributesRequest(namespace="default", search_attributes={"tags": kind})
        await client.operator_service.add_search_attributes(request)

    with Node.from_path(app(tmp_path, temporal_server)) as node:
        node.spawn("app:waits", "app:here", options={"workflow.search_attributes": {"tags": "x"}})
        asyncio.run(add())
        problems: list[str] = []
        rows = node.workflows('tags = "x"', on_problem=lambda error: problems.append(error.message))
        assert [row["host"] for row in rows] == ["app:here"]
        assert problems == [
            "app:there: where: tags is a KeywordList at the Temporal server, and lists cannot be "
            "compared: ask the server's own UI or CLI"
        ]


TYPES = {"customer": "Keyword", "total": "Int", "rate": "Double", "vip": "Bool", "text": "Text"}
OPEN = "CloseTime IS NULL"


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ('status = "open"', OPEN),
        ('status = "suspended"', OPEN),
        ('status = "timed_out"', "ExecutionStatus = 'TimedOut'"),
        ('status != "failed"', "ExecutionStatus != 'Failed'"),
        ('not status = "failed"', "ExecutionStatus != 'Failed'"),
        ('status != "open"', None),
        ('entry = "app:a" and workflow_id = "w"', "(WorkflowType = 'app:a' AND WorkflowId = 'w')"),
        ('customer = "c" and host = "app:there"', "(`customer` = 'c')"),
        ('customer = "it\'s"', None),
        ('customer = "é"', None),
        ('customer > "c"', None),
        ('customer != "c"', "`customer` IS NOT NULL"),
        ("total >= 5 or rate < 0.5", "(`total` >= 5 OR `rate` < 0.5)"),
        ('total >= 5 or text = "word"', None),
        ("total < 5.5", None),
        ("vip = true", "`vip` = true"),
        ("missing = 1", "WorkflowId = ''"),
        ("not missing = 1", None),
        ('started >= "2026-03"', "StartTime >= '2026-02-28T23:59:59.999000+00:00'"),
        ('ended < "2026"', f"(CloseTime <= '2026-01-01T00:00:00.001000+00:00' OR {OPEN})"),
        ('started > "yesterday"', None),
    ],
)
def test_what_the_server_is_asked(condition: str, asked: str | None) -> None:
    whole = "TaskQueue = 'q'" + (f" AND {asked}" if asked else "")
    assert query("q", parse(condition), False, TYPES) == whole


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("step_timed_out", {"begun": True}, "the step was lost, and is taken again"),
        ("step_timed_out", {"begun": False},
         "the worker that had the run in memory took no step in time: any worker may"),
        ("step_failed", {"error": "no"}, "the step failed, and is tried again: no"),
        ("activity_attempt",
         {"activity": 1, "attempt": 2, "after": PerdureError(Kind.CONFLICT, "no")},
         "activity 1: attempt 2, after Conflict: no"),
        ("nexus_operation_started", {"operationId": "7"}, 'operationId "7"'),
    ],
)  # fmt: skip
def test_what_only_a_server_tells(kind: str, data: dict[str, Any], text: str) -> None:
    assert timeline([Moment(1, None, kind, data)])[0]["text"] == text
