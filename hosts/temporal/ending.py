"""How a run ends: with a result, with a failure, or by going on as new."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from hosts import effects
from hosts.temporal import headers as h
from hosts.temporal import start
from hosts.temporal.core import StepFailed
from hosts.temporal.failures import failure
from hosts.temporal.payloads import LIMIT, check_together, payload_of, raw, raw_args
from hosts.temporal.unread import METADATA, Unread
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

Messages = Sequence[Sequence[Any]]

logger = logging.getLogger(__name__)

#: How many keys of messages a run that goes on as new takes along.
_KEYS: Final = 1_000
#: Marks that a run has waited for room in a request.
_ROOM: Final = "perdure.room"
#: Seconds: what was asked for has gone to the server by then.
_SHORTLY: Final = 0.001


async def outcome(run: Execution, end: c.Ended | c.Upgrade) -> RawValue:
    """The result of a run. Raises the failure that it ended with, or what makes it go on as new."""
    if isinstance(end, c.Upgrade):
        try:
            _go_on(run, end)
        except PerdureError as error:
            raise await _failure(run, error, end.messages, final=True) from None
    if end.ok:
        return await _result(run, end)
    reason: PerdureError = decode(end.value)
    if run.parts.deployed.option(run.info.workflow_type, "on_error") == "suspend":
        # The server tries the task again and again: code that does better gets the same inputs.
        raise StepFailed(effects.explain(reason))
    if not workflow.unsafe.is_replaying():
        run.parts.log_failure(c.Ended(run.pid, False, end.value, run.info.workflow_type))
    raise await _failure(run, reason, end.messages)


def _go_on(run: Execution, command: c.Upgrade) -> NoReturn:
    """The run goes on as new, with what it has not read. Raises PerdureError INVALID when that is
    too large."""
    seed = hmac.digest(run.seed, b"next", "sha256")
    context = run.given.get(h.CONTEXT)
    headers = start.start_headers(
        run.parts,
        command.entry,
        None if context is None else encode(context),
        run.given.get(h.PARENT, ""),
        command.messages,
        seed,
        host=run.given.get(h.HOST),
    )
    late = Unread.of(run.info.run_id, (), run.late, [])
    headers |= h.headers_of(
        {
            h.CHILDREN: run.children.open or None,
            h.KEYS: run.keys[-_KEYS:] or None,
            h.UNREAD: late.written() or None,
        }
    )
    args = raw_args(command.args)
    check_together(f"what goes on with {command.entry}", args, headers)
    with h.sending(headers):
        workflow.continue_as_new(workflow=command.entry, args=args)


async def _result(run: Execution, end: c.Ended) -> RawValue:
    """What a run returns. In the metadata of its payload is what the next of a schedule gets."""
    result = raw(end.value)
    if run.info.cron_schedule:
        left = await _left(run, end.messages, len(result.payload.data))
        if left:
            result.payload.metadata[METADATA] = left
    return result


async def _failure(
    run: Execution, error: PerdureError, messages: Messages, *, final: bool = False
) -> ApplicationError:
    """What a run fails with. Among its details is what the run behind it gets, if any."""
    failed = failure(error, final=final)
    if not _is_followed(run.info, failed):
        return failed
    own = sum(len(payload_of(each).data) for each in (failed.message, *failed.details))
    return failure(error, final=final, left=await _left(run, messages, own))


def _is_followed(info: workflow.Info, failed: ApplicationError) -> bool:
    """Whether the server begins another run behind one that has failed so."""
    policy = info.retry_policy
    if failed.type == Kind.CANCELED:
        return False
    if info.cron_schedule:
        return True
    return (
        policy is not None
        and not failed.non_retryable
        and failed.type not in (policy.non_retryable_error_types or ())
        and not 0 < policy.maximum_attempts <= info.attempt
    )


async def _left(run: Execution, messages: Messages, own: int) -> bytes:
    """What the run has not read, written; b"" for nothing.

    Args:
        own: bytes of the result or failure that it goes with.
    """
    while True:
        found = Unread.of(run.info.run_id, messages, run.late, run.keys[-_KEYS:])
        left = found.within(LIMIT - own)
        written = left.written()
        # A history of before it was known that a request may be full has no mark.
        if run.pace.has_room(len(written)) or not workflow.patched(_ROOM):
            break
        await run.sleep(_SHORTLY)
    if left != found and not workflow.unsafe.is_replaying():
        logger.warning(
            "%s: its run %s had not read %d messages and events; the next run gets the first %d of "
            "them, and %d of %d keys: the end of a run takes no more than %d bytes along",
            run.pid, run.info.run_id, len(found.items), len(left.items),
            len(left.keys), len(found.keys), LIMIT,
        )  # fmt: skip
    return written
