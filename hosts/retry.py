"""A function call that is tried again when it fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

from hosts.call_options import Retry
from hosts.clients import Done
from hosts.timers import Timer, Timers
from runtime import backoff
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

#: Share of a wait that is random.
_JITTER: Final = 0.1

#: Starts one attempt, which tells its end once; gives what cancels it.
Attempt = Callable[[Done], Callable[[], None]]


class Retried:
    """Makes attempts until one succeeds, its error is not retryable, or they are used up.

    Args:
        done: hears the end of the last attempt, once.
    """

    def __init__(self, attempt: Attempt, done: Done, policy: Retry, timers: Timers) -> None:
        self._attempt = attempt
        self._done = done
        self._policy = policy
        self._timers = timers
        self._made = 0
        self._over = False
        self._waiting: Timer | None = None
        self._cancel_attempt: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._again()

    def cancel(self) -> None:
        """End the call with CANCELED; nothing happens when it has ended."""
        self._finish(False, encode(PerdureError(Kind.CANCELED, "canceled")))
        if self._waiting is not None:
            self._timers.cancel(self._waiting)
        self._cancel_attempt()

    def _again(self) -> None:
        if self._over:
            return
        self._made += 1
        cancel = self._attempt(self._ended)
        self._cancel_attempt = cancel
        if self._over:
            cancel()

    def _ended(self, ok: bool, value: bytes) -> None:
        if ok or self._made >= self._policy.max_attempts or decode(value).retryable is False:
            self._finish(ok, value)
            return
        policy = self._policy
        delay = backoff.delay_ns(
            self._made,
            policy.initial_delay,
            policy.max_delay,
            policy.backoff_factor,
            _JITTER,
            random.random,
        )
        if not self._over:
            self._waiting = self._timers.add(self._timers.clock.monotonic() + delay, self._again)

    def _finish(self, ok: bool, value: bytes) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        self._done(ok, value)
