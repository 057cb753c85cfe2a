"""Ties: who outside of a VM is to hear of the end of what lives in it.

A VM tells them itself. When it is lost with all that it knew, this is what is left.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.inputs import Input, ReplyTo, StartOptions
from runtime.routing.router import Router, reply_of

#: Control verb -> (field of the tie, whether it is added).
_TYING = {
    "monitor": ("watchers", True),
    "unmonitor": ("watchers", False),
    "link": ("links", True),
    "unlink": ("links", False),
}


class Tie:
    """What hangs on one process."""

    __slots__ = ("entry", "links", "outcomes", "watchers")

    def __init__(self) -> None:
        #: The id of its code, where known.
        self.entry = ""
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
        tie = tie_of_start(item[4])
        tie.entry = item[2]
        if item[1] is not None and (tie.watchers or tie.links or tie.outcomes):
            self.by_pid[item[1]] = tie

    def _tie(self, pid: str, verb: str, other: str) -> None:
        if verb in ("monitor", "link"):
            tie_with(self.by_pid.setdefault(pid, Tie()), verb, other)
        elif pid in self.by_pid:
            tie_with(self.by_pid[pid], verb, other)


def tie_of_start(options: StartOptions) -> Tie:
    """Whom a process is tied to from its start."""
    tie = Tie()
    tie.watchers.update(options.get("watchers", ()))
    tie.links.update(options.get("links", ()))
    if "outcome" in options:
        tie.outcomes.append(options["outcome"])
    return tie


def tie_with(tie: Tie, verb: str, other: str) -> None:
    """monitor, unmonitor, link or unlink."""
    field, add = _TYING[verb]
    peers: set[str] = getattr(tie, field)
    if add:
        peers.add(other)
    else:
        peers.discard(other)


def tell_end(router: Router, at: int, pid: str, tie: Tie, ok: bool, value: bytes) -> None:
    """Tell everyone outside of the end of a process.

    Args:
        at: ns since the epoch.
        value: its encoded result, or error when not ok.
    """
    event = {"from": pid, "at": at, "result": {"value" if ok else "error": decode(value)}}
    for reply in tie.outcomes:
        router.answer(reply, value, ok)
    for watcher in sorted(tie.watchers):
        router.deliver(inputs.signal(watcher, encode({"kind": "pid.exit", **event})))
    # A normal end is no event to those linked to a process.
    kind = "unlink" if ok else "pid.link.down"
    for peer in sorted(tie.links):
        router.deliver(inputs.signal(peer, encode({"kind": kind, **event})))
