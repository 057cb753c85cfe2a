"""Whether anything is under way on a node, for whoever skips the time in which nothing is.

Everything on a node happens on the threads of its actors, of its Python functions and of its
writers; what one of them has for another is in that one's inbox before it comes to rest itself. So
the node is at rest when two looks, one behind the other, find each of them at rest, and no actor
has had a turn in between: whatever was in an inbox between the looks would have made one.

Services that are about to start or stop are not looked at.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Any, Final

import pykka

from hosts.draining_actor import DrainingActor, Probe
from hosts.inbox import Inbox
from supervision.build import Parts
from supervision.lmdb_service import LmdbService

#: Seconds in which an actor answers; one that does not is not at rest.
_ANSWERS_WITHIN: Final = 0.2


def at_rest(parts: Parts) -> bool:
    """Whether nothing is under way: whatever lives waits for a time, or for somebody outside of
    the node. Actors of other nodes of this process count, too."""
    first = _look(parts)
    return first is not None and _look(parts) == first


def _look(parts: Parts) -> dict[str, int] | None:
    """Turns of each actor; None when something is under way."""
    # What has no turns comes first: what it did before its look is in an inbox by then.
    if parts.python.busy or any(each.busy for each in parts.of_type(LmdbService)):
        return None
    actors = pykka.ActorRegistry.get_all()
    for actor in actors:
        if isinstance(actor.actor_inbox, Inbox) and not actor.actor_inbox.idle:
            return None
    answers: SimpleQueue[tuple[str, int]] = SimpleQueue()
    asked = [actor for actor in actors if issubclass(actor.actor_class, DrainingActor)]
    for actor in asked:
        actor.actor_inbox.put(_probe(actor.actor_urn, answers))
    try:
        return dict(answers.get(timeout=_ANSWERS_WITHIN) for _ in asked)
    except Empty:
        return None


def _probe(urn: str, answers: SimpleQueue[tuple[str, int]]) -> Any:
    return Probe(lambda turns: answers.put((urn, turns)))
