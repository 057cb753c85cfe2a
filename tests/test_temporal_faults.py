"""Steps that burn, and a server that turns a worker away: a clear error, and the worker goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from hosts.temporal.worker import TemporalWorker
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, function, write_app
from tests.temporal_lab import DevServer, dev_server, on_server
from tests.test_temporal_replay import workflow

BURNS: Final = {
    "loops": "while true do end",
    "in pcall": "while true do pcall(function() while true do end end) end",
    "in C": "while true do local s = string.rep('ab', 4000000):upper() end",
    "in Python": "local s = string.rep('a', 5000000) while true do hash.sha256(s) end",
}
ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
    "double": function("return ... * 2"),
    "doubles": workflow("return funcs.call('app:double', ...)"),
}  # fmt: skip


def doubles(node: Node, n: int) -> Any:
    return node.result(node.spawn("app:doubles", "app:worker", n), PATIENCE)


def test_a_step_that_burns_ends_with_a_clear_error_and_its_vm_goes_on(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    entries = {
        f"burns-{number}": {**workflow(source), "modules": ["hash"]}
        for number, source in enumerate(BURNS.values())
    }
    app = write_app(tmp_path, {**ENTRIES, **entries})
    # A tenth of what there is by default: machines differ.
    overrides = [*on_server(temporal_server, "app:journal"), "app:worker:limits.fuel=5000000"]
    with Node.from_path(app, overrides) as node:
        for entry in entries:
            with pytest.raises(PerdureError, match="out of fuel: it ran 5000000") as failed:
                node.result(node.spawn(f"app:{entry}", "app:worker"), PATIENCE)
            assert failed.value.kind == Kind.INTERNAL
            assert doubles(node, 2) == 4


def test_a_step_above_the_time_of_the_sdk_is_tried_again(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    with Node.from_path(write_app(tmp_path, ENTRIES), overrides) as node:
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker._open is not None
        (vm,) = worker._open.parts.vms.all
        with vm._lock:  # as code does that burns and cannot be stopped
            pid = node.spawn("app:doubles", "app:worker", 2, options={"workflow.id": "late"})
            eventually(lambda: "deadlock" in failure(temporal_server, "late"))
        assert node.result(pid, PATIENCE) == 4
        assert doubles(node, 3) == 6


def failure(server: DevServer, workflow_id: str) -> str:
    """What the server has of the last failure of a run's step; "" without one."""

    async def last() -> str:
        client = await Client.connect(server.address)
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        failures = [
            event.workflow_task_failed_event_attributes.failure.message
            for event in history.events
            if event.HasField("workflow_task_failed_event_attributes")
        ]
        return failures[-1] if failures else ""

    return asyncio.run(last())


SOON: Final = {"restart": {"initial_delay": "500ms", "max_delay": "1s"}}


def test_a_namespace_that_goes_is_a_state_of_the_services_until_it_is_there_again(
    tmp_path: Path,
) -> None:
    with dev_server() as server:
        client = {"kind": "temporal.client", "address": server.address, "namespace": "shop",
                  "health_check": {"interval": "500ms"}, "lifecycle": SOON}  # fmt: skip
        worker = {"kind": "temporal.worker", "client": "app:client", "lifecycle": SOON}
        app = write_app(tmp_path, {**ENTRIES, "client": client, "worker": worker})
        with Node.from_path(app) as node:
            eventually(lambda: 'has no namespace "shop"' in why(node, "app:client"))
            ask(server, register)
            eventually(lambda: states(node) == {"running"})
            ask(server, delete)
            eventually(lambda: states(node) == {"failed"})
            assert node.call("app:double", 4, timeout=PATIENCE) == 8
            with pytest.raises(PerdureError, match="shop") as refused:
                node.spawn("app:doubles", "app:worker", 4)
            assert (refused.value.kind, refused.value.retryable) == (Kind.UNAVAILABLE, True)
            with suppress(PerdureError):
                node.supervisor.restart_child("app:worker")
            eventually(lambda: 'has no namespace "shop"' in why(node, "app:worker"))
            ask(server, register)
            eventually(lambda: states(node) == {"running"})


def test_a_worker_whose_poll_fails_has_failed_and_is_started_again(
    tmp_path: Path, temporal_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    overrides.append("app:worker:lifecycle.restart.initial_delay=1s")
    with Node.from_path(write_app(tmp_path, ENTRIES), overrides) as node:
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker._open is not None
        bridge = worker._open.worker._bridge_worker
        poll, breaks = bridge.poll_workflow_activation, [RuntimeError("the poll broke")]

        async def broken() -> object:
            if breaks:
                raise breaks.pop()
            return await poll()  # the SDK takes what is left before it ends

        monkeypatch.setattr(bridge, "poll_workflow_activation", broken)
        with suppress(PerdureError):  # its first step may come to the broken poll before the answer
            node.spawn("app:doubles", "app:worker", 2, key="two")
        eventually(lambda: "the worker cannot go on: the poll broke" in why(node, "app:worker"))
        assert node.call("app:double", 4, timeout=PATIENCE) == 8
        with pytest.raises(PerdureError) as refused:
            node.spawn("app:doubles", "app:worker", 3)
        assert (refused.value.kind, refused.value.retryable) == (Kind.UNAVAILABLE, True)
        eventually(lambda: states(node) == {"running"})
        pid = node.spawn("app:doubles", "app:worker", 2, key="two")
        assert node.result(pid, PATIENCE) == 4


def why(node: Node, service: str) -> str:
    """The error of a service that is tried again, else ""."""
    (told,) = (each for each in node.services() if each.id == service)
    return told.error.message if told.error and told.next_attempt is not None else ""


def states(node: Node) -> set[str]:
    return {each.state for each in node.services() if each.kind.startswith("temporal.")}


def ask(server: DevServer, request: Callable[[Client], Awaitable[object]]) -> None:
    async def connected() -> None:
        await request(await Client.connect(server.address))

    asyncio.run(connected())


async def register(client: Client) -> None:
    request = RegisterNamespaceRequest(
        namespace="shop", workflow_execution_retention_period=Duration(seconds=86400)
    )
    await client.workflow_service.register_namespace(request)


async def delete(client: Client) -> None:
    request = DeleteNamespaceRequest(namespace="shop")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.operator_service.delete_namespace(request)
                return
            except RPCError:  # not every part of the server knows of it yet
                await asyncio.sleep(0.1)
