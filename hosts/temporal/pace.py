"""How much a run asks of the server at once.

What a run does between two answers of the server goes there in one request, which takes no more
than 4 MiB: of a run that sends more the server makes an end. And of activities, children and
signals to other runs, 2000 each may be under way, or no request of the run is taken any more. What
is above that waits. How much it is follows from the commands alone, so that a replay waits at the
same places.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from temporalio import workflow

from hosts.temporal.payloads import LIMIT, ROOM, bound
from runtime import commands as c

#: Bytes around the payloads of a command: names, options, headers.
_AROUND: Final = 1_000
#: A start takes the source along, compressed. How long that is may change with the next deploy.
_SOURCE: Final = 32_000
#: Requests of a kind under way. The server takes 2000 (its limits.numPending…), but a step that
#: asks for that many takes it longer than the time-out of a step.
PENDING: Final = 500


class Turns:
    """Commands of one kind, of which so many are under way."""

    def __init__(self, most: int = PENDING) -> None:
        self._free = most
        self._waiting: deque[Any] = deque()

    def take(self, command: Any) -> bool:
        """Whether it is the command's turn; if not, `ended` gives it back later."""
        if self._free:
            self._free -= 1
            return True
        self._waiting.append(command)
        return False

    def ended(self) -> list[Any]:
        """One is over: the command whose turn it is now, if any."""
        self._free += 1
        return [self._waiting.popleft()] if self._waiting else []

    def drop(self, seq: int) -> bool:
        """Forget the command with this number; whether it was waiting."""
        found = next((each for each in self._waiting if each.seq == seq), None)
        if found is not None:
            self._waiting.remove(found)
        return found is not None


class Pace:
    """What a run has asked of the server in its workflow task."""

    def __init__(self) -> None:
        self._task = 0
        self._used = 0

    def takes(self, command: Any) -> bool:
        """Whether a command still goes into this request; counts it then."""
        size = size_of(command)
        self.add(0)
        if size and self._used and self._used + size > ROOM:
            return False
        if not isinstance(command, (c.Control, c.Name, c.Ask)):
            self._used += size
        return True

    def has_room(self, size: int) -> bool:
        """Whether so many bytes still go into this request."""
        self.add(0)
        return self._used + size <= ROOM

    def add(self, size: int) -> None:
        """Something else goes along, of so many bytes."""
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._used = task, 0
        self._used += size


def size_of(command: Any) -> int:
    """Bytes that a command adds to a request at most."""
    match command:
        case c.StartTimer() | c.CancelTimer() | c.CancelCall():
            return _AROUND
        case c.Control() | c.Name() | c.Ask():
            return LIMIT  # the node's answer goes along
        case c.Call():
            return _AROUND + _bound(command.args, command.context)
        case c.Send():
            return _AROUND + _bound(command.args)
        case c.Spawn():
            messages = (args for _, args in command.messages)
            return _SOURCE + _bound(command.args, command.context, *messages)
        case c.Attributes() | c.CheckedAttributes():
            return _AROUND + _bound(command.search, command.memo)
        case c.Ended():
            return _AROUND + _bound(command.value)
        case c.Upgrade():
            messages = (each[1] for each in command.messages)
            return _SOURCE + _bound(command.args, *messages)
    return 0


def _bound(*values: bytes | None) -> int:
    return sum(bound(each) for each in values if each is not None)
