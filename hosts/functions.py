"""Runs the Python functions of an application.

A plain function runs on a daemon thread of a pool, an async one on the event loop that all share
(and that one which blocks instead of awaiting holds up for all).
Neither can be killed: a call that has timed out or was cancelled has its result at once, and what
still runs of it learns so from `heartbeat`, or, if it is async, by cancellation. A plain function
that does neither keeps its thread until it comes back.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from hosts.daemon_pool import DaemonPool
from hosts.limits import NO_LIMITS, Limits, Watch
from hosts.loop_thread import LoopThread
from hosts.outcomes import Result, failure_of, result_of
from hosts.targets import resolve
from hosts.timers import Timers
from runtime.api import CallScope
from runtime.errors import Kind, PerdureError

#: Threads of the pool that functions without one of their own share. They mostly wait for disks
#: and networks, hence more than cores; the lid is that of ThreadPoolExecutor.
SHARED_WORKERS: Final = min(32, (os.cpu_count() or 1) * 4 + 4)


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


class PythonFunction(NamedTuple):
    """A function that was imported, and the threads of its own, None when it shares them.

    The class of a process.python is one too.
    """

    function: Callable[..., Any]
    workers: int | None


class PythonFunctions:
    """The `function.python` entries of a node.

    Args:
        folder: the application's folder; it is put at the end of the import path.
        timers: where time-outs wait.
        workers: threads of the shared pool.
    """

    def __init__(self, folder: Path, timers: Timers, workers: int = SHARED_WORKERS) -> None:
        self.folder = folder.resolve()
        self._timers = timers
        self._shared = DaemonPool(workers)
        self._loop = LoopThread()
        self._functions: dict[str, tuple[PythonFunction, DaemonPool]] = {}
        self._calls: set[FunctionCall] = set()
        self._added_path = str(self.folder) not in sys.path
        if self._added_path:
            sys.path.append(str(self.folder))
        self._modules_before = frozenset(sys.modules)
        importlib.invalidate_caches()

    def prepare(
        self, entry_id: str, target: str, pool: Mapping[str, Any] | None = None
    ) -> PythonFunction:
        """Import a function, for `install`. A module whose file has changed is imported afresh.

        `pool` is ``{type: thread, workers: N}`` for threads of its own, or None to share.
        Raises PerdureError INVALID: see `hosts.targets.resolve`; also for a pool that is wrong.
        """
        workers = _pool_workers(entry_id, pool or {})
        function = resolve(entry_id, target, self.folder)
        if workers is not None and inspect.iscoroutinefunction(function):
            text = f"{entry_id}: async functions share one event loop: leave out pool workers"
            raise PerdureError(Kind.INVALID, text)
        return PythonFunction(function, workers)

    def install(self, functions: Mapping[str, PythonFunction]) -> None:
        """Make these functions callable by their ids, and no others; calls under way go on."""
        old, new = self._functions, {}
        for entry_id, prepared in functions.items():
            had = old.get(entry_id)
            if had is not None and had[0].workers == prepared.workers:
                pool = had[1]
            else:
                workers = prepared.workers
                pool = self._shared if workers is None else DaemonPool(workers)
            new[entry_id] = (prepared, pool)
        self._functions = new
        kept = {id(pool) for _, pool in new.values()}
        for _, pool in old.values():
            if pool is not self._shared and id(pool) not in kept:
                pool.retire()

    def target(self, entry_id: str) -> Any:
        """What an entry names; of a process.python its class."""
        return self._functions[entry_id][0].function

    def submit(
        self,
        entry_id: str,
        args: Sequence[Any],
        context: Mapping[str, Any],
        on_done: Callable[[Result], None],
        limits: Limits = NO_LIMITS,
        on_heartbeat: Callable[[Any], None] | None = None,
    ) -> FunctionCall:
        """Call a function with plain values.

        Args:
            context: what `ctx` shows it.
            on_done: called once, from some thread; not at all when `close` comes first.
            limits: the call ends with TIMEOUT when it exceeds one.
            on_heartbeat: called on the function's thread with the details of each heartbeat.

        A raise is a failure: a PerdureError is itself, anything else, SystemExit too, is INTERNAL
        "Type: text"; `trace` has the traceback without frames of ours. A tuple of two is
        (value, error): the call fails when its second item is truthy. To return a pair as a
        value, return a list.

        Raises PerdureError NOT_FOUND when no such function was added.
        """
        found = self._functions.get(entry_id)
        if found is None:
            raise PerdureError(Kind.NOT_FOUND, f"there is no Python function {entry_id}")
        (function, _), pool = found

        def on_end(call: FunctionCall, result: Result | None) -> None:
            self._calls.discard(call)
            if call.watch is not None:
                call.watch.stop()
            if result is not None:
                on_done(result)

        def beaten(details: Any) -> None:
            if call.watch is not None:
                call.watch.beat()
            if on_heartbeat is not None:
                on_heartbeat(details)

        call = FunctionCall(entry_id, CallScope(context, beaten), on_end)
        self._calls.add(call)
        if limits != NO_LIMITS:
            call.watch = Watch(
                limits,
                self._timers,
                entry_id,
                lambda error: call.give_up(error, Result(error=error)),
            )
        if inspect.iscoroutinefunction(function):
            self._run_async(call, partial(function, *args))
        else:
            pool.submit(partial(self._run, call, partial(function, *args)))
        return call

    def close(self) -> None:
        """Give up every call without a result, as a crash would, and forget the modules.

        Modules of the application's folder are dropped, so that another application in this
        process may have modules of the same names.
        """
        closed = PerdureError(Kind.CANCELED, "the node was stopped")
        for call in list(self._calls):
            call.give_up(closed, None)
        for _, pool in self._functions.values():
            pool.close()
        self._shared.close()
        self._loop.close()
        if self._added_path and str(self.folder) in sys.path:
            sys.path.remove(str(self.folder))
        for name in sys.modules.keys() - self._modules_before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and self.folder in Path(file).parents:
                del sys.modules[name]

    def _run(self, call: FunctionCall, function: Callable[[], Any]) -> None:
        if not call.begin():
            return
        # An empty context for each call: what one sets is not seen by the next on its thread.
        contextvars.Context().run(self._invoke, call, function)

    def _invoke(self, call: FunctionCall, function: Callable[[], Any]) -> None:
        call.scope.enter()
        try:
            value = function()
        except BaseException as error:
            call.finish(Result(error=failure_of(error)))
            return
        if inspect.isawaitable(value):
            awaitable: Awaitable[Any] = value
            self._run_async(call, lambda: awaitable)
        else:
            call.finish(result_of(value))

    def _run_async(self, call: FunctionCall, function: Callable[[], Awaitable[Any]]) -> None:
        call.runs_as(self._loop.run(_await(call, function), contextvars.Context()))


async def _await(call: FunctionCall, function: Callable[[], Awaitable[Any]]) -> None:
    call.begin()
    call.scope.enter()
    try:
        value = await function()
    except asyncio.CancelledError as error:
        call.finish(Result(error=call.scope.given_up or failure_of(error)))
    except BaseException as error:
        call.finish(Result(error=failure_of(error)))
    else:
        call.finish(result_of(value))


def _pool_workers(entry_id: str, pool: Mapping[str, Any]) -> int | None:
    """Threads that a function wants of its own, or None when it shares."""
    kind = pool.get("type", "thread")
    if kind == "process":
        raise PerdureError(
            Kind.INVALID, f"{entry_id}: pool type process is not supported yet: use thread"
        )
    if kind != "thread":
        raise PerdureError(
            Kind.INVALID,
            f'{entry_id}: pool type "{kind}" is none of a Python function\'s: use thread',
        )
    workers = pool.get("workers")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise PerdureError(
            Kind.INVALID, f"{entry_id}: pool workers is {workers!r}: give a whole number from 1"
        )
    return workers
