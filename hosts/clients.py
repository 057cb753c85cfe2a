"""Python code as a party of the node: it waits for answers and watches processes.

Replies are addressed to PIDs; those of Python callers belong to this host.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, ReplyTo
from runtime.routing.router import Router, SpawnRequest, reply_of

#: Host part of the PIDs of Python callers. It has no namespace, so no entry can have the same.
HOST: Final = "python"
#: PID of all who wait for answers.
_CALLER: Final = f"{{{HOST}|caller}}"

Done = Callable[[bool, bytes], None]


class Clients:
    """Waits on behalf of Python callers. Safe to call from any thread."""

    id = HOST

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: dict[int, Done] = {}
        self._watchers: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._mailboxes: dict[str, Callable[[Any], None]] = {}
        self._numbers = itertools.count(1)

    def expect(self, done: Done) -> ReplyTo:
        """A reply address; `done(ok, encoded value)` is called once, on some thread of a host."""
        number = next(self._numbers)
        self._waiting[number] = done
        return (_CALLER, number)

    def forget(self, reply: ReplyTo) -> None:
        """Nobody waits for that answer any more."""
        self._waiting.pop(reply[1], None)

    def waits(self, reply: ReplyTo) -> bool:
        """Whether somebody waits for an answer; of Lua code that is always so."""
        return reply[0] != _CALLER or reply[1] in self._waiting

    def close(self) -> None:
        """The node has stopped: whoever still waits hears that."""
        stopped = encode(PerdureError(Kind.UNAVAILABLE, "the node was stopped", True))
        for number in list(self._waiting):
            done = self._waiting.pop(number, None)
            if done is not None:
                done(False, stopped)

    def watch(self, on_event: Callable[[dict[str, Any]], None]) -> str:
        """A PID whose events go to `on_event`, on some thread of a host."""
        pid = f"{{{HOST}|watcher-{next(self._numbers)}}}"
        self._watchers[pid] = on_event
        return pid

    def unwatch(self, pid: str) -> None:
        """Events of that PID are dropped from now on."""
        self._watchers.pop(pid, None)

    def close_mailbox(self, pid: str) -> None:
        """Nobody waits for a message there any more."""
        self._mailboxes.pop(pid, None)

    def mailbox(self, on_message: Callable[[Any], None]) -> str:
        """A PID whose first message goes to `on_message`, as `ask` needs it."""
        pid = f"{{{HOST}|ask-{next(self._numbers)}}}"
        self._mailboxes[pid] = on_message
        return pid

    def ask(self, request: Callable[[ReplyTo], None], timeout: float | None, what: str) -> Any:
        """Make a request and wait for its answer, decoded.

        Args:
            timeout: seconds, or None to wait for ever.
            what: named in the TIMEOUT error.

        Raises PerdureError: the answer, or TIMEOUT.
        """
        answers: SimpleQueue[tuple[bool, bytes]] = SimpleQueue()
        reply = self.expect(lambda ok, value: answers.put((ok, value)))
        request(reply)
        try:
            ok, value = answers.get(timeout=None if timeout is None else max(timeout, 0))
        except Empty:
            self.forget(reply)
            raise PerdureError(Kind.TIMEOUT, f"{what}: no answer within {timeout:g}s") from None
        result = decode(value)
        if not ok:
            raise result
        return result

    def deliver(self, item: Input) -> None:
        """An answer, an event or a message has come."""
        kind, pid = item[0], item[1]
        if kind == "answer":
            done = self._waiting.pop(item[2], None)
            if done is not None:
                done(item[3], item[4])
        elif kind == "signal":
            on_event = self._watchers.get(pid)
            if on_event is not None:
                on_event(decode(item[2]))
        elif kind == "message":
            on_message = self._mailboxes.pop(pid, None)
            if on_message is None:
                self._router.dead_letters.add(pid, item[2], item[3])
                self._router.refuse(
                    reply_of(item), PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")
                )
            else:
                values = decode(item[4])
                on_message(values[0] if len(values) == 1 else values)
                self._router.answer(reply_of(item))
        else:
            self._router.refuse(
                reply_of(item),
                PerdureError(Kind.INVALID, f"{pid} is Python code: it has no {kind}"),
            )

    def spawn(self, request: SpawnRequest) -> None:
        """Nothing can be spawned here."""
        error = PerdureError(Kind.INVALID, f"{HOST} is not a host: name a process.host")
        self._router.refuse_spawn(request, error)

    def lookup(self, name: str) -> str | None:
        return None
