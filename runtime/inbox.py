"""How many messages may wait for one process, and what becomes of those that are too many.

Only messages count: events (cancel, exits, broken links) and answers always get through. A message
that somebody waits for does not wait, so it is never too many.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from runtime.errors import Kind, PerdureError

Policy = Literal["reject", "drop_oldest", "drop_newest"]
POLICIES: Final[tuple[Policy, ...]] = ("reject", "drop_oldest", "drop_newest")


class InboxLimit(NamedTuple):
    """`limits.inbox` of a process.host.

    Attributes:
        size: messages that may wait in the inbox of a process, and as many at each of its topic
            listeners; 0 for no limit.
        policy: what a message to a full inbox does: `reject` answers its sender RATE_LIMITED,
            `drop_oldest` takes the place of the one that waited longest, `drop_newest` vanishes.
    """

    size: int = 0
    policy: Policy = "reject"


NO_LIMIT: Final = InboxLimit()


def inbox_full(pid: str, size: int) -> PerdureError:
    """What the sender of a rejected message is told."""
    text = f"the inbox of {pid} is full: {size} messages wait (limits.inbox.size of its host)"
    return PerdureError(Kind.RATE_LIMITED, text, True)
