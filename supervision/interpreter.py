"""What a node asks of the interpreter that it runs in; a setting that is better already stays."""

from __future__ import annotations

import gc
import sys
from typing import Final

#: Seconds after which a thread that computes lets another one run. With one that computes in
#: Python, the 99th percentile of a crossing into a VM is 0.4 ms so; it is 5 ms by default.
SWITCH_INTERVAL: Final = 0.0002

#: Objects that are made before the collector looks for cycles among them. What a step makes lives
#: until its commit and has none: at the default of 700 the collector took 3 % of a round trip's
#: time to find nothing.
YOUNG: Final = 10_000


def tune() -> None:
    """Set both; for the whole process."""
    if sys.getswitchinterval() > SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)
    young, *older = gc.get_threshold()
    if 0 < young < YOUNG:
        gc.set_threshold(YOUNG, *older)
