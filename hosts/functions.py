"""Runs the Python functions of an application.

A plain function runs on a daemon thread of a pool, an async one on the event loop that all share
(and that one which blocks instead of awaiting holds up for all). With a pool of type process both
run in child processes (`hosts.children`), which end with a call that is given up.
In this process nothing can be killed: a call that has timed out or was cancelled has its result at
once, and what still runs of it learns so from `heartbeat`, or, if it is async, by cancellation. A
plain function that does neither keeps its thread until it comes back.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from hosts.children import WORKERS, ChildPool
from hosts.daemon_pool import DaemonPool
from hosts.function_call import FunctionCall
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


class PythonFunction(NamedTuple):
    """A function that was imported. The class of a process.python is one too.

    Attributes:
        workers: threads or processes of its own; None when it shares the threads of all.
        in_process: the target that its own processes import; "" when it runs in threads.
    """

    function: Callable[..., Any]
    workers: int | None = None
    in_process: str = ""


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
        self._functions: dict[str, tuple[PythonFunction, DaemonPool | ChildPool]] = {}
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

        `pool` is ``{type: thread, workers: N}`` for threads of its own, ``{type: process}`` for
        processes, or None to share the threads of all.
        Raises PerdureError INVALID: see `hosts.targets.resolve`; also for a pool that is wrong.
        """
        kind, workers = _pool(entry_id, pool or {})
        function = resolve(entry_id, target, self.folder)
        if kind == "process":
            return PythonFunction(function, workers or WORKERS, target)
        if workers is not None and inspect.iscoroutinefunction(function):
            text = f"{entry_id}: async functions share one event loop: leave out pool workers"
            raise PerdureError(Kind.INVALID, text)
        return PythonFunction(function, workers)

    def install(self, functions: Mapping[str, PythonFunction]) -> None:
        """Make these functions callable by their ids, and no others; calls under way go on."""
        old, new = self._functions, {}
        for entry_id, prepared in functions.items():
            had = old.get(entry_id)
            keeps = had is not None and _same_pool(had[0], prepared)
            pool = had[1] if had is not None and keeps else self._pool(entry_id, prepared)
            new[entry_id] = (prepared, pool)
        self._functions = new
        kept = {id(pool) for _, pool in new.values()}
        for _, pool in old.values():
            if pool is not self._shared and id(pool) not in kept:
                pool.retire()

    def _pool(self, entry_id: str, function: PythonFunction) -> DaemonPool | ChildPool:
        if function.workers is None:
            return self._shared
        if function.in_process:
            return ChildPool(entry_id, function.in_process, self.folder, function.workers)
        return DaemonPool(function.workers)

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
        prepared, pool = found
        function = prepared.function

        def on_end(call: FunctionCall, result: Result | None) -> None:
            if call.watch is not None:
                call.watch.stop()
            try:
                if result is not None:
                    on_done(result)
            finally:
                self._calls.discard(call)

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
            call.watch.requested()
        if isinstance(pool, ChildPool):
            pool.submit(call, args)
        elif inspect.iscoroutinefunction(function):
            self._run_async(call, partial(function, *args))
        else:
            pool.submit(partial(self._run, call, partial(function, *args)))
        return call

    @property
    def busy(self) -> bool:
        """Whether a call is under way: begun, and its end not told."""
        return bool(self._calls)

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


def _same_pool(old: PythonFunction, new: PythonFunction) -> bool:
    """Whether calls go on in the same workers. Processes keep the code that they have imported."""
    return old is new if old.in_process or new.in_process else old.workers == new.workers


def _pool(entry_id: str, pool: Mapping[str, Any]) -> tuple[str, int | None]:
    """Kind of the workers that a function wants, and their number, None where it says none."""
    kind = pool.get("type", "thread")
    if kind not in ("thread", "process"):
        text = (
            f'{entry_id}: pool type "{kind}" is none of a Python function\'s: use thread, process'
        )
        raise PerdureError(Kind.INVALID, text)
    workers = pool.get("workers")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise PerdureError(
            Kind.INVALID, f"{entry_id}: pool workers is {workers!r}: give a whole number from 1"
        )
    return kind, workers
