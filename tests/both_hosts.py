"""The two hosts of workflows: a test that takes the fixture `host` runs on the journal here, then
on a Temporal server. The application is the same, overrides make its journal a client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

from runtime.config.loader import load
from runtime.errors import PerdureError
from supervision.control import workflows
from supervision.node import Node
from tests.crash_lab import NodeProcess, check_journal, overrides_of
from tests.process_lab import PATIENCE, write_app
from tests.temporal_lab import DevServer, new_namespace, on_server

EMBEDDED: Final = "embedded"
TEMPORAL: Final = "temporal"

#: What a killed node leaves behind is noticed in a second or so: fields of its worker.
SOON: Final = [
    "heartbeat_timeout=1s",
    "task_timeout=1500ms",
    "worker_options.sticky_schedule_to_start_timeout=100ms",
    "worker_options.max_heartbeat_throttle_interval=200ms",
]

#: Where the functions below start workflows.
WORKER: Final = "app:workflows"
_WORKER: Final = {"kind": "temporal.worker", "client": "app:journal", "workers": 2}
_JOURNAL: Final = {"kind": "journal.lmdb", "path": "./data/journal"}


class Host(NamedTuple):
    """Where the workflows of a test run.

    Attributes:
        server: None for the embedded journal.
    """

    server: DevServer | None

    def overrides(self, journal: str = "app:journal") -> list[str]:
        """What makes an application run its workflows here; on the server in a namespace of their
        own."""
        if self.server is None:
            return []
        return on_server(self.server, journal, new_namespace(self.server))

    def overrides_to_kill(self, worker: str, journal: str = "app:journal") -> list[str]:
        """`overrides` for nodes that get killed: it is soon noticed."""
        overrides = self.overrides(journal)
        return [*overrides, *(f"{worker}:{each}" for each in SOON)] if overrides else []

    def check(self, app: Path, overrides: Sequence[str] | None = None) -> None:
        """What nodes in other processes have left of an application is sound: its journal, or all
        histories replay.

        Args:
            overrides: by default those that the application has itself, see `put_on_server`.
        """
        if self.server is None:
            check_journal(app)
            return
        # What it imports is only there with the extra: other tests do without.
        from hosts.temporal.worker import TemporalWorker

        overrides = overrides_of(app) if overrides is None else overrides
        workers = load(app, overrides).registry.of_kind("temporal.worker")
        idle = [f"{each.id}:worker_options.local_activity_worker_only=true" for each in workers]
        with Node.from_path(app, [*overrides, *idle]) as node:
            for entry in workers:
                worker = node.service(entry.id)
                assert isinstance(worker, TemporalWorker)
                assert worker.replay()[1] == {}

    @contextmanager
    def node(self, app: Path) -> Iterator[Node]:
        """A node that runs an application here."""
        with Node.from_path(app, self.overrides()) as running:
            yield running


def application(
    folder: Path,
    entries: Mapping[str, dict[str, Any]],
    python: Mapping[str, str] | None = None,
    worker: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """An application with a worker, `app:workflows`, and these entries and Python modules by name.

    Args:
        worker: fields of the worker.
    """
    hosts = {"journal": _JOURNAL, "workflows": {**_WORKER, **worker}}
    return write_app(folder, {**hosts, **entries}, python)


def only_on(host: str, why: str) -> pytest.MarkDecorator:
    """A test that takes `host` runs on one of the two, because …"""
    assert why
    return pytest.mark.parametrize("host", [host], indirect=True)


def start(
    node: Node | NodeProcess,
    entry: str,
    *args: Any,
    key: str | None = None,
    worker: str = WORKER,
    **options: Any,
) -> str:
    """Start a workflow of the namespace `app`; `options` without their `workflow.`."""
    settings = {f"workflow.{name}": value for name, value in options.items()}
    return node.spawn(f"app:{entry}", worker, *args, options=settings, key=key)


def run(node: Node, entry: str, *args: Any, **options: Any) -> Any:
    """Start a workflow as `start` does, and wait for its result."""
    return node.result(start(node, entry, *args, **options), PATIENCE)


def statuses(node: Node, workflow_id: str) -> list[str]:
    """How the runs of a workflow stand, the oldest first."""
    rows = node.workflows(f'workflow_id = "{workflow_id}"', limit=0)
    return [row["status"] for row in reversed(rows)]


def until_runs(node: Node, workflow_id: str, *expected: str) -> None:
    """Come back when the runs of a workflow stand so. A server lists them a moment later."""
    _often(lambda: statuses(node, workflow_id) == [*expected])


def until_found(node: Node, where: str, *expected: str) -> None:
    """Come back when a condition finds these runs, see `found_in`."""
    _often(lambda: found_in(node.workflows(where)) == [*expected])


def found_in(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Workflow id and status of each row, as in "order-1 open"."""
    return [f"{row['workflow_id']} {row['status']}" for row in rows]


def until_told(node: Node, pid: str, kind: str, count: int = 1) -> None:
    """Come back when the history of a workflow's current run tells of so much of that type."""
    _often(lambda: sum(row["type"] == kind for row in workflows.history(node, pid)) >= count)


def _often(holds: Callable[[], bool]) -> None:
    """`eventually`, no more often than a server lets itself be asked."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def failure(work: Callable[[], Any]) -> PerdureError:
    """The error that a call raises."""
    with pytest.raises(PerdureError) as raised:
        work()
    return raised.value
