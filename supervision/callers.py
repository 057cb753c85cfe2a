"""Threads for calls that may block: as many as there are calls, kept a while for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

#: Threads that wait for a call; a burst of more makes its own, which end with it.
_KEPT: Final = 4

_Call = tuple[str, Callable[[], None]]


class Callers:
    """Runs every call at once, on a daemon thread with its name: one that hangs holds up nothing.

    A thread that waits is handed the next call: that takes half as long as beginning one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False

    def run(self, name: str, call: Callable[[], None]) -> None:
        """Run `call`, which must not raise. Raises RuntimeError when no more threads can be."""
        with self._lock:
            waiting = self._waiting > 0
            self._waiting -= waiting
        if waiting:
            self._calls.put((name, call))
        else:
            threading.Thread(target=self._work, args=(name, call), name=name, daemon=True).start()

    def close(self) -> None:
        """Let the threads that wait end, and the others when they are done."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, 0
        for _ in range(waiting):
            self._calls.put(None)

    def _work(self, name: str, call: Callable[[], None]) -> None:
        thread = threading.current_thread()
        while True:
            thread.name = name
            call()
            del call  # what it holds must not live until the next one
            with self._lock:
                if self._closed or self._waiting >= _KEPT:
                    return
                self._waiting += 1
            thread.name = "perdure-caller"
            got = self._calls.get()
            if got is None:
                return
            name, call = got
