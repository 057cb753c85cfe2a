"""A VM worker: a thread with one Lua VM, as a Pykka actor.

It drains its whole inbox per turn, so that one crossing into Lua serves everything that came in
while the last turn ran. What a turn does with the items is the host's: `turn` is all that differs
between the workers of the process host and those of the workflow host.
"""

from __future__ import annotations

from collections.abc import Callable

from hosts.draining_actor import DrainingActor
from runtime.inputs import Input

#: An input for the machine, or something to do on the worker's thread.
Item = Input | Callable[[], None]


class VmWorker(DrainingActor[Item]):
    """The loop of a worker; `post` is its way in, from any thread."""
