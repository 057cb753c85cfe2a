"""Generated workflows give the same results, by the same commands, on both hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from temporalio.client import Client

from hosts.temporal.worker import TemporalWorker
from supervision.node import Node
from supervision.runs import host_of
from tests.conformance_lab import lua
from tests.process_lab import COLLECTS, PATIENCE, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_replay_property import CHILD, Program, programs

FUNCTIONS: Final = """
from runtime.api import PerdureError

def effect(name, *args):
    return name

def fails(n):
    raise PerdureError("Conflict", f"number {n}", True, {"n": n})
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "orders": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
    "effect": {"kind": "function.python", "target": "helpers:effect"},
    "fails": {"kind": "function.python", "target": "helpers:fails"},
    "child": lua("workflow", CHILD),
    "peer": lua("workflow", COLLECTS),
}  # fmt: skip

#: (kind, name) of what a run asked for, in order.
Commands = list[tuple[str, str]]

_RECORDS: Final = {
    "activity_scheduled": ("activity", 2),
    "child_requested": ("child", 2),
    "message_sent": ("signal", 3),
}


def results(node: Node, number: int, program: Program) -> tuple[Any, Any, str]:
    """What a program gives, what its peer got, and its workflow id."""
    peer = node.spawn("app:peer", "app:orders")
    pid = node.spawn(f"app:program_{number}", "app:orders", peer)
    for n in range(1, program.signals + 1):
        node.send(pid, "n", {"n": n})
    result = node.result(pid, PATIENCE)
    return result, node.result(peer, PATIENCE), pid.partition("|")[2][:-1]


def journaled(node: Node, workflow_id: str) -> Commands:
    """The commands in a history of the journal."""
    host, _ = host_of(node, workflow_id)
    records = [record for _, record in host.history(host.run(workflow_id)[0])]
    return list(_of_records(records))


def _of_records(records: list[list[Any]]) -> Iterator[tuple[str, str]]:
    for record in records:
        if record[0] == "timer_started":
            yield "timer", ""
        elif record[0] in _RECORDS:
            kind, place = _RECORDS[record[0]]
            yield kind, record[place]


async def on_the_server(address: str, workflow_id: str) -> Commands:
    """The commands in a history of the server."""
    client = await Client.connect(address)
    commands: Commands = []
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        kind = event.WhichOneof("attributes") or ""
        told = getattr(event, kind)
        if kind == "activity_task_scheduled_event_attributes":
            commands.append(("activity", told.activity_type.name))
        elif kind == "timer_started_event_attributes":
            commands.append(("timer", ""))
        elif kind == "start_child_workflow_execution_initiated_event_attributes":
            commands.append(("child", told.workflow_type.name))
        elif kind == "signal_external_workflow_execution_initiated_event_attributes":
            commands.append(("signal", told.signal_name))
    return commands


#: What is begun and taken back in one step is no command for the server.
_TAKEN_BACK: Final = ("future:cancel()", "timer:stop()")


def is_ordered(program: Program) -> bool:
    """Whether the order of its commands does not depend on which result comes first, and is one
    for both hosts."""
    source = program.source()
    return "coroutine.spawn" not in source and not any(each in source for each in _TAKEN_BACK)


def generated(count: int) -> list[Program]:
    """So many programs."""
    made: list[Program] = []

    @settings(max_examples=count, suppress_health_check=list(HealthCheck))
    @given(programs())
    def collect(program: Program) -> None:
        made.append(program)

    collect()
    return made


def agree(folder: Path, server: DevServer, made: list[Program]) -> None:
    """Run programs on two nodes of one application, one of them on the server."""
    entries = {
        f"program_{number}": lua("workflow", program.source())
        for number, program in enumerate(made)
    }
    app = write_app(folder, {**ENTRIES, **entries}, {"helpers": FUNCTIONS})
    overrides = on_server(server, "app:journal")
    with Node.from_path(app) as here, Node.from_path(app, overrides, app / "there") as there:
        for number, program in enumerate(made):
            compare(here, there, server, number, program)
        worker = there.service("app:orders")
        assert isinstance(worker, TemporalWorker)
        assert worker.replay()[1] == {}


def compare(here: Node, there: Node, server: DevServer, number: int, program: Program) -> None:
    """Run a program on both hosts."""
    result, told, own = results(here, number, program)
    other, also_told, others = results(there, number, program)
    assert other["out"] == result["out"], program.source()
    assert len(other["drawn"]) == len(result["drawn"])
    assert sorted(map(str, also_told)) == sorted(map(str, told))
    if not is_ordered(program):
        return
    assert also_told == told
    found = asyncio.run(on_the_server(server.address, others))
    assert found == journaled(here, own), program.source()


def test_both_hosts_agree(tmp_path: Path, temporal_server: DevServer) -> None:
    agree(tmp_path, temporal_server, generated(10))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_both_hosts_agree_on_many(tmp_path: Path, temporal_server: DevServer) -> None:
    agree(tmp_path, temporal_server, generated(300))
