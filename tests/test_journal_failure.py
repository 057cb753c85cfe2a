"""A journal that fails takes its workflow host along, and both come back with the disk."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from supervision.lmdb_service import LmdbService
from supervision.node import Node
from supervision.state import State
from tests.durable_lab import HOST, durable_app
from tests.process_lab import PATIENCE, eventually
from tests.services import in_background
from tests.test_journal_disk import redirect
from tests.test_process_service import status

WORKFLOWS = {
    "main": """
  local first = process.inbox():receive():payload():data()
  return first .. " " .. process.inbox():receive():payload():data()
"""
}

QUICKLY = [
    f"app:journal:lifecycle.restart.{field}=50ms" for field in ("initial_delay", "max_delay")
]


def test_a_host_stops_taking_work_while_its_journal_fails_and_goes_on_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    with caplog.at_level(logging.CRITICAL), Node.from_path(app, QUICKLY) as node:
        pid = node.spawn("app:main", HOST)
        node.send(pid, "say", "hello")
        waits = in_background(node.result, pid)
        service = node.parts.services["app:journal"]
        assert isinstance(service, LmdbService)
        journal = service.opened()
        data = Path(journal.path, "data.mdb")
        redirect(journal, "readonly", meta=True)
        data.rename(data.with_name("away"))
        data.mkdir()  # or a new journal would be made there

        with pytest.raises(PerdureError) as caught:
            node.send(pid, "say", "lost")
        assert caught.value.kind == Kind.UNAVAILABLE
        eventually(lambda: status(node, "app:journal").restarts > 2)
        host = status(node, HOST)
        assert host.state is State.FAILED
        assert host.error is not None
        assert "its journal failed" in host.error.message
        eventually(lambda: status(node, HOST).waiting_for == ("app:journal",))
        with pytest.raises(PerdureError, match="app:orders is not running") as caught:
            node.spawn("app:main", HOST)
        assert caught.value.kind == Kind.UNAVAILABLE
        with pytest.raises(PerdureError, match="app:orders was stopped"):
            waits.result(PATIENCE)

        data.rmdir()
        data.with_name("away").rename(data)
        eventually(lambda: status(node, HOST).state is State.RUNNING)
        assert status(node, "app:journal").state is State.RUNNING
        assert status(node, HOST).restarts == 1
        node.send(pid, "say", "world")
        assert node.result(pid, PATIENCE) == "hello world"
