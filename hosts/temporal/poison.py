"""Functions that take their node down: where they have one attempt, the server makes one that was
lost with its worker again without limit.

It keeps what heartbeats told of the attempts before. The first detail is the function's; the second
is ours: the last attempt that has run for a while without doing harm, or was stopped in order, and
how often the activity has run alone since then. What is lost in its first seconds twice in a row is
suspected: those run one at a time on a node, each watched for a while, which is counted before the
function begins. Lost so three times, it is failed. What is not suspected is not held up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, Client

from hosts.poison import ALONE_NS, POISON_BOOTS, poisoned
from hosts.temporal.schedule import ONCE

#: Attempts lost in their first seconds, one behind the other, of which nobody is suspected: a node
#: may die, with all that it runs, for other reasons.
_LOST: Final = 1
#: Seconds that one is watched alone at most.
ALONE: Final = ALONE_NS / 1e9
_HARMLESS: Final = "harmless"
_ALONE: Final = "alone"


class Told:
    """What the heartbeats of an activity have told, and tell.

    Attributes:
        details: the function's; None without any.
    """

    def __init__(self, info: activity.Info) -> None:
        self._info = info
        details, own, *_ = (*info.heartbeat_details, None, None)
        self.details: Any = details
        ours: dict[str, Any] = own if isinstance(own, dict) else {}
        self._harmless, self._alone = (int(ours.get(name) or 0) for name in (_HARMLESS, _ALONE))

    @property
    def all(self) -> tuple[Any, ...]:
        """The details of a heartbeat."""
        ours = {_HARMLESS: self._harmless, _ALONE: self._alone}
        if any(ours.values()):
            return self.details, ours
        return () if self.details is None else (self.details,)

    @property
    def suspected(self) -> bool:
        """Whether the function may have taken its node down."""
        if self._info.attempt - 1 - self._harmless <= _LOST:
            return False
        # With another policy the attempts before may have failed, and it has a limit of its own.
        policy = self._info.retry_policy
        return policy is not None and ONCE in (policy.non_retryable_error_types or ())

    def harmless(self) -> None:
        """This attempt has run for a while, or is stopped in order."""
        self._harmless, self._alone = self._info.attempt, 0

    def alone(self) -> None:
        """The function is about to run alone. Raises PerdureError INTERNAL when it has taken its
        node down too often."""
        if self._alone >= POISON_BOOTS:
            raise poisoned(self._info.activity_type, self._alone)
        self._alone += 1

    async def tell(self, client: Client) -> None:
        """A heartbeat that the server has when this is back."""
        handle = client.get_async_activity_handle(task_token=self._info.task_token)
        with suppress(AsyncActivityCancelledError):  # an ordinary one brings that
            await handle.heartbeat(*self.all)
