"""A plain worker of the Python SDK in this process, without a sandbox, as ours has none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.peers.temporal_server import Trips, add

_QUEUE: Final = "plain"


@asynccontextmanager
async def worker(address: str) -> AsyncIterator[Callable[[str, int], Awaitable[object]]]:
    """What runs a workflow by its id and count of activities to its end, on a server."""
    client = await Client.connect(address)

    async def trips(workflow_id: str, activities: int) -> None:
        await client.execute_workflow(Trips.run, activities, id=workflow_id, task_queue=_QUEUE)

    async with Worker(
        client,
        task_queue=_QUEUE,
        workflows=[Trips],
        activities=[add],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield trips
