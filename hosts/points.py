"""Fault points (see journal.faults) that hosts of workflows have in common."""

from __future__ import annotations

from typing import Final

from journal import faults

#: A run takes a step: nothing of that is written yet.
STEP_BEFORE: Final = faults.declare("host.step.before")
STEP_AFTER: Final = faults.declare("host.step.after")
#: An attempt is made of a function: that it is, is written, its result is not yet.
ATTEMPT_BEFORE: Final = faults.declare("host.attempt.before")
ATTEMPT_AFTER: Final = faults.declare("host.attempt.after")
#: A node has done what a run on a Temporal server asked it for: the run is still to hear of it.
REQUEST_AFTER: Final = faults.declare("host.request.after")
