"""The life of a service as a table.

A pair that is not in `TRANSITIONS` is an illegal transition. The diagram in the docs is
`mermaid()`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    UNKNOWN = "unknown"
    """Not started yet."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    """It was asked to stop, and did."""
    FAILED = "failed"
    """It will be tried again."""
    EXITED = "exited"
    """It stays down until somebody starts it: it returned, its error is not retryable, its
    attempts are used up, or it did not stop in time and was given up."""


#: States in which a service may be at work, so that what it requires has to stay.
ACTIVE: Final = frozenset({State.STARTING, State.RUNNING, State.STOPPING})


class Trigger(StrEnum):
    START = "start"
    STARTED = "started"
    STOP = "stop"
    """Asked to, or because it did not start in time."""
    STOPPED = "stopped"
    FAIL = "fail"
    """It failed, and the policy grants another attempt."""
    EXIT = "exit"
    """It ended, and the policy grants no other attempt."""
    ABANDON = "abandon"
    """It did not stop in time."""


TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (State.UNKNOWN, Trigger.START): State.STARTING,
    (State.STARTING, Trigger.STARTED): State.RUNNING,
    (State.STARTING, Trigger.FAIL): State.FAILED,
    (State.STARTING, Trigger.EXIT): State.EXITED,
    (State.STARTING, Trigger.STOP): State.STOPPING,
    (State.RUNNING, Trigger.FAIL): State.FAILED,
    (State.RUNNING, Trigger.EXIT): State.EXITED,
    (State.RUNNING, Trigger.STOP): State.STOPPING,
    (State.STOPPING, Trigger.STOPPED): State.STOPPED,
    (State.STOPPING, Trigger.FAIL): State.FAILED,
    (State.STOPPING, Trigger.EXIT): State.EXITED,
    (State.STOPPING, Trigger.ABANDON): State.EXITED,
    (State.STOPPED, Trigger.START): State.STARTING,
    (State.FAILED, Trigger.START): State.STARTING,
    (State.FAILED, Trigger.STOP): State.STOPPED,
    (State.EXITED, Trigger.START): State.STARTING,
}


class IllegalTransition(Exception):
    """A trigger met a state that knows nothing of it: a fault of the supervisor, not of a user."""

    def __init__(self, state: State, trigger: Trigger) -> None:
        super().__init__(f'a service that is {state} has no transition for "{trigger}"')


def next_state(state: State, trigger: Trigger) -> State:
    """The state that `trigger` leads to; raises IllegalTransition when the table has none."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(state, trigger) from None


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    arrows = [f"    {old} --> {new}: {trigger}" for (old, trigger), new in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.UNKNOWN}", *arrows]) + "\n"
