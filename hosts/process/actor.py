"""A process of the VM as a Pykka actor, for Python code that likes to hold an ActorRef.

Processes have no thread and no Python object of their own; the actor is made when Python asks for
it, and its inbox is the way into the VM.

    ref = node.actor(pid)
    ref.tell(("topic", payload))       the process gets a message
    ref.ask(("topic", payload))        the first message sent back to the sender is the reply
    ref.stop()                         CANCEL; terminated when it has not ended after `timeout`
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
    """Stands for one process.

    Args:
        on_end: called when the process has ended.
    """

    def __init__(
        self, pid: str, router: Router, clients: Clients, on_end: Callable[[], object]
    ) -> None:
        # Pykka's own __init__ makes a random URN and an inbox; the PID and the VM are ours.
        self._pid = pid
        self._router = router
        self._clients = clients
        self._on_end = on_end
        self._stops: list[Envelope[Any]] = []
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
            self._event({"kind": "pid.exit"})
            raise

    def _control(self, verb: str, reply: ReplyTo) -> None:
        self._router.control(self._pid, verb, self._watcher, None, reply)

    def _event(self, event: dict[str, Any]) -> None:
        if event["kind"] == "pid.exit":
            self.actor_stopped.set()
            self._clients.unwatch(self._watcher)
            self._on_end()
            for envelope in self._stops:
                if envelope.reply_to is not None:
                    envelope.reply_to.set(None)

    def _put(self, envelope: Envelope[Any]) -> None:
        message, reply_to = envelope.message, envelope.reply_to
        if isinstance(message, _ActorStop):
            self._stops.append(envelope)
            self._control("cancel", self._clients.expect(lambda ok, value: None))
            return
        topic, *payload = message if isinstance(message, tuple) else (DEFAULT_TOPIC, message)
        sender = ""
        if reply_to is not None:
            sender = self._clients.mailbox(reply_to.set)

        def delivered(ok: bool, value: bytes) -> None:
            if not ok and reply_to is not None:
                reply_to.set_exception(
                    (pykka.ActorDeadError, pykka.ActorDeadError(f"{self._pid} not found"), None)
                )

        args = encode_args(payload)
        reply = self._clients.expect(delivered)
        self._router.deliver(inputs.message(self._pid, topic, sender, args, reply))
