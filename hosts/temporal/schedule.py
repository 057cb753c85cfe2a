"""Function calls of runs as activities of Temporal."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.common import RetryPolicy as ServerPolicy
from temporalio.workflow import ActivityCancellationType

from hosts.activity_options import ActivityOptions, RetryPolicy, activity_options
from hosts.temporal import headers as h
from hosts.temporal.failures import error_of
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import check_names, check_size, check_together, encoded, raw_args
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

#: Among the error types of a policy: a failure of the function is the last word, and only an
#: attempt that was lost with its worker is made again.
ONCE: Final = "*"
#: What the server calls a time-out of the function itself, as opposed to a loss of its worker.
_TOO_LONG: Final = "TemporalTimeout:StartToClose"
#: The server takes no shorter times.
_SHORTEST: Final = 1_000_000


def span(ns: int | None) -> timedelta | None:
    """Nanoseconds as Temporal takes them; None for None."""
    return None if ns is None else timedelta(microseconds=max(ns, _SHORTEST) / 1000)


def server_policy(policy: RetryPolicy, *, ours: bool = True) -> ServerPolicy:
    """A policy as the server follows it. An attempt lost with its worker counts as one there,
    but where there is only one: then it is no attempt, if it is made by a worker of ours, which
    knows what `ONCE` means."""
    initial = span(policy.initial_interval)
    longest = span(max(policy.maximum_interval, policy.initial_interval))
    assert initial is not None
    if ours and policy.maximum_attempts == 1:
        return ServerPolicy(
            initial_interval=initial,
            maximum_interval=longest,
            non_retryable_error_types=[ONCE, _TOO_LONG],
        )
    return ServerPolicy(
        initial_interval=initial,
        backoff_coefficient=policy.backoff_coefficient,
        maximum_interval=longest,
        maximum_attempts=policy.maximum_attempts,
        non_retryable_error_types=list(policy.non_retryable_error_types) or None,
    )


def options_of(parts: Parts, command: c.Call) -> ActivityOptions:
    """The options of a call. Raises PerdureError INVALID."""
    given: Any = None if command.options is None else decode(command.options)
    return activity_options(
        given if isinstance(given, dict) else {},
        parts.deployed.retry_of(command.target),
        parts.retry_policy,
    )


def start_activity(
    parts: Parts, command: c.Call, options: ActivityOptions
) -> workflow.ActivityHandle[RawValue]:
    """Schedule a call. Raises PerdureError INVALID for what the server would not take."""
    check_names(function=command.target, activity_id=options.id, task_queue=options.task_queue)
    check_size(f"the arguments of {command.target}", command.args)
    check_size(f"the context of {command.target}", command.context)
    args = raw_args(command.args)
    how = {
        name: value
        for name, value in (
            ("heartbeat", options.heartbeat),
            ("patient", options.wait_for_cancellation),
            ("id", options.id),
            ("seq", options.id and command.seq),
        )
        if value
    }
    headers = h.headers_of(
        {
            h.CONTEXT: None if command.context is None else decode(command.context),
            h.ACTIVITY: how or None,
        }
    )
    check_together(f"the arguments of {command.target}", args, headers)
    # What is not deployed here, on a queue of its own, runs elsewhere than on a node, as a rule.
    ours = options.task_queue is None or command.target in parts.deployed.registry
    heartbeat = parts.heartbeat if ours and options.heartbeat is None else options.heartbeat
    waits = options.wait_for_cancellation
    with h.sending(headers):
        handle: workflow.ActivityHandle[RawValue] = workflow.start_activity(
            command.target,
            args=args,
            activity_id=options.id or str(command.seq),
            task_queue=None if options.task_queue is None else parts.prefix + options.task_queue,
            result_type=RawValue,
            schedule_to_close_timeout=span(options.schedule_to_close),
            schedule_to_start_timeout=span(options.schedule_to_start),
            start_to_close_timeout=span(options.start_to_close),
            heartbeat_timeout=span(heartbeat),
            retry_policy=server_policy(options.retry, ours=ours),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
            if waits
            else ActivityCancellationType.TRY_CANCEL,
        )
    return handle


def outcome_of(task: asyncio.Task[RawValue]) -> tuple[bool, bytes]:
    """How a task of Temporal has ended: whether well, and its encoded value or error."""
    if task.cancelled():
        return False, encode(PerdureError(Kind.CANCELED, "canceled"))
    failed = task.exception()
    if failed is not None:
        return False, encode(error_of(failed))
    try:
        return True, encoded(task.result())
    except PerdureError as error:
        return False, encode(error)
