"""What the Python processes of an application are made of.

    from hosts.api import Process

    class Clock(Process):
        def on_message(self, topic, payload, sender):
            if topic == "time":
                self.send(sender, "time", time.time())

Lua code cannot tell such a process from one in Lua. It is a Pykka ThreadingActor: a thread of its
own runs its methods, one at a time. `ctx` and `heartbeat` of runtime.api work in it.
"""

from __future__ import annotations

import inspect
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final

import pykka

from hosts.inbox import Inbox, Message
from hosts.modules import events
from hosts.outcomes import failure_of
from hosts.requests import Requests
from hosts.subscriptions import Published, Subscription, Subscriptions
from hosts.targets import resolve
from runtime import commands as c
from runtime.codec import decode, decode_args, encode_args
from runtime.errors import Kind, PerdureError
from runtime.inbox import InboxLimit

__all__ = ["Process"]

_BASE: Final = f"{__name__}.Process"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Home:
    """What a process has of its host."""

    pid: str
    entry: str
    inbox: Inbox
    requests: Requests
    subscriptions: Subscriptions
    #: Told how it ended: a value, or an error; the first time counts.
    on_end: Callable[[Any, PerdureError | None], None]
    #: Told when it has begun well.
    on_up: Callable[[], None]
    #: Raises PerdureError when an entry is none that a process can start again as.
    check_upgrade: Callable[[str], object]
    #: Told that it is to start again as an entry, with encoded arguments.
    on_upgrade: Callable[[str, bytes], None]
    process: Process | None = None


#: Of the process that is being made on this thread.
_home: ContextVar[Home | None] = ContextVar("perdure_home", default=None)


class Process(pykka.ThreadingActor):
    """A process in Python: override `on_message`, and what else of the `on_` methods it needs.

    It is made with the arguments of its spawn, on its own thread; an `__init__` of one's own calls
    ``super().__init__()`` first. It ends when it calls `exit`, and with an error when one of its
    methods raises: a PerdureError is itself, anything else INTERNAL "Type: text".

    A terminate counts at once for everybody else. The method that runs then cannot be killed: its
    next request or heartbeat raises CANCELED.

    Attributes:
        trap_links: whether the failure of a linked process is an event (`on_event`), instead of
            the end of this one.
        upgradable: whether it gets an event when its class has changed.
    """

    use_daemon_thread: ClassVar[bool] = True
    trap_links: bool = False
    upgradable: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._result: Any = None
        #: Entry and encoded arguments that it starts again with.
        self._successor: tuple[str, bytes] | None = None
        self._leaves = False
        self._home = _home.get()
        if self._home is not None:
            _home.set(None)
            self._home.process = self
            self.actor_urn = self._home.pid
            self._actor_ref = pykka.ActorRef(self)

    # What a subclass overrides --------------------------------------------------------------------

    @abstractmethod
    def on_message(self, topic: str, payload: Any, sender: str) -> None:
        """A message came.

        Args:
            payload: None, the one value, or a list of several.
            sender: PID, "" for messages from outside of processes.
        """

    def on_cancel(self, reason: str | None) -> None:
        """Somebody, or the host when it stops, asks the process to end. By default it does."""
        self.exit()

    def on_event(self, event: dict[str, Any]) -> None:
        """A process that is monitored or linked has ended, or the class of this one has changed.

        Keys: `kind` ("pid.exit" or "pid.link.down"), `from` (its PID), `at` (a datetime in UTC),
        `result` (a dict with `value` or `error`, a PerdureError; empty when it returned nothing).
        With `upgradable` also of kind "pid.outdated", with `sources` (ids of entries) in place of
        a result; see `upgrade`.
        """

    def on_published(self, event: events.Event) -> None:
        """An event of the bus came that it subscribed to: `system`, `kind`, `path`, `data`."""

    # What it can do -------------------------------------------------------------------------------
    # All raise PerdureError: what Lua gets as second result.

    @property
    def pid(self) -> str:
        """Its PID."""
        return self._here().pid

    def exit(self, value: Any = None) -> None:
        """End well, with a result, when the method that runs has come back."""
        self._result = value
        self._leaves = True

    def upgrade(self, id: str | None = None, *args: Any) -> None:  # noqa: A002
        """Start again as this entry, by default its own, when the method that runs has come back.

        The new process has the PID, names, links, monitors and context of this one, and the
        messages and events that it has not received; calls and subscriptions end with this one.
        Raises PerdureError NOT_FOUND or INVALID for what is no process.python.
        """
        home = self._here()
        home.check_upgrade(id or home.entry)
        self._successor = (id or home.entry, encode_args(args))
        self._leaves = True

    def publish(self, system: str, kind: str, path: str, data: Any = None) -> None:
        """Tell the event bus what happened."""
        self._here().requests.ask("events", "send", system, kind, path, data)

    def subscribe(self, system: str, kind: str = events.EVERYTHING) -> Subscription:
        """Get the events from now on whose system and kind match these patterns, as
        `on_published`, until the subscription is closed or this process has ended."""
        return self._here().subscriptions.subscribe(system, kind)

    def send(self, dest: str, topic: str, *payload: Any) -> bool:
        """Send a message to a PID or name; False when nobody is there, or the name is nobody's."""
        try:
            self._here().requests.send(dest, topic, encode_args(payload))
        except PerdureError as error:
            if error.kind != Kind.NOT_FOUND:
                raise
            return False
        return True

    def spawn(
        self,
        id: str,  # noqa: A002
        host: str,
        *args: Any,
        name: str | None = None,
        context: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        monitored: bool = False,
        linked: bool = False,
    ) -> str:
        """Start a process or workflow; its PID. It inherits the context, with `context` on top."""
        flags = (c.MONITORED if monitored else 0) | (c.LINKED if linked else 0)
        return self._here().requests.spawn(
            id, host, encode_args(args), flags=flags, name=name, context=context, options=options
        )

    def call(
        self,
        id: str,  # noqa: A002
        *args: Any,
        timeout: float | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function and wait for its result; `timeout` is seconds."""
        return self._here().requests.call(id, args, timeout, context)

    def monitor(self, dest: str) -> None:
        """Get an event when that process ends."""
        self._here().requests.control("monitor", dest)

    def unmonitor(self, dest: str) -> None:
        """Get none any more."""
        self._here().requests.control("unmonitor", dest)

    def link(self, dest: str) -> None:
        """Fail when that process fails, and the other way round."""
        self._here().requests.link("link", dest)

    def unlink(self, dest: str) -> None:
        """Break a link."""
        self._here().requests.link("unlink", dest)

    def cancel(self, dest: str, reason: str | None = None) -> None:
        """Ask a process or workflow to end."""
        self._here().requests.control("cancel", dest, reason)

    def terminate(self, dest: str) -> None:
        """End a process or workflow at once."""
        self._here().requests.control("terminate", dest)

    def register(self, name: str) -> None:
        """Hold a name until the end, or `unregister`."""
        self._here().requests.name("register", name, self.pid)

    def unregister(self, name: str) -> None:
        """Free a name."""
        self._here().requests.name("unregister", name, self.pid)

    # The actor ------------------------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        home = _home.get()
        return home.inbox if home is not None else Inbox(InboxLimit())

    def _here(self) -> Home:
        if getattr(self, "_home", None) is None:
            text = (
                f"{type(self).__qualname__} runs outside of a node, or did not call "
                "super().__init__(): spawn its process.python entry"
            )
            raise PerdureError(Kind.INVALID, text)
        home: Home = self._home  # type: ignore[assignment]
        return home

    def _actor_loop_setup(self) -> None:
        try:
            self.on_start()
        except BaseException:
            self._handle_failure(*sys.exc_info())
        if self.actor_stopped.is_set():
            return
        if self._leaves:
            self._stop()
        elif self._home is not None:
            self._home.on_up()

    def _handle_receive(self, message: Any) -> Any:
        try:
            answer = self._receive(message)
        except Exception:
            raise
        except BaseException as error:
            # Pykka would stop all actors of the interpreter.
            raise failure_of(error) from None
        if self._leaves and not self.actor_stopped.is_set():
            self._stop()
        return answer

    def _receive(self, message: Any) -> Any:
        if isinstance(message, Message):
            values = decode_args(message.args)
            payload = values if len(values) > 1 else values[0] if values else None
            return self.on_message(message.topic, payload, message.sender)
        if isinstance(message, Event):
            event = decode(message.data)
            if event["kind"] == "pid.cancel":
                return self.on_cancel(event.get("reason"))
            event["at"] = _EPOCH + timedelta(microseconds=event["at"] // 1000)
            if event["kind"] != "pid.outdated":
                event["result"] = event.get("result") or {}  # an empty table is a list
            return self.on_event(event)
        if isinstance(message, Published):
            for published in self._here().subscriptions.taken(message):
                self.on_published(published)
                if self._leaves:
                    break
            return None
        return super()._handle_receive(message)

    def _stop(self) -> None:
        home = self._home
        if home is not None and self._successor is not None:
            # What waits is for the successor; Pykka empties the inbox of an actor that ends.
            self.actor_inbox = Inbox(InboxLimit())
        super()._stop()
        if home is None:
            return
        if self._successor is not None:
            home.on_upgrade(*self._successor)
        else:
            home.on_end(self._result, None)

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The host logs the end of a process, so this does not."""
        if self._home is None or exception_value is None:
            super()._handle_failure(exception_type, exception_value, traceback)
            return
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._home.on_end(None, failure_of(exception_value))


@dataclass(slots=True, frozen=True)
class Event:
    """A cancel, an exit or a broken link, encoded."""

    data: bytes


def live(home: Home, make: Callable[[], Process]) -> None:
    """Run a process on this thread, from its making to its end."""
    _home.set(home)
    try:
        process = make()
        process._here()
    except BaseException as error:
        home.on_end(None, failure_of(error))
        return
    pykka.ActorRegistry.register(process.actor_ref)
    process._actor_loop()


def resolve_class(entry_id: str, target: str, folder: Path) -> type[Process]:
    """The class of a process.python entry.

    Raises PerdureError INVALID: see `hosts.targets.resolve`; also for what is no such class.
    """
    found = resolve(entry_id, target, folder)
    if not isinstance(found, type) or not issubclass(found, Process):
        text = f'{entry_id}: target "{target}" is no process: make it a subclass of {_BASE}'
        raise PerdureError(Kind.INVALID, text)
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise PerdureError(Kind.INVALID, f'{entry_id}: target "{target}" has no method {missing}')
    return found
