"""What all functions of an order have in common."""

from __future__ import annotations

from runtime.api import Kind, PerdureError, ctx


def activity_key() -> str:
    """The key of the activity that runs: the same on every attempt, also after a crash.

    Who writes it down with what he did can tell that he is asked again. Raises PerdureError
    INVALID outside of a workflow.
    """
    key = ctx.get("activity.key")
    if key is None:
        raise PerdureError(Kind.INVALID, "there is no activity.key: call this from a workflow")
    return str(key)


def turn_down(outcome: str, reason: str) -> PerdureError:
    """The error of a function that turns an order down for good, with what becomes of it."""
    return PerdureError(Kind.CONFLICT, reason, retryable=False, details={"outcome": outcome})
