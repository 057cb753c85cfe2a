"""Processes of a node as Pykka sees them: one actor for each that Python asked for."""

from __future__ import annotations

from typing import Final

import pykka

from hosts.process.actor import ProcessActor
from hosts.process.host import ProcessHost
from supervision.build import Parts

#: Seconds between CANCEL and terminate for what is no process of a process host.
STOPPED_WITHIN: Final = 10.0


class ProcessRefs:
    """Makes actors when they are asked for, and forgets them when their processes end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._actors: dict[str, ProcessActor] = {}

    def of(self, pid: str) -> pykka.ActorRef[ProcessActor]:
        """The ActorRef of a process. Raises PerdureError NOT_FOUND when there is none."""
        actor = self._actors.get(pid)
        if actor is None:
            parts = self._parts
            host = parts.services.get(pid[1 : pid.find("|")])
            within = host.stop_timeout if isinstance(host, ProcessHost) else STOPPED_WITHIN
            actor = ProcessActor(
                pid, parts.router, parts.clients, parts.timers, within,
                lambda: self._actors.pop(pid, None),
            )  # fmt: skip
            self._actors[pid] = actor
            actor.watch()
        return actor.actor_ref
