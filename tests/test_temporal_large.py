"""Large histories on a Temporal server: a replay ends within its time.

`benchmarks/temporal_steps.py` has the figures of their steps.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.client import Client

from hosts.temporal import rebuilding
from supervision.node import Node
from tests.process_lab import PATIENCE, function, process, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_temporal_replay import workflow

#: Records of a round: activities, sends to a process (local activities), signals.
ROUND: Final = (30, 60, 10)

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
    "same": function("return ..."),
    "sink": process("""
        process.registry.register("sink")
        while true do process.inbox():receive() end
    """),
    "flow": workflow("""
        local rounds, calls, sends = ...
        local sum, got = 0, 0
        for _ = 1, rounds do
          local futures = {}
          for i = 1, calls do futures[i] = funcs.async("app:same", 1) end
          for i = 1, calls do sum = sum + futures[i]:channel():receive():data() end
          for i = 1, sends do assert(process.send("sink", "n", i)) end
        end
        workflow.attrs{memo = {idle = true}}
        while true do
          local m = process.inbox():receive()
          if m:topic() == "end" then return {sum, got} end
          got = got + 1
        end
    """),
}  # fmt: skip


async def idle(server: DevServer, workflow_id: str) -> int:
    """Come back when a run has done all rounds; events in its history."""
    client = await Client.connect(server.address)
    handle = client.get_workflow_handle(workflow_id)
    while not (await (told := await handle.describe()).memo()).get("idle"):
        await asyncio.sleep(0.2)
    return told.history_length or 0


def survives_a_restart(folder: Path, server: DevServer, rounds: int) -> int:
    """Bring a run to its size, restart its node and let the run end: its events."""
    overrides = on_server(server, "app:journal")
    overrides.append("app:worker:worker_options.sticky_schedule_to_start_timeout=1s")
    app = write_app(folder, ENTRIES)
    with Node.from_path(app, overrides) as node:
        node.spawn("app:sink", "app:one")
        options = {"workflow.id": f"large {rounds}"}
        pid = node.spawn("app:flow", "app:worker", rounds, *ROUND[:2], options=options)
        for n in range(rounds * ROUND[2]):
            node.send(pid, "n", n)
        events = asyncio.run(idle(server, f"large {rounds}"))
    with Node.from_path(app, overrides) as node:
        node.send(pid, "end")
        ended = node.result(pid, 4 * PATIENCE)
        assert ended == [rounds * ROUND[0], rounds * ROUND[2]]
    return events


def test_a_run_with_a_long_history_goes_on_after_a_restart_and_a_long_replay_is_told(
    tmp_path: Path,
    temporal_server: DevServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(rebuilding, "MUCH", 0.001)
    assert survives_a_restart(tmp_path, temporal_server, 2) > 2 * sum(ROUND)
    assert any("app:flow large 2: the replay of" in each for each in caplog.messages)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_thousand_records(tmp_path: Path, temporal_server: DevServer) -> None:
    assert survives_a_restart(tmp_path, temporal_server, 100) > 10_000
