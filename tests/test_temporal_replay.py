"""Histories of the server replay whatever is deployed and up by then; and what does not is found.

That every history replays which any test leaves is shown by `temporal_histories`, for each module.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.workflow import unsafe

from hosts.temporal.execution import Execution
from runtime.commands import StartTimer
from runtime.config.loader import load
from runtime.errors import PerdureError
from supervision.node import Node
from tests import temporal_histories
from tests.process_lab import PATIENCE, function, process, write_app
from tests.temporal_lab import DevServer, misfits, on_server

WAIT = "local m = process.inbox():receive() "
SOON = "app:worker:worker_options.sticky_schedule_to_start_timeout=1s"


def workflow(source: str, **fields: Any) -> dict[str, Any]:
    modules = ["funcs", "workflow", "uuid", "time"]
    return {"kind": "workflow.lua", "source": source, "modules": modules, **fields}


def application(folder: Path, **entries: dict[str, Any]) -> Path:
    listed: dict[str, dict[str, Any]] = {
        "journal": {"kind": "journal.lmdb", "path": "j"},
        "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
        **entries,
    }
    return write_app(folder, listed)


def worker(**fields: Any) -> dict[str, Any]:
    return {"kind": "temporal.worker", "client": "app:journal", "workers": 1, **fields}


PARENT = f"""
    local one = {{process.exec("app:child", "app:second", 1)}}
    local two = {{process.spawn("app:nobody", "app:second", 2)}}
    local three = process.spawn("app:spawned", "app:one", 3)
    {WAIT}
    return {{one[1], two[2]:kind(), three ~= nil}}
"""
DEPLOYS: dict[str, dict[str, dict[str, Any]]] = {
    "all of it": {
        "second": worker(), "child": workflow("return ..."), "spawned": process("return ..."),
    },
    "what was not there": {
        "second": worker(), "child": workflow("return ..."), "spawned": process("return ..."),
        "nobody": workflow("return ..."),
    },
    "no child": {"second": worker(), "spawned": process("return ...")},
    "no worker for it": {"child": workflow("return ..."), "spawned": process("return ...")},
    "no process": {"second": worker(), "child": workflow("return ...")},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("later", DEPLOYS)
def test_a_run_goes_on_whatever_of_what_it_has_spawned_is_still_deployed(
    tmp_path: Path, temporal_server: DevServer, later: str
) -> None:
    overrides = [*on_server(temporal_server, "app:journal"), SOON]
    app = application(tmp_path, flow=workflow(PARENT), **DEPLOYS["all of it"])
    with Node.from_path(app, overrides) as node:
        pid = node.spawn("app:flow", "app:worker", options={"workflow.id": f"spawns, {later}"})
        ready(temporal_server, f"spawns, {later}")
    application(tmp_path, flow=workflow("return 'new'"), **DEPLOYS[later])
    with Node.from_path(app, overrides) as node:
        node.send(pid, "go")
        assert node.result(pid, PATIENCE) == [1, "NotFound", True]
        assert misfits(temporal_server) == {}


def ready(server: DevServer, workflow_id: str, markers: int = 3) -> None:
    """Come back when a run waits for a message, with so many markers in its history."""

    async def wait() -> None:
        client = await Client.connect(server.address)
        handle = client.get_workflow_handle(workflow_id)
        async with asyncio.timeout(PATIENCE):
            while True:
                told = (await handle.fetch_history()).events
                kinds = [each.WhichOneof("attributes") for each in told]
                if kinds.count("marker_recorded_event_attributes") == markers:
                    return
                await asyncio.sleep(0.02)

    asyncio.run(wait())


def test_a_foreign_run_goes_on_though_its_entry_is_gone(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = [*on_server(temporal_server, "app:journal"), SOON]
    queue = overrides[2].partition("=")[2] + "app:worker"

    async def begin() -> None:
        client = await Client.connect(temporal_server.address)
        await client.start_workflow("app:flow", id="orphan", task_queue=queue)

    with Node.from_path(application(tmp_path, flow=workflow(WAIT + "return 'kept'")), overrides):
        asyncio.run(begin())
        ready(temporal_server, "orphan", markers=1)
    with Node.from_path(application(tmp_path), overrides) as node:
        node.send("{app:worker|orphan}", "go")
        assert node.result("{app:worker|orphan}", PATIENCE) == "kept"


def test_the_check_of_the_lab_finds_what_does_not_replay(
    tmp_path: Path, temporal_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(self: Execution, command: StartTimer) -> None:
        if not unsafe.is_replaying():
            sound(self, command)

    sound = Execution._start_timer
    overrides = on_server(temporal_server, "app:journal")
    code = {
        "fits": "return uuid.v4()",
        "elsewhere": "return uuid.v4()",
        "bug of the host": "time.sleep('10ms') return funcs.call('app:fits', 1)",
        "other code by now": "return funcs.call('app:one_more', 1)",
    }
    entries = {
        each.replace(" ", "-"): workflow(source, versioning="latest")
        for each, source in code.items()
    }
    entries["one_more"] = function("return (...) + 1")
    app = application(tmp_path / "app", **entries)
    entries["other-code-by-now"] = workflow("time.sleep('10ms')", versioning="latest")
    changed = load(application(tmp_path / "changed", **entries), overrides)
    with Node.from_path(app, overrides) as node:
        for each in code:
            pid = node.spawn(
                f"app:{each.replace(' ', '-')}", "app:worker", options={"workflow.id": each}
            )
            with suppress(PerdureError):
                node.result(pid, PATIENCE)
        for run in list(temporal_histories.stepped):
            if run.workflow_id == "elsewhere":
                del temporal_histories.stepped[run]
        node.deployed.switch(changed.registry)
        monkeypatch.setattr(Execution, "_start_timer", forgetful)
        found = misfits(temporal_server)
    assert found.keys() == {"elsewhere", "bug of the host", "other code by now"}
    assert found["elsewhere"] == "no node of this process has stepped or replayed it"
    assert "ondeterminism" in found["bug of the host"]
    assert "ondeterminism" in found["other code by now"]
