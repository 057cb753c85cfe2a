"""A call of a Python function, while it is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hosts.limits import Watch
from hosts.outcomes import Result
from runtime.api import CallScope
from runtime.errors import Kind, PerdureError


class FunctionCall:
    """One call under way; it ends once, whoever is first to end it."""

    def __init__(
        self, entry_id: str, scope: CallScope, on_end: Callable[[FunctionCall, Result | None], None]
    ) -> None:
        self.entry_id = entry_id
        self.scope = scope
        self.watch: Watch | None = None
        self._on_end = on_end
        self._cancel_task: Callable[[], None] | None = None
        self._begun = False
        self._ended = False
        self._lock = threading.Lock()

    def cancel(self, reason: str = "canceled") -> None:
        """End the call with CANCELED; nothing happens when it has ended."""
        error = PerdureError(Kind.CANCELED, reason)
        self.give_up(error, Result(error=error))

    def ask_to_end(self) -> None:
        """Let the function know that nobody wants its result; the call ends when it does."""
        with self._lock:
            begun, cancel_task = self._begun, self._cancel_task
            if begun:
                self.scope.given_up = PerdureError(Kind.CANCELED, "canceled")
        if not begun:
            self.cancel()
        elif cancel_task is not None:
            cancel_task()

    def begin(self) -> bool:
        """A worker has taken the call; False when it was given up before."""
        with self._lock:
            if self._ended:
                return False
            first = not self._begun
            self._begun = True
        if first and self.watch is not None:
            self.watch.started()
        return True

    def finish(self, result: Result) -> None:
        """The function came back."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._on_end(self, result)

    def give_up(self, why: PerdureError, result: Result | None) -> None:
        """End the call from outside; without a result where nobody is to hear of it."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self.scope.given_up = why
            cancel_task = self._cancel_task
        self._on_end(self, result)
        if cancel_task is not None:
            cancel_task()

    def runs_as(self, cancel_task: Callable[[], None]) -> None:
        """The function runs as a task, to be cancelled when the call is given up."""
        with self._lock:
            self._cancel_task = cancel_task
            given_up = self.scope.given_up is not None
        if given_up:
            cancel_task()
