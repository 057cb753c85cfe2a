"""Ties: who outside of a VM is to hear of the end of what lives in it.

The VM tells them itself. When it is lost with all that it knew, this is what is left.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime import commands as c
from runtime.inputs import Input, ReplyTo
from runtime.routing.router import reply_of

#: Control verb -> (field of the tie, whether it is added).
_TYING = {
    "monitor": ("watchers", True),
    "unmonitor": ("watchers", False),
    "link": ("links", True),
    "unlink": ("links", False),
}


class Tie:
    """What hangs on one process."""

    __slots__ = ("links", "outcomes", "watchers")

    def __init__(self) -> None:
        self.watchers: set[str] = set()
        self.links: set[str] = set()
        self.outcomes: list[ReplyTo] = []


class Ties:
    """The ties of one VM, by PID. Used on its worker's thread."""

    def __init__(self) -> None:
        self.by_pid: dict[str, Tie] = {}

    def note(self, batch: Iterable[Input], commands: Iterable[c.Command]) -> None:
        """Learn from one step: what went into the VM, and what came out."""
        tying = [item for item in batch if item[0] == "start" or item[2] in _TYING]
        if tying:
            refused = {
                (each.pid, each.seq)
                for each in commands
                if isinstance(each, c.Answer) and not each.ok
            }
            for item in tying:
                if item[0] == "start":
                    self._started(item)
                elif item[0] == "control" and reply_of(item) not in refused:
                    self._tie(item[1], item[2], item[3])
        for command in commands:
            if isinstance(command, c.Ended):
                self.by_pid.pop(command.pid, None)
            elif isinstance(command, c.Control) and command.verb in ("link", "unlink"):
                # A link goes both ways; a monitor is a tie of the other one only.
                self._tie(command.pid, command.verb, command.dest)

    def _started(self, item: Input) -> None:
        options = item[4]
        watchers, links = options.get("watchers", ()), options.get("links", ())
        if item[1] is not None and (watchers or links or "outcome" in options):
            tie = self.by_pid.setdefault(item[1], Tie())
            tie.watchers.update(watchers)
            tie.links.update(links)
            if "outcome" in options:
                tie.outcomes.append(options["outcome"])

    def _tie(self, pid: str, verb: str, other: str) -> None:
        field, add = _TYING[verb]
        if add:
            peers: set[str] = getattr(self.by_pid.setdefault(pid, Tie()), field)
            peers.add(other)
        elif pid in self.by_pid:
            getattr(self.by_pid[pid], field).discard(other)
