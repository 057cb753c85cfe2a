"""The inbox of a Python process: what Pykka's actor loop reads, with a limit on what may wait."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from runtime.inbox import InboxLimit


class Message(NamedTuple):
    """A message as it came; `args` is an encoded list of payloads."""

    topic: str
    sender: str
    args: bytes


class Inbox:
    """First in, first out; safe to call from any thread.

    Attributes:
        dropped: messages that a full inbox dropped or refused.
    """

    def __init__(self, limit: InboxLimit) -> None:
        self.dropped = 0
        self._limit = limit
        self._envelopes: deque[Envelope[Any]] = deque()
        self._messages = 0
        self._awaited = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Messages that wait."""
        return self._messages

    def empty(self) -> bool:
        return not self._envelopes

    @property
    def idle(self) -> bool:
        """Whether its process waits for what comes in next."""
        with self._changed:
            return self._awaited and not self._envelopes

    def put(self, envelope: Envelope[Any]) -> None:
        """Put in what is no message: an event, a request of Pykka's."""
        with self._changed:
            self._envelopes.append(envelope)
            self._changed.notify()

    def get(self) -> Envelope[Any]:
        """Take out the first; waits for one."""
        with self._changed:
            self._awaited = True
            while not self._envelopes:
                self._changed.wait()
            self._awaited = False
            envelope = self._envelopes.popleft()
            self._messages -= isinstance(envelope.message, Message)
            return envelope

    def offer(self, message: Message) -> bool:
        """Put in a message; False when it is refused."""
        with self._changed:
            if self._limit.size and self._messages >= self._limit.size:
                self.dropped += 1
                if self._limit.policy != "drop_oldest":
                    return self._limit.policy == "drop_newest"
                oldest = next(
                    i for i, each in enumerate(self._envelopes) if isinstance(each.message, Message)
                )
                del self._envelopes[oldest]
                self._messages -= 1
            self._messages += 1
            self._envelopes.append(Envelope(message))
            self._changed.notify()
            return True

    def end(self) -> None:
        """The process is over: the next that its loop reads is the stop."""
        with self._changed:
            self._envelopes.appendleft(Envelope(_ActorStop()))
            self._changed.notify()
