"""Function calls from anywhere: which function, in which pool, how long, how often.

Python functions run in `hosts.functions`. Lua functions run in VM workers that belong to no
process: one shared one for calls that come from outside of a VM, and one pool for each function
that has its own. A process entry with `meta.default_host` is called by spawning it there.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from hosts.clients import Clients, Done
from hosts.functions import PythonFunctions, Result
from hosts.timers import Timers
from runtime import backoff, inputs
from runtime.codec import decode, decode_args, encode
from runtime.config.registry import Registry
from runtime.config.units import parse_duration
from runtime.errors import Kind, PerdureError
from runtime.inputs import StartOptions
from runtime.routing.router import Router, SpawnRequest

#: Host of the VM workers that run Lua functions. It has no namespace, so no entry can have the
#: same id.
HOST: Final = "functions"

Cancel = Callable[[], None]
_MS: Final = 1_000_000


class Calls:
    """Starts function calls. Safe to call from any thread."""

    def __init__(
        self,
        registry: Registry,
        python: PythonFunctions,
        router: Router,
        clients: Clients,
        timers: Timers,
    ) -> None:
        self._registry = registry
        self._python = python
        self._router = router
        self._clients = clients
        self._timers = timers

    def start(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        *,
        options: bytes | None = None,
        on_heartbeat: Callable[[Any], None] | None = None,
    ) -> Cancel:
        """Call `target`; `done(ok, value)` hears its end once. Returns what cancels it.

        options: encoded map; `timeout` in milliseconds or as text, `retry` = {max_attempts,
        initial_delay (ms), max_delay (ms), backoff_factor}.
        """
        settings: dict[str, Any] = decode(options) if options else {}
        try:
            timeout = duration_ns(settings.get("timeout"))
            retry = settings.get("retry")
        except PerdureError as error:
            done(False, encode(error))
            return lambda: None
        if retry:
            return _Retried(self, target, args, context, done, timeout, retry, self._timers).cancel
        return self.attempt(target, args, context, done, timeout, on_heartbeat)

    def attempt(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        timeout_ns: int | None = None,
        on_heartbeat: Callable[[Any], None] | None = None,
    ) -> Cancel:
        """One attempt."""
        try:
            entry = self._registry.get(target)
            if entry.kind == "function.python":
                return self._start_python(target, args, context, done, timeout_ns, on_heartbeat)
            if entry.kind == "function.lua":
                return self._spawn(target, HOST, args, context, done, timeout_ns)
            if entry.kind == "process.lua" and "default_host" in entry.meta:
                host = str(entry.meta["default_host"])
                host = host if ":" in host else f"{entry.namespace}:{host}"
                return self._spawn(target, host, args, context, done, timeout_ns)
            raise PerdureError(
                Kind.INVALID,
                f"{target} is a {entry.kind}: call a function.lua, a function.python, or a "
                "process.lua with meta.default_host",
            )
        except PerdureError as error:
            done(False, encode(error))
            return lambda: None

    def _start_python(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        timeout_ns: int | None,
        on_heartbeat: Callable[[Any], None] | None,
    ) -> Cancel:
        def finished(result: Result) -> None:
            if result.error is not None:
                done(False, _encode_error(result.error))
                return
            try:
                value = encode(result.value)
            except PerdureError as error:
                text = f"{target} returned what cannot be passed on: {error.message}"
                done(False, encode(PerdureError(error.kind, text)))
                return
            done(True, value)

        call = self._python.submit(
            target,
            decode_args(args),
            decode(context) if context else {},
            finished,
            timeout_ns,
            on_heartbeat,
        )
        return call.cancel

    def _spawn(
        self,
        target: str,
        host: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        timeout_ns: int | None,
    ) -> Cancel:
        lock = threading.Lock()
        state: dict[str, Any] = {"pid": None, "over": False, "timer": None}

        def end(ok: bool, value: bytes) -> None:
            with lock:
                if state["over"]:
                    return
                state["over"] = True
            if state["timer"] is not None:
                self._timers.cancel(state["timer"])
            done(ok, value)

        def stop() -> None:
            if state["pid"] is not None:
                self._router.deliver(inputs.control(state["pid"], "terminate", "", None))

        def started(ok: bool, value: bytes) -> None:
            if not ok:
                end(False, value)
                return
            state["pid"] = decode(value)
            if state["over"]:
                stop()

        def give_up(error: PerdureError) -> None:
            end(False, encode(error))
            stop()

        start: StartOptions = {
            "reply": self._clients.expect(started),
            "outcome": self._clients.expect(end),
        }
        if context is not None:
            start["context"] = context
        if timeout_ns is not None:
            text = f"{target} did not return within {timeout_ns / 1e9:g}s"
            due = self._timers.clock.monotonic() + timeout_ns
            state["timer"] = self._timers.add(
                due, lambda: give_up(PerdureError(Kind.TIMEOUT, text))
            )
        self._router.spawn(SpawnRequest(target, host, args, start))
        return lambda: give_up(PerdureError(Kind.CANCELED, "canceled"))


class _Retried:
    """A call that is tried again when it fails."""

    def __init__(
        self,
        calls: Calls,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        timeout_ns: int | None,
        retry: dict[str, Any],
        timers: Timers,
    ) -> None:
        self._again: Callable[[], Cancel] = partial(
            calls.attempt, target, args, context, self._ended, timeout_ns
        )
        self._done = done
        self._timers = timers
        self._attempts = itertools.count(2)
        self._most = int(retry.get("max_attempts", 3))
        self._initial = int(retry.get("initial_delay", 100)) * _MS
        self._longest = int(retry.get("max_delay", 60_000)) * _MS
        self._factor = float(retry.get("backoff_factor", 2.0))
        self._cancelled = False
        self._stop = self._again()

    def _ended(self, ok: bool, value: bytes) -> None:
        attempt = next(self._attempts)
        final = ok or self._cancelled or attempt > self._most
        if final or decode(value).retryable is False:
            self._done(ok, value)
            return
        delay = backoff.delay_ns(
            attempt - 1, self._initial, self._longest, self._factor, 0.1, random.random
        )
        self._timers.add(self._timers.clock.monotonic() + delay, self._retry)

    def _retry(self) -> None:
        if self._cancelled:
            self._done(False, encode(PerdureError(Kind.CANCELED, "canceled")))
        else:
            self._stop = self._again()

    def cancel(self) -> None:
        self._cancelled = True
        self._stop()


def duration_ns(value: Any) -> int | None:
    """Nanoseconds of an option: a Go duration, or a number of milliseconds; None for none.

    Raises PerdureError INVALID.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise PerdureError(Kind.INVALID, f'"{value}" is not a duration: {error}') from None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return int(value * _MS)
    raise PerdureError(
        Kind.INVALID, f'{value!r} is not a duration: write "10s", or a number of milliseconds'
    )


def _encode_error(error: PerdureError) -> bytes:
    """An error whose details cannot travel goes without them."""
    try:
        return encode(error)
    except PerdureError:
        return encode(
            PerdureError(error.kind, error.message, error.retryable, None, trace=error.trace)
        )
