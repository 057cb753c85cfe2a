"""A process of the VM as a Pykka actor, for Python code that likes to hold an ActorRef.

Processes have no thread and no Python object of their own; the actor is made when Python asks for
it, and its inbox is the way into the VM.

    ref = node.actor(pid)
    ref.tell(("topic", payload))       the process gets a message
    ref.ask(("topic", payload))        the first message sent back to the sender is the reply
    ref.stop()                         CANCEL; terminated when it has not ended after `stop_timeout`
    ref.is_alive()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from hosts.clients import Clients
from hosts.timers import Timer, Timers
from runtime import inputs
from runtime.codec import encode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Router

#: Topic of a message that is told without one.
DEFAULT_TOPIC: Final = "message"


class ProcessRef(pykka.ActorRef["ProcessActor"]):
    """An ActorRef without proxies: a Lua process has no Python attributes."""

    def proxy(self) -> NoReturn:
        raise PerdureError(
            Kind.INVALID, f"{self.actor_urn} is a Lua process: use tell and ask, it has no proxy"
        )


class _Inbox:
    """What an ActorRef puts its envelopes into."""

    def __init__(self, put: Callable[[Envelope[Any]], None]) -> None:
        self.put = put

    def get(self) -> NoReturn:
        raise NotImplementedError("the inbox of a process is read in its VM")

    def empty(self) -> bool:
        return True


class ProcessActor(pykka.Actor):
    """Stands for one process, from `watch` to the end of it.

    Args:
        stop_timeout: seconds between CANCEL and terminate.
        on_end: called when the process has ended.
    """

    def __init__(
        self,
        pid: str,
        router: Router,
        clients: Clients,
        timers: Timers,
        stop_timeout: float,
        on_end: Callable[[], object],
    ) -> None:
        # Pykka's own __init__ makes a random URN and an inbox; the PID and the VM are ours.
        self._pid = pid
        self._router = router
        self._clients = clients
        self._timers = timers
        self._stop_timeout = stop_timeout
        self._on_end = on_end
        #: Those who wait for its end, and those who wait for a reply with their mailboxes.
        self._stops: list[pykka.Future[Any]] = []
        self._asks: dict[str, pykka.Future[Any]] = {}
        self._deadline: Timer | None = None
        self._lock = threading.Lock()
        self.actor_urn = pid
        self.actor_inbox = _Inbox(self._put)
        self.actor_stopped = threading.Event()
        self._actor_ref = ProcessRef(self)

    @staticmethod
    def _create_actor_inbox() -> NoReturn:
        raise NotImplementedError

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        """The loop is the VM's."""

    def watch(self) -> None:
        """Learn of the end of the process. Raises PerdureError NOT_FOUND when it is over."""
        self._watcher = self._clients.watch(self._event)
        try:
            self._clients.ask(
                lambda reply: self._control("monitor", reply), 10.0, f"monitor of {self._pid}"
            )
        except PerdureError:
            self._end()
            raise

    def _control(self, verb: str, reply: ReplyTo) -> None:
        self._router.control(self._pid, verb, self._watcher, None, reply)

    def _event(self, event: dict[str, Any]) -> None:
        if event["kind"] == "pid.exit":
            self._end()

    def _end(self) -> None:
        with self._lock:
            self.actor_stopped.set()
            stops, asks = self._stops, self._asks
            self._stops, self._asks = [], {}
        self._clients.unwatch(self._watcher)
        if self._deadline is not None:
            self._timers.cancel(self._deadline)
        self._on_end()
        for future in stops:
            future.set(None)
        for mailbox in list(asks):
            self._died(asks, mailbox)

    def _put(self, envelope: Envelope[Any]) -> None:
        message, future = envelope.message, envelope.reply_to
        if isinstance(message, _ActorStop):
            self._stop_process(future)
            return
        topic, *payload = message if isinstance(message, tuple) else (DEFAULT_TOPIC, message)
        args = encode_args(payload)
        mailbox = "" if future is None else self._mailbox(future)

        def delivered(ok: bool, value: bytes) -> None:
            if not ok:
                self._died(self._asks, mailbox)

        reply = self._clients.expect(delivered)
        self._router.deliver(inputs.message(self._pid, topic, mailbox, args, reply))

    def _mailbox(self, future: pykka.Future[Any]) -> str:
        """A PID whose first message answers `future`."""

        def answered(value: Any) -> None:
            if self._asks.pop(mailbox, None) is not None:
                future.set(value)

        mailbox = self._clients.mailbox(answered)
        with self._lock:
            self._asks[mailbox] = future
            alive = not self.actor_stopped.is_set()
        if not alive:
            self._died(self._asks, mailbox)
        return mailbox

    def _died(self, asks: dict[str, pykka.Future[Any]], mailbox: str) -> None:
        """Whoever waits for a reply there will get none."""
        future = asks.pop(mailbox, None)
        if future is not None:
            self._clients.close_mailbox(mailbox)
            error = pykka.ActorDeadError(f"{self._pid} has ended without a reply")
            future.set_exception((pykka.ActorDeadError, error, None))

    def _stop_process(self, future: pykka.Future[Any] | None) -> None:
        with self._lock:
            alive = not self.actor_stopped.is_set()
            if alive and future is not None:
                self._stops.append(future)
        if not alive:
            if future is not None:
                future.set(None)
            return
        self._control("stop", self._clients.expect(_nobody))
        due = self._timers.clock.monotonic() + int(self._stop_timeout * 1e9)
        self._deadline = self._timers.add(due, self._terminate)

    def _terminate(self) -> None:
        self._control("terminate", self._clients.expect(_nobody))


def _nobody(ok: bool, value: bytes) -> None:
    """An answer that nobody needs: the end of the process is what counts."""
