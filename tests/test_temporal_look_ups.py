"""What a run asks of its node does not wait for names that other runs look up at the server."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from hosts.temporal import worker
from hosts.temporal.runs import Runs
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, process, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_temporal_replay import workflow

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 4},
    "looks": workflow("return process.registry.lookup(...) == nil"),
    "sends": workflow("return process.send(...)"),
    "waits": process("process.inbox():receive()"),
}
#: Fewer than the steps that the worker has under way, five for each VM: a run that waits for its
#: node holds one. More than threads in asyncio's own pool, CPUs and 4, where there are few CPUs.
MANY: Final = 12


def test_a_request_does_not_wait_for_the_look_ups_of_others(
    tmp_path: Path, temporal_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is slow at this one kind of request, as one that limits their rate."""
    asked, go_on, sound = [], threading.Event(), Runs.status

    async def slow(self: Runs, workflow_id: str) -> Any:
        asked.append(workflow_id)
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return await sound(self, workflow_id)

    monkeypatch.setattr(Runs, "status", slow)
    monkeypatch.setattr(worker, "LOOK_UP", 2 * PATIENCE)
    app = write_app(tmp_path, ENTRIES)
    with Node.from_path(app, on_server(temporal_server, "app:journal")) as node:
        waits = node.spawn("app:waits", "app:one")
        looks = [node.spawn("app:looks", "app:worker", f"nobody-{n}") for n in range(MANY)]
        eventually(lambda: len(asked) >= 6)
        assert node.result(node.spawn("app:sends", "app:worker", waits, "go"), PATIENCE) is True
        go_on.set()
        assert all(node.result(pid, PATIENCE) for pid in looks)
