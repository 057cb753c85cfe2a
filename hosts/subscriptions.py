"""What a Python process gets of the event bus."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hosts.modules.events import Event
from hosts.requests import Requests
from runtime.codec import decode


@dataclass(frozen=True, slots=True)
class Published:
    """A batch of events for one subscription, as inputs carry them."""

    number: int
    events: list[bytes]
    dropped: int


class Subscription:
    """Events that a process asked for, until it closes it or ends.

    Attributes:
        dropped: events lost because they were not taken in time.
    """

    def __init__(self, number: int, of: Subscriptions) -> None:
        self.number = number
        self.dropped = 0
        self._of = of

    def close(self) -> bool:
        """Get no more events; false when it was closed before."""
        return self._of.close(self.number)


class Subscriptions:
    """Those of one process. Used on its thread, but for `end`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._open: dict[int, Subscription] = {}
        self._numbers = itertools.count(1)

    def subscribe(self, system: str, kind: str) -> Subscription:
        """Raises PerdureError INVALID for what is no pattern."""
        subscription = Subscription(next(self._numbers), self)
        # Events may come before the answer.
        self._open[subscription.number] = subscription
        try:
            self._requests.ask("events", "subscribe", subscription.number, system, kind)
        except BaseException:
            self._open.pop(subscription.number, None)
            raise
        if subscription.number not in self._open:  # its process was terminated meanwhile
            self._requests.tell("events", "close", subscription.number)
        return subscription

    def close(self, number: int) -> bool:
        """Close one; false when it was closed before."""
        if self._open.pop(number, None) is None:
            return False
        self._requests.tell("events", "close", number)
        return True

    def end(self) -> None:
        """Close all."""
        for number in list(self._open):
            self.close(number)

    def taken(self, batch: Published) -> Iterator[Event]:
        """The events of a batch; the bus sends the next one behind them."""
        for data in batch.events:
            subscription = self._open.get(batch.number)
            if subscription is None:
                return
            subscription.dropped = batch.dropped
            event: dict[str, Any] = decode(data)
            yield Event(event["system"], event["kind"], event["path"], event.get("data"))
        if batch.number in self._open:
            self._requests.tell("events", "ready", batch.number)
