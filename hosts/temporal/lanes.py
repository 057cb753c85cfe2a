"""Requests to the server for the node: made in their order, answered when they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import error_of
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Router

T = TypeVar("T")


class _Request(NamedTuple):
    reply: ReplyTo | None
    work: Coroutine[Any, Any, bytes]
    refused: Callable[[PerdureError], None]


class Lanes:
    """A lane for each workflow: of the requests in it, each waits for the one before, and when that
    has waited in vain for a server that is away, so has this one.

    `behind` and `apart` may be called from any thread, the rest belongs to the client's loop.
    """

    def __init__(self, worker_id: str, connection: TemporalClient, router: Router) -> None:
        self._worker_id = worker_id
        self._connection = connection
        self._router = router
        #: Workflow id -> the last request to it that is under way.
        self._last: dict[str, asyncio.Task[PerdureError | None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

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
        request = _Request(reply, work, refused)

        async def begin() -> None:
            task = self._task(request, self._last.get(workflow_id))
            self._last[workflow_id] = task
            task.add_done_callback(partial(self._passed, workflow_id))

        self._submit(request, begin())

    def apart(self, reply: ReplyTo, work: Coroutine[Any, Any, bytes]) -> None:
        """Make a request that waits for long, and answer."""
        request = _Request(reply, work, lambda error: None)

        async def begin() -> None:
            self._task(request, None)

        self._submit(request, begin())

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """The worker stops: who waits hears of that."""
        for task in list(self._tasks):
            task.cancel()

    def _passed(self, workflow_id: str, task: asyncio.Task[PerdureError | None]) -> None:
        if self._last.get(workflow_id) is task:
            del self._last[workflow_id]

    def _submit(self, request: _Request, begin: Coroutine[Any, Any, None]) -> None:
        try:
            begun = self._connection.submit(begin)
        except PerdureError:
            self._stopped(request)
        else:
            begun.add_done_callback(partial(self._unless_cancelled, request))

    def _task(
        self, request: _Request, before: asyncio.Task[PerdureError | None] | None
    ) -> asyncio.Task[PerdureError | None]:
        task = self.keep(self._answered(request, before))
        task.add_done_callback(partial(self._unless_cancelled, request))
        return task

    async def _answered(
        self, request: _Request, before: asyncio.Task[PerdureError | None] | None
    ) -> PerdureError | None:
        """Make a request, and answer. Returns the error of a server that is away."""
        try:
            if before is not None:
                await asyncio.wait({before})
                if not before.cancelled() and (away := before.result()):
                    raise away
            value = await request.work
        except Exception as failed:
            error = error_of(failed)
            self._refuse(request, error)
            return error if error.kind == Kind.UNAVAILABLE else None
        self._router.answer(request.reply, value)
        return None

    def _unless_cancelled(self, request: _Request, done: Future[Any] | asyncio.Task[Any]) -> None:
        if done.cancelled():
            self._stopped(request)

    def _stopped(self, request: _Request) -> None:
        text = f"{self._worker_id} was stopped"
        self._refuse(request, PerdureError(Kind.UNAVAILABLE, text, True))

    def _refuse(self, request: _Request, error: PerdureError) -> None:
        request.work.close()  # it may not have begun
        self._router.refuse(request.reply, error)
        request.refused(error)
