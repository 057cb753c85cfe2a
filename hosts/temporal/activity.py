"""The one activity that a worker has: it runs the function that its type names."""

from __future__ import annotations

import asyncio
import math
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, Final

from temporalio import activity
from temporalio.common import RawValue
from temporalio.service import RPCError

from hosts.activity_context import activity_context
from hosts.activity_options import RetryPolicy
from hosts.limits import Limits
from hosts.points import ATTEMPT_AFTER, ATTEMPT_BEFORE
from hosts.temporal import headers as h
from hosts.temporal import requests
from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import failure
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import check_size, encoded_args, raw, value_of
from hosts.temporal.poison import ALONE, Told
from hosts.temporal.runs import Runs
from hosts.temporal.schedule import ONCE
from hosts.temporal.start import status_word
from journal import faults
from runtime.codec import decode, encode
from runtime.errors import PerdureError

#: Heartbeats in the time after which an activity counts as lost.
_BEATS: Final = 3

Function = Callable[[Sequence[RawValue]], Awaitable[RawValue]]


def activity_of(parts: Parts, connection: TemporalClient, runs: Runs) -> Function:
    """The activity of a worker."""
    node = parts.requests

    async def begin(args: Sequence[Any]) -> Any:
        bundle = parts.bundle(args[0])
        return requests.beginning(None if bundle is None else bundle.blob)

    async def ask_node(args: Sequence[Any]) -> Any:
        request, *given = args
        info = activity.info()
        pid = given[0] if given else parts.pid(info.workflow_id or "")
        with beating():
            return await node.perform(
                request, pid, info.workflow_run_id or "", int(info.activity_id)
            )

    async def attributes(args: Sequence[Any]) -> Any:
        fit, refused = await connection.fitted(args[0])
        return [dict(fit), refused]

    async def wait(args: Sequence[Any]) -> Any:
        with beating():
            return list(await runs.ended(*args))

    async def status(args: Sequence[Any]) -> Any:
        return status_word(await runs.status(args[0]))

    own: Mapping[str, Callable[[Sequence[Any]], Awaitable[Any]]] = {
        requests.BEGIN: begin,
        requests.NODE: ask_node,
        requests.ATTRIBUTES: attributes,
        requests.WAIT: wait,
        requests.STATUS: status,
    }

    @activity.defn(dynamic=True)
    async def run(args: Sequence[RawValue]) -> RawValue:
        info = activity.info()
        if info.activity_type in own:
            values = [value_of(each.payload) for each in args]
            return raw(encode(await own[info.activity_type](values)))
        try:
            given, headers = encoded_args(args), h.given(h.received())
        except PerdureError as error:
            raise failure(error, final=True) from None
        try:
            ok, value = await Attempt(parts, connection, info, headers).run(given)
            check_size(f"the result of {info.activity_type}", value)
        except PerdureError as error:
            raise failure(error, final=True) from None
        if ok:
            return raw(value)
        failed: PerdureError = decode(value)
        raise failure(failed, final=_is_final(info, failed))

    return run


class Attempt:
    """An attempt of a function.

    Args:
        headers: what it is given beside its arguments.
    """

    def __init__(
        self,
        parts: Parts,
        connection: TemporalClient,
        info: activity.Info,
        headers: Mapping[str, Any],
    ) -> None:
        self._parts = parts
        self._connection = connection
        self._info = info
        self._inherited: Mapping[str, Any] = headers.get(h.CONTEXT) or {}
        self._how: Mapping[str, Any] = headers.get(h.ACTIVITY, {})
        self._told = Told(info)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[tuple[bool, bytes]] = self._loop.create_future()
        self._cancel: Callable[[], None] = lambda: None
        #: When the function has run for a while.
        self._harmless_at = math.inf

    async def run(self, args: bytes) -> tuple[bool, bytes]:
        """Run the function; how it ended. Cancelled with its activity. Raises PerdureError for one
        that takes its node down again and again."""
        with beating(self._beat):
            try:
                if self._told.suspected:
                    async with self._connection.suspects:
                        await self._run_alone(args)
                else:
                    self._begin(args)
                ended = await asyncio.shield(self._ended)
                faults.point(ATTEMPT_AFTER)
                return ended
            except asyncio.CancelledError:
                if activity.is_worker_shutdown():
                    self._told.harmless()
                    activity.heartbeat(*self._told.all)
                self._cancel()
                if self._how.get("patient"):
                    stopping = asyncio.ensure_future(activity.wait_for_worker_shutdown())
                    either: set[asyncio.Future[Any]] = {self._ended, stopping}
                    await asyncio.wait(either, return_when=FIRST_COMPLETED)
                    stopping.cancel()
                    if self._ended.done():
                        return self._ended.result()
                raise

    async def _run_alone(self, args: bytes) -> None:
        """Begin, and come back when the function has ended, or has run for a while: no other one
        is to begin before the server knows that."""
        client = self._connection.opened()
        self._told.alone()
        await self._told.tell(client)
        self._begin(args)
        await asyncio.wait({self._ended}, timeout=ALONE)
        if not self._ended.done():
            self._told.harmless()
            with suppress(RPCError):
                await self._told.tell(client)

    def _begin(self, args: bytes) -> None:
        info, loop, own = self._info, self._loop, copy_context()

        def settle(ok: bool, value: bytes) -> None:
            if not self._ended.done():
                self._ended.set_result((ok, value))

        def done(ok: bool, value: bytes) -> None:
            with suppress(RuntimeError):  # the loop is closed: the node has stopped
                loop.call_soon_threadsafe(settle, ok, value)

        def beaten(details: Any) -> None:
            if details is not None:
                check_size("heartbeat details", encode(details))
                loop.call_soon_threadsafe(self._keep, details, context=own)

        faults.point(ATTEMPT_BEFORE)
        timeout = info.start_to_close_timeout
        limits = Limits(
            running=None if timeout is None else int(timeout.total_seconds() * 1e9),
            heartbeat=self._how.get("heartbeat"),
        )
        self._harmless_at = loop.time() + ALONE
        self._cancel = self._parts.calls.attempt(
            info.activity_type,
            args,
            self._context(),
            done,
            limits,
            beaten,
            patient=bool(self._how.get("patient")),
        )

    def _keep(self, details: Any) -> None:
        self._told.details = details
        activity.heartbeat(*self._beat())

    def _beat(self) -> tuple[Any, ...]:
        if self._loop.time() > self._harmless_at:
            self._told.harmless()
        return self._told.all

    def _context(self) -> bytes:
        info = self._info
        return activity_context(
            encode(self._inherited) if self._inherited else None,
            f"{info.workflow_run_id}/{self._how.get('seq', info.activity_id)}",
            info.attempt,
            None if self._told.details is None else encode(self._told.details),
            self._how.get("id"),
        )


@contextmanager
def beating(details: Callable[[], tuple[Any, ...]] = tuple) -> Iterator[None]:
    """Give signs of life meanwhile, where the activity has to."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    loop, interval = asyncio.get_running_loop(), timeout.total_seconds() / _BEATS
    timer: asyncio.TimerHandle

    def beat() -> None:
        nonlocal timer
        activity.heartbeat(*details())
        timer = loop.call_later(interval, beat)

    timer = loop.call_later(interval, beat)
    try:
        yield
    finally:
        timer.cancel()


def _is_final(info: activity.Info, error: PerdureError) -> bool:
    """Whether the policy says that an error is not tried again."""
    policy = info.retry_policy
    types = tuple(policy.non_retryable_error_types or ()) if policy is not None else ()
    return ONCE in types or RetryPolicy(non_retryable_error_types=types).delay(1, error) is None
