"""Requests to the server for the node: made in their order, answered when they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import error_of
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Router


class Lanes:
    """A lane for each workflow: of the requests in it, each waits for the one before.

    `behind` and `apart` may be called from any thread, the rest belongs to the client's loop.
    """

    def __init__(self, worker_id: str, connection: TemporalClient, router: Router) -> None:
        self._worker_id = worker_id
        self._connection = connection
        self._router = router
        #: Workflow id -> the last request to it that is under way.
        self._last: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def behind(
        self,
        workflow_id: str,
        reply: ReplyTo | None,
        work: Coroutine[Any, Any, bytes],
        refused: Callable[[PerdureError], None] = lambda error: None,
    ) -> None:
        """Make a request to a workflow behind those that are under way, and answer.

        refused: hears of an error, too.
        """

        async def begin() -> None:
            before = self._last.get(workflow_id)
            task = self.keep(self._answered(reply, work, refused, before))
            self._last[workflow_id] = task
            task.add_done_callback(partial(self._passed, workflow_id))

        self._connection.submit(begin())

    def apart(self, reply: ReplyTo, work: Coroutine[Any, Any, bytes]) -> None:
        """Make a request that waits for long, and answer."""

        async def begin() -> None:
            self.keep(self._answered(reply, work))

        self._connection.submit(begin())

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """The worker stops: who waits hears of that."""
        for task in list(self._tasks):
            task.cancel()

    def _passed(self, workflow_id: str, task: asyncio.Task[None]) -> None:
        if self._last.get(workflow_id) is task:
            del self._last[workflow_id]

    async def _answered(
        self,
        reply: ReplyTo | None,
        work: Awaitable[bytes],
        refused: Callable[[PerdureError], None] = lambda error: None,
        before: asyncio.Task[None] | None = None,
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            value = await work
        except asyncio.CancelledError:
            error = PerdureError(Kind.UNAVAILABLE, f"{self._worker_id} was stopped", True)
            self._router.refuse(reply, error)
            refused(error)
            raise
        except Exception as failed:
            error = error_of(failed)
            self._router.refuse(reply, error)
            refused(error)
        else:
            self._router.answer(reply, value)
