"""The Python processes of a host: what a VM does for those in Lua, for actors with threads.

Like a VM worker it has a prefix of its PIDs and a `post` for inputs. It has no thread: inputs are
applied one after the other by whoever comes with one, and code of users runs on the threads of the
processes only.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pykka._envelope import Envelope

from hosts.api import Event, Home, Process, live
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.functions import PythonFunctions
from hosts.inbox import Inbox, Message
from hosts.outcomes import encode_error
from hosts.process.ties import Tie, tell_end, tie_of_start, tie_with
from hosts.requests import Requests
from hosts.subscriptions import Published, Subscriptions
from hosts.timers import Timers
from runtime import commands as c
from runtime import inputs
from runtime.api import CallScope
from runtime.codec import decode, decode_args, encode
from runtime.errors import Kind, PerdureError
from runtime.inbox import InboxLimit, inbox_full
from runtime.inputs import Input, ReplyTo, StartOptions
from runtime.lua.machine import Definition
from runtime.routing.router import TRUE, Router, reply_of

logger = logging.getLogger(__name__)

#: Nanoseconds that one whose caller has ended has from its CANCEL to its end, as in Lua (ends.lua).
_GRACE: Final = 10_000_000_000


@dataclass(slots=True, eq=False)
class _Slot:
    entry: str
    parent: str
    cls: type[Process]
    home: Home
    context: dict[str, Any]
    scope: CallScope
    tie: Tie
    #: The class that its entry has now.
    latest: type[Process]


class PythonProcesses:
    """Safe to call from any thread.

    Args:
        prefix: how the PIDs begin.
        targets: the classes of the process.python entries.
        on_ended: told of every end, before anybody else.
        on_left: told then, that there is one less.
    """

    def __init__(
        self,
        prefix: str,
        targets: PythonFunctions,
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        limit: InboxLimit,
        on_ended: Callable[[c.Ended], None],
        on_left: Callable[[], None],
    ) -> None:
        self.prefix = prefix
        #: Messages that full inboxes of processes that have ended dropped or refused.
        self._dropped = 0
        self._targets = targets
        self._router = router
        self._clients = clients
        self._calls = calls
        self._timers = timers
        self._clock = timers.clock
        self._limit = limit
        self._on_ended = on_ended
        self._on_left = on_left
        self._slots: dict[str, _Slot] = {}
        self._inputs: deque[Input] = deque()
        self._turn = threading.Lock()
        self._appliers: dict[str, Callable[..., None]] = {
            "start": self._start,
            "message": self._message,
            "control": self._control,
            "control_all": self._control_all,
            "signal": self._signal,
            "name": self._name,
            "list": self._list,
            "events": self._events,
            "define": self._define,
            "upgrade": self._upgrade,
            "ended": self._end,
        }

    name = "the Python processes"
    over = False

    def flush(self) -> None:
        """It is never over."""

    @property
    def dropped(self) -> int:
        """Messages that full inboxes dropped or refused."""
        waiting = list(self._slots.values())
        return self._dropped + sum(each.home.inbox.dropped for each in waiting)

    def post(self, item: Input) -> None:
        """Apply an input, behind those that are being applied: by whoever applies those."""
        self._inputs.append(item)
        while self._inputs and self._turn.acquire(blocking=False):
            try:
                self._apply_all()
            finally:
                self._turn.release()

    def settle(self) -> None:
        """Come back when what was posted has been applied, by whomever. Not for `apply` itself."""
        with self._turn:
            self._apply_all()

    def _apply_all(self) -> None:
        while self._inputs:
            self._apply(self._inputs.popleft())

    def _apply(self, item: Input) -> None:
        kind, pid = item[0], item[1]
        slot = self._slots.get(pid)
        try:
            if slot is None and kind in ("message", "control", "name"):
                if kind == "message":
                    self._router.dead_letters.add(pid, item[2], item[3])
                gone = PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")
                self._router.refuse(reply_of(item), gone)
            elif slot is not None or kind in ("start", "control_all", "list", "define"):
                self._appliers[kind](slot, item)
        except Exception:
            logger.exception("%s: cannot apply %r", pid, item)

    # Births and ends ------------------------------------------------------------------------------

    def _start(self, _: None, item: Input) -> None:
        pid, entry, args = item[1], item[2], item[3]
        options: StartOptions = item[4]
        context = (decode(options["context"]) if "context" in options else None) or {}
        inbox, cls = Inbox(self._limit), self._targets.target(entry)
        slot = _Slot(
            entry, options.get("parent", ""), cls,
            self._home(pid, entry, inbox, context, options.get("up")),
            context, CallScope(context), tie_of_start(options), cls,
        )  # fmt: skip
        self._slots[pid] = slot
        for topic, payload in options.get("messages", ()):
            inbox.offer(Message(topic, slot.parent, payload))
        begin = threading.Event()
        if (refusal := self._launch(slot, args, begin)) is not None:
            self._router.refuse(options.get("reply"), refusal)
            return
        # Whoever spawned it knows its PID before it does anything.
        self._router.answer(options.get("reply"), encode(pid))
        begin.set()

    def _home(
        self, pid: str, entry: str, inbox: Inbox, context: dict[str, Any], up: ReplyTo | None
    ) -> Home:
        requests = Requests(self._router, self._clients, self._calls, pid, context)
        return Home(
            pid, entry, inbox, requests, Subscriptions(requests),
            on_end=lambda value, error: self.post(_ended(pid, value, error)),
            on_up=lambda: self._router.answer(up, encode(pid)),
            check_upgrade=self._class_of,
            on_upgrade=lambda new, args: self.post(["upgrade", pid, new, args, up]),
        )  # fmt: skip

    def _launch(self, slot: _Slot, args: bytes, begin: threading.Event) -> PerdureError | None:
        """Run the process of a slot once `begin` is set; or end it, and give the reason."""
        pid, make = slot.home.pid, partial(slot.cls, *decode_args(args))
        try:
            threading.Thread(
                target=_run, args=(slot.home, slot.scope, begin, make),
                name=f"{slot.entry} {pid}", daemon=True,
            ).start()  # fmt: skip
        except RuntimeError as error:
            refusal = PerdureError(Kind.UNAVAILABLE, f"no thread for {slot.entry}: {error}", True)
            self._end(slot, ["ended", pid, False, encode(refusal)])
            return refusal
        return None

    def _upgrade(self, slot: _Slot, item: Input) -> None:
        """Its class has come to an end, and another goes on under its PID."""
        _, pid, entry, args, up = item
        try:
            slot.cls = slot.latest = self._class_of(entry)
        except PerdureError as error:
            self._end(slot, _ended(pid, None, error))
            return
        self._leave(slot, PerdureError(Kind.CANCELED, f"{pid} was upgraded"))
        slot.entry, slot.scope = entry, CallScope(slot.context)
        slot.home = self._home(pid, entry, slot.home.inbox, slot.context, up)
        begin = threading.Event()
        begin.set()
        self._launch(slot, args, begin)

    def _class_of(self, entry: str) -> type[Process]:
        """The class of a process.python entry. Raises PerdureError NOT_FOUND or INVALID."""
        try:
            found = self._targets.target(entry)
        except KeyError:
            text = f"upgrade: {entry} is no process.python that there is"
            raise PerdureError(Kind.NOT_FOUND, text) from None
        if not (isinstance(found, type) and issubclass(found, Process)):
            text = f"upgrade: {entry} is a function.python: name a process.python"
            raise PerdureError(Kind.INVALID, text)
        return found

    def _leave(self, slot: _Slot, why: PerdureError) -> None:
        """What its code had under way ends."""
        slot.scope.given_up = why
        slot.home.subscriptions.end()
        slot.home.requests.close(why)

    def _end(self, slot: _Slot, item: Input) -> None:
        _, pid, ok, value = item
        del self._slots[pid]
        self._dropped += slot.home.inbox.dropped
        canceled = PerdureError(Kind.CANCELED, f"{pid} has ended")
        self._leave(slot, canceled)
        slot.home.inbox.end()
        # Counted first: whoever hears of an end may at once spawn in its place.
        self._on_left()
        self._on_ended(c.Ended(pid, ok, value, slot.entry))
        tell_end(self._router, self._clock.wall(), pid, slot.tie, ok, value)

    # Inputs ---------------------------------------------------------------------------------------

    def _message(self, slot: _Slot, item: Input) -> None:
        reply = reply_of(item)
        if slot.home.inbox.offer(Message(item[2], item[3], item[4])):
            self._router.answer(reply)
        else:
            self._router.refuse(reply, inbox_full(item[1], self._limit.size))

    def _control(self, slot: _Slot, item: Input) -> None:
        pid, verb, sender, reason = item[1:5]
        self._do(slot, pid, verb, sender, reason)
        self._router.answer(reply_of(item), TRUE)

    def _control_all(self, _: None, item: Input) -> None:
        for pid, slot in list(self._slots.items()):
            self._do(slot, pid, item[2], "", item[3])

    def _do(self, slot: _Slot, pid: str, verb: str, sender: str, reason: str | None) -> None:
        if verb == "terminate":
            error = PerdureError(Kind.CANCELED, "process terminated")
            self._end(slot, _ended(pid, None, error))
        elif verb in ("cancel", "stop", "abandon"):
            event = {"kind": "pid.cancel", "from": sender, "at": self._clock.wall()}
            self._tell(slot, {**event, "reason": reason})
            if verb == "abandon":
                end = inputs.control(pid, "terminate", "", None)
                self._timers.add(self._clock.monotonic() + _GRACE, partial(self.post, end))
        elif verb != "probe":
            tie_with(slot.tie, verb, sender)

    def _signal(self, slot: _Slot, item: Input) -> None:
        event = decode(item[2])
        kind, sender = event["kind"], event["from"]
        if kind == "unlink":
            slot.tie.links.discard(sender)
        elif kind != "pid.link.down":
            self._tell(slot, event)
        elif sender in slot.tie.links:
            slot.tie.links.discard(sender)
            if (slot.home.process or slot.cls).trap_links:
                self._tell(slot, event)
            else:
                self._end(slot, _ended(item[1], None, _link_failed(event)))

    def _tell(self, slot: _Slot, event: dict[str, Any]) -> None:
        slot.home.inbox.put(Envelope(Event(encode(event))))

    def _events(self, slot: _Slot, item: Input) -> None:
        slot.home.inbox.put(Envelope(Published(*item[2:])))

    def redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        """Other code is deployed: tell those that asked to hear of it, and answer."""
        self.post(inputs.define({}, (), reply))

    def _define(self, _: None, item: Input) -> None:
        for pid, slot in list(self._slots.items()):
            with suppress(PerdureError):  # its entry is gone
                latest = self._class_of(slot.entry)
                changed, slot.latest = latest is not slot.latest, latest
                if changed and (slot.home.process or slot.cls).upgradable:
                    event = {"kind": "pid.outdated", "from": pid, "at": self._clock.wall()}
                    self._tell(slot, {**event, "sources": [slot.entry]})
        self._router.answer((item[2], item[3]))

    def _name(self, slot: _Slot, item: Input) -> None:
        try:
            self._router.names.register(item[2], item[1])
        except PerdureError as error:
            self._router.refuse(reply_of(item), error)
        else:
            self._router.answer(reply_of(item))

    def _list(self, _: None, item: Input) -> None:
        rows = [
            [pid, slot.entry, len(slot.home.inbox), slot.parent]
            for pid, slot in self._slots.items()
        ]
        self._router.answer((item[2], item[3]), encode(rows))


def _run(home: Home, scope: CallScope, begin: threading.Event, make: Callable[[], Process]) -> None:
    begin.wait()
    scope.enter()
    live(home, make)


def _ended(pid: str, value: Any, error: PerdureError | None) -> Input:
    """What a process ended with; a value that cannot be sent is an error."""
    if error is None:
        try:
            return ["ended", pid, True, encode(value)]
        except PerdureError as refusal:
            text = f"the result of this code cannot be sent: {refusal.message}"
            error = PerdureError(refusal.kind, text)
    return ["ended", pid, False, encode_error(error)]


def _link_failed(event: dict[str, Any]) -> PerdureError:
    result = event.get("result")
    error = result.get("error") if isinstance(result, dict) else None
    details = {"pid": event["from"], "error": None if error is None else str(error)}
    return PerdureError(Kind.INTERNAL, "linked process failed", details=details)
