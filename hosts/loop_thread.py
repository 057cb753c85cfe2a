"""The one asyncio loop on which a node's async functions run."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class LoopThread:
    """A daemon thread with an event loop, begun with the first coroutine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself holds them weakly

    def run(
        self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context
    ) -> Callable[[], None]:
        """Run a coroutine in `context`; the function returned cancels it, from any thread.

        After `close` nothing is run, and nothing is left to cancel.
        """
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(coroutine, context=context)
            tasks.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            # Behind `begin` in the loop's queue, so the task is there.
            self._soon(lambda: tasks[0].cancel())

        if not self._soon(begin):
            coroutine.close()
        return cancel

    def close(self) -> None:
        """Cancel what runs and end the thread. Does not wait."""
        with self._lock:
            if self._loop is not None and not self._closing:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._closing = True

    def _soon(self, callback: Callable[[], object]) -> bool:
        with self._lock:
            if self._closing:
                return False
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._run, args=(self._loop,), name="perdure-fn-async", daemon=True
                ).start()
            self._loop.call_soon_threadsafe(callback)
            return True

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closing:
            try:
                loop.run_forever()
            except BaseException:
                # SystemExit in a task that a function started by itself comes out here.
                logger.exception("a task of an async function tried to end the event loop")
        loop.run_until_complete(_cancel_all())
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
