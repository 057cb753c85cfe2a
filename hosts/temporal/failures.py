"""Errors of ours as failures of Temporal, and back.

An error goes out as an ApplicationError: `type` is its kind, the first detail its details, the
second what else it has, under the key that marks it as ours. The end of a run that was cancelled
has nothing but details, so one of kind CANCELED has its message there, too. Foreign failures become
errors by what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    ServerError,
    TerminatedError,
    TimeoutType,
    WorkflowAlreadyStartedError,
)
from temporalio.exceptions import TimeoutError as ServerTimeout
from temporalio.service import RPCError, RPCStatusCode

from runtime.errors import Kind, PerdureError

_OURS: Final = "perdure"
_KINDS: Final = frozenset(
    value for name, value in vars(Kind).items() if name.isupper() and value
)  # fmt: skip
#: `type` of an error without a kind.
_UNKNOWN: Final = "Unknown"

_TIMEOUTS: Final = {
    TimeoutType.START_TO_CLOSE: "start_to_close_timeout",
    TimeoutType.SCHEDULE_TO_START: "schedule_to_start_timeout",
    TimeoutType.SCHEDULE_TO_CLOSE: "schedule_to_close_timeout",
    TimeoutType.HEARTBEAT: "heartbeat_timeout",
}
_AWAY: Final = (Kind.UNAVAILABLE, True)
#: What the SDK says of a request that it gives up.
_EXPIRED: Final = "Timeout expired"
#: A connection that cannot be had, or that breaks under a request.
_UNREACHED: Final = frozenset(
    {RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN, RPCStatusCode.CANCELLED}
)
_STATUSES: Final = {
    RPCStatusCode.NOT_FOUND: (Kind.NOT_FOUND, None),
    RPCStatusCode.ALREADY_EXISTS: (Kind.ALREADY_EXISTS, None),
    RPCStatusCode.INVALID_ARGUMENT: (Kind.INVALID, False),
    RPCStatusCode.PERMISSION_DENIED: (Kind.PERMISSION_DENIED, False),
    RPCStatusCode.UNAUTHENTICATED: (Kind.PERMISSION_DENIED, False),
    RPCStatusCode.RESOURCE_EXHAUSTED: (Kind.RATE_LIMITED, True),
    RPCStatusCode.DEADLINE_EXCEEDED: (Kind.TIMEOUT, True),
}


def failure(error: PerdureError, *, final: bool = False, left: bytes = b"") -> ApplicationError:
    """An error on its way out.

    Args:
        final: it is not to be tried again, whatever the policy says.
        left: a third detail, which is no part of the error: what its run leaves to the next.
    """
    rest = {
        "message": error.message if error.kind == Kind.CANCELED else "",
        "retryable": error.retryable,
        "context": error.context,
        "trace": error.trace,
    }
    return ApplicationError(
        error.message,
        error.details,
        {_OURS: {name: value for name, value in rest.items() if value not in (None, "")}},
        *([left] if left else ()),
        type=error.kind or _UNKNOWN,
        non_retryable=final or error.retryable is False,
        # Whoever called hears of it, so the SDK need not log it as well.
        category=ApplicationErrorCategory.BENIGN,
    )


def is_late(failed: RPCError) -> bool:
    """Whether the server did not answer in time. What the SDK itself gives up is CANCELLED."""
    return failed.status == RPCStatusCode.DEADLINE_EXCEEDED or failed.message == _EXPIRED


def is_unreached(failed: RPCError) -> bool:
    """Whether it is the way to the server that failed, not the server."""
    return failed.status in _UNREACHED and not is_late(failed)


def is_gone(failed: RPCError) -> bool:
    """Whether the server says that there is no such workflow; that it has no such namespace is
    another matter."""
    return failed.status == RPCStatusCode.NOT_FOUND and not _lacks_namespace(failed)


def _lacks_namespace(failed: RPCError) -> bool:
    details = failed.grpc_status.details
    return any(each.Is(NamespaceNotFoundFailure.DESCRIPTOR) for each in details)


def is_lost(failed: BaseException | None) -> bool:
    """Whether an activity has failed because its worker gave no sign of life any more."""
    cause = None if failed is None else failed.__cause__
    return isinstance(cause, ServerTimeout) and cause.type == TimeoutType.HEARTBEAT


def error_of(failed: BaseException) -> PerdureError:
    """What a failure says, as an error of ours."""
    if isinstance(failed, PerdureError):
        return failed
    if isinstance(failed, (ActivityError, ChildWorkflowError, WorkflowFailureError)):
        cause = failed.__cause__
        if isinstance(cause, ServerTimeout) and not isinstance(failed, ActivityError):
            # The server says of no run whether that was its own limit, or that of all.
            text = "the workflow did not end within its run_timeout or execution_timeout"
            return PerdureError(Kind.TIMEOUT, text)
        return PerdureError(Kind.INTERNAL, str(failed)) if cause is None else error_of(cause)
    if isinstance(failed, ApplicationError):
        return _of_application(failed)
    if isinstance(failed, ServerTimeout):
        limit = _TIMEOUTS.get(failed.type) if failed.type is not None else None
        text = f"it did not end within its {limit}" if limit else failed.message
        return PerdureError(Kind.TIMEOUT, text)
    if isinstance(failed, CancelledError):
        return error_of_details(failed.details)
    if isinstance(failed, TerminatedError):
        return PerdureError(
            Kind.CANCELED, "process terminated", details={"reason": failed.message or ""}
        )
    if isinstance(failed, WorkflowAlreadyStartedError):
        text = f"workflow {failed.workflow_id} is running, or has run before"
        return PerdureError(Kind.ALREADY_EXISTS, text)
    if isinstance(failed, RPCError):
        kind, retryable = _STATUSES.get(failed.status, _AWAY)
        if _lacks_namespace(failed):
            kind, retryable = _AWAY
        return PerdureError(kind, f"the Temporal server: {failed.message}", retryable)
    if isinstance(failed, ServerError):
        return PerdureError(Kind.INTERNAL, f"the Temporal server: {failed.message}")
    return PerdureError(Kind.INTERNAL, f"{type(failed).__name__}: {failed}")


def error_of_details(details: Sequence[Any]) -> PerdureError:
    """The error of what was cancelled, by its details."""
    ours = _ours(details)
    if ours is None:
        return PerdureError(Kind.CANCELED, "canceled")
    return _made(Kind.CANCELED, ours.get("message", "canceled"), details[0], ours)


def _ours(details: Sequence[Any]) -> dict[str, Any] | None:
    """What marks details as ours; None where they are foreign."""
    rest: Any = details[1] if len(details) in (2, 3) else None
    return (rest[_OURS] or {}) if isinstance(rest, dict) and _OURS in rest else None


def _made(kind: str, message: str, details: Any, ours: Mapping[str, Any]) -> PerdureError:
    context, trace = ours.get("context", ""), ours.get("trace", "")
    return PerdureError(kind, message, ours.get("retryable"), details, context=context, trace=trace)


def _of_application(failed: ApplicationError) -> PerdureError:
    details, kind = list(failed.details), failed.type or ""
    ours = _ours(details)
    if ours is not None:
        return _made("" if kind == _UNKNOWN else kind, failed.message, details[0], ours)
    return PerdureError(
        kind if kind in _KINDS else Kind.INTERNAL,
        failed.message if kind in _KINDS or not kind else f"{kind}: {failed.message}",
        False if failed.non_retryable else None,
        details[0] if len(details) == 1 else details or None,
    )
