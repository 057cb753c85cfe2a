"""Steps that fill memory on a Temporal server fail their run, and the others of the VM go on. Runs
that wait leave memory when there are too many bytes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from hosts.temporal import worker
from hosts.temporal.worker import GROWTH, TemporalWorker
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, eventually, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_temporal_replay import workflow

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
    "fills": workflow("local t = {} while true do t[#t + 1] = {} end"),
    "keeps": workflow("""
        local much, n = ...
        local heard = process.inbox():receive():payload():data()
        return {#much, heard + n}
    """),
    "waits": workflow("return ... + process.inbox():receive():payload():data()"),
}
#: Tables of one value each: what is 90 KB in a message takes more than 3 MB in a VM.
MANY: Final = [[1]] * 30_000


@pytest.mark.parametrize("growth", [8 << 20, pytest.param(GROWTH, marks=pytest.mark.soak)])
def test_a_step_that_fills_memory_fails_its_run_and_the_others_of_its_vm_go_on(
    tmp_path: Path, temporal_server: DevServer, monkeypatch: pytest.MonkeyPatch, growth: int
) -> None:
    """The step has two seconds for what it may fill, which a busy machine may not do in time."""
    monkeypatch.setattr(worker, "GROWTH", growth)
    app = write_app(tmp_path, ENTRIES)
    with Node.from_path(app, on_server(temporal_server, "app:journal")) as node:
        waiting = node.spawn("app:waits", "app:worker", 1)
        with pytest.raises(PerdureError, match="process killed: out of memory: ") as failed:
            node.result(node.spawn("app:fills", "app:worker"), PATIENCE)
        assert failed.value.kind == Kind.INTERNAL
        node.send(waiting, "go", 2)
        assert node.result(waiting, PATIENCE) == 3


def test_a_message_that_fills_the_vm_fails_its_run_and_the_others_are_rebuilt(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    overrides.append("app:worker:limits.memory=2MB")
    with Node.from_path(write_app(tmp_path, ENTRIES), overrides) as node:
        waiting, filled = (node.spawn("app:waits", "app:worker", n) for n in range(2))
        service = node.service("app:worker")
        assert isinstance(service, TemporalWorker)
        assert service._open is not None
        (vm,) = service._open.parts.vms.all
        eventually(lambda: len(vm._runs) == 2)
        node.send(filled, "go", MANY)
        with pytest.raises(PerdureError, match="process killed: out of memory: the VM") as failed:
            node.result(filled, PATIENCE)
        assert failed.value.kind == Kind.INTERNAL
        node.send(waiting, "go", 2)
        assert node.result(waiting, PATIENCE) == 2


def test_runs_that_wait_leave_memory_when_they_are_too_large_together(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    overrides.append("app:worker:cache=4MB")
    with Node.from_path(write_app(tmp_path, ENTRIES), overrides) as node:
        service = node.service("app:worker")
        assert isinstance(service, TemporalWorker)
        assert service._open is not None
        (vm,) = service._open.parts.vms.all
        pids = [node.spawn("app:keeps", "app:worker", [[1]] * 12_500, n) for n in range(16)]
        eventually(lambda: len(vm._runs) <= 8)
        for n, pid in enumerate(pids):
            node.send(pid, "go", n)
        assert [node.result(pid, PATIENCE) for pid in pids] == [[12_500, 2 * n] for n in range(16)]
