"""The event bus of a node: whoever subscribed to an event's system and kind gets it.

An event is `system` (who tells, as in "orders"), `kind` (what happened, as in "order.created"),
`path` (to what, as in "order-7") and `data` (a plain value or None). A subscriber sees the events
of one publisher in their order, from its subscription on, and each once. Nothing is kept for
those who come later, and nobody waits for a slow subscriber: it loses the oldest events beyond
`QUEUED`, and can see how many.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

from hosts.modules.patterns import Pattern
from runtime import inputs
from runtime.codec import decode_args, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Router

#: Events that wait for one subscriber, at most.
QUEUED: Final = 1024

EVERYTHING: Final = "**"


@dataclass(frozen=True)
class Event:
    """What happened."""

    system: str
    kind: str
    path: str
    data: Any = None

    @cached_property
    def encoded(self) -> bytes:
        """As inputs carry it: a map of its four fields."""
        return encode(
            {"system": self.system, "kind": self.kind, "path": self.path, "data": self.data}
        )


class _Subscriber(Protocol):
    system: Pattern
    kind: Pattern
    dropped: int

    def put(self, event: Event) -> None:
        """Take an event; from any thread, without waiting."""
        ...


class Subscription:
    """Events for Python code: an iterator that waits for the next one, until it is closed.

    Safe to use from any thread; a context manager closes it at the end of its block.
    """

    def __init__(self, bus: EventBus, system: Pattern, kind: Pattern) -> None:
        self.system = system
        self.kind = kind
        #: Events lost because they were not taken in time.
        self.dropped = 0
        self._bus = bus
        self._queue: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, event: Event) -> None:
        with self._changed:
            if len(self._queue) == QUEUED:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(event)
            self._changed.notify()

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None once the subscription is closed and nothing waits.

        Args:
            timeout: seconds; None to wait for ever.

        Raises PerdureError TIMEOUT.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._queue or self._closed, timeout):
                text = f"no event {self.system.text} {self.kind.text} within {timeout:g}s"
                raise PerdureError(Kind.TIMEOUT, text)
            return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        """Get no more events; those that wait can still be taken."""
        self._bus.remove(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _LuaSubscription:
    """Events for a slot: one batch at a time is on its way to the VM, the others wait here."""

    def __init__(self, router: Router, pid: str, number: int, system: str, kind: str) -> None:
        self.system = Pattern(system)
        self.kind = Pattern(kind)
        self._router = router
        self._pid = pid
        self._number = number
        self._queue: deque[Event] = deque()
        self.dropped = 0
        #: The VM has taken the last batch.
        self._ready = True
        self._lock = threading.Lock()

    def put(self, event: Event) -> None:
        with self._lock:
            if len(self._queue) == QUEUED:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(event)
        self._flush()

    def ready(self) -> None:
        """The VM has taken the last batch."""
        with self._lock:
            self._ready = True
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            if not self._ready or not self._queue:
                return
            self._ready = False
            batch = [event.encoded for event in self._queue]
            self._queue.clear()
            dropped = self.dropped
        self._router.deliver(inputs.events(self._pid, self._number, batch, dropped))


class EventBus:
    """The bus, and what the Lua module `events` asks for. Safe to use from any thread."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._lock = threading.Lock()
        #: Replaced as a whole, so that publishing needs no lock.
        self._subscribers: tuple[_Subscriber, ...] = ()
        #: Events since the node was made.
        self.published = 0
        self._dropped = 0
        self._slots: dict[tuple[str, int], _LuaSubscription] = {}

    def subscribe(self, system: str, kind: str = EVERYTHING) -> Subscription:
        """Get every event from now on whose system and kind match these patterns.

        Raises PerdureError INVALID for what is no pattern; see `hosts.modules.patterns`.
        """
        subscription = Subscription(self, Pattern(system), Pattern(kind))
        self._add(subscription)
        return subscription

    def publish(self, system: str, kind: str, path: str, data: Any = None) -> None:
        """Tell everyone who subscribed.

        Raises PerdureError INVALID for an empty system, kind or path.
        """
        if not (system and kind and path):
            raise PerdureError(Kind.INVALID, "an event has a system, a kind and a path, none empty")
        self.published += 1
        event = Event(system, kind, path, data)
        for subscriber in self._subscribers:
            if subscriber.system.matches(system) and subscriber.kind.matches(kind):
                subscriber.put(event)

    @property
    def dropped(self) -> int:
        """Events that slow subscribers have lost in the bus."""
        return self._dropped + sum(each.dropped for each in self._subscribers)

    def remove(self, subscriber: _Subscriber) -> None:
        """Give a subscriber no more events."""
        with self._lock:
            if subscriber in self._subscribers:
                self._dropped += subscriber.dropped
            self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

    def _add(self, subscriber: _Subscriber) -> None:
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)

    # For Lua --------------------------------------------------------------------------------------

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        values = decode_args(args)
        if verb == "send":
            self.publish(*values)
        elif verb == "subscribe":
            number, system, kind = values
            subscription = _LuaSubscription(self._router, pid, number, system, kind)
            self._slots[pid, number] = subscription
            self._add(subscription)
        elif verb == "close":
            self._close((pid, values[0]))
        elif verb == "ready":
            subscribed = self._slots.get((pid, values[0]))
            if subscribed is not None:
                subscribed.ready()
        self._router.answer(reply)

    def lost(self, prefix: str) -> None:
        for key in [key for key in list(self._slots) if key[0].startswith(prefix)]:
            self._close(key)

    def _close(self, key: tuple[str, int]) -> None:
        subscription = self._slots.pop(key, None)
        if subscription is not None:
            self.remove(subscription)
