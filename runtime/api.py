"""What the Python functions of an application import.

    from runtime.api import PerdureError, ctx, heartbeat

They work in a plain function, in an async one, and in what these await or hand to
`asyncio.to_thread`; in a thread that a function starts by itself, and outside of a call, the
context is empty and a heartbeat does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import Kind, PerdureError

__all__ = ["Kind", "PerdureError", "ctx", "heartbeat"]


@dataclass(slots=True, eq=False)
class CallScope:
    """What the code of one running call can reach; whoever runs the call enters it."""

    context: Mapping[str, Any] = field(default_factory=dict)
    on_heartbeat: Callable[[Any], None] | None = None
    #: Why nobody waits for the call any more; set from outside while it runs.
    given_up: PerdureError | None = None

    def enter(self) -> None:
        """Make this the scope of the current thread's, or task's, `contextvars` context."""
        _scope.set(self)


_scope: ContextVar[CallScope] = ContextVar("perdure_call")


class _Context:
    """The context of the current call: what its caller set and inherited. Read only."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default` when there is none."""
        scope = _scope.get(None)
        return default if scope is None else scope.context.get(key, default)

    def all(self) -> dict[str, Any]:
        """A copy of the whole context."""
        scope = _scope.get(None)
        return {} if scope is None else dict(scope.context)


ctx = _Context()


def heartbeat(details: Any = None) -> None:
    """Say that a long call is still at work, and learn whether anybody still waits for it.

    Args:
        details: plain data on how far it has come, or None.

    Raises PerdureError CANCELED once the call was cancelled or has timed out: clean up and let
    it pass. Code that never calls this runs to its end, and its result is dropped.
    """
    scope = _scope.get(None)
    if scope is None:
        return
    if scope.given_up is not None:
        raise PerdureError(Kind.CANCELED, f"nobody waits for this call: {scope.given_up}")
    if scope.on_heartbeat is not None:
        scope.on_heartbeat(details)
