"""The time that it takes to bring a run into memory, by a replay of its history.

The server gives the step that follows to another worker when the run's task timeout is over, which
has to replay, too: a run whose replay takes longer than that comes to a stop.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from temporalio import workflow

logger = logging.getLogger(__name__)

#: Part of the task timeout above which a replay is worth a warning.
MUCH: Final = 0.5


class Rebuilding:
    """Of one run; begins when it is made."""

    def __init__(self, info: workflow.Info) -> None:
        self._info = info
        self._began: float | None = time.monotonic()

    def done(self) -> None:
        """The replay, if any, is over; called at every step after it, too."""
        if self._began is None:
            return
        taken, self._began = time.monotonic() - self._began, None
        info, limit = self._info, self._info.task_timeout.total_seconds()
        if taken > limit * MUCH:
            logger.warning(
                "%s %s: the replay of %d events took %.1f s of its task timeout of %g s; a run "
                "comes to a stop above that: start it with a longer workflow.task_timeout, or let "
                "it go on as new (process.upgrade) earlier",
                info.workflow_type, info.workflow_id, info.get_current_history_length(),
                taken, limit,
            )  # fmt: skip
