"""Threads that run short tasks, and never keep the interpreter from ending.

`concurrent.futures.ThreadPoolExecutor` joins its threads at exit, so one hung function of a
user's would hang the whole node there.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

_numbers = itertools.count(1)


class DaemonPool:
    """At most `workers` daemon threads, begun as they are needed; tasks run in FIFO order."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._retired = False
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()

    def submit(self, task: Callable[[], None]) -> None:
        """Run `task` on a thread. What it raises is logged; after `close` it is dropped."""
        with self._changed:
            if self._closed:
                return
            self._tasks.append(task)
            if self._idle < len(self._tasks) and self._threads < self._workers:
                self._threads += 1
                name = f"perdure-fn-{next(_numbers)}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            else:
                self._changed.notify()

    def retire(self) -> None:
        """Let threads end as they run out of tasks; what comes nevertheless is run."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what has not begun; threads end with what they are at. Does not wait."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except BaseException:
                logger.exception("a task of a thread pool raised")
            del task  # the arguments of a call must not live until the next one

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._tasks and not self._closed and not self._retired:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            if self._tasks:
                return self._tasks.popleft()
            self._threads -= 1
            return None
