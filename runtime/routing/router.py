"""The router: brings inputs to the host of their PID, and spawn requests to the host they name.

Everything between hosts goes through here, and everything that wants an answer names a PID and the
number of a request (`ReplyTo`), so an answer is one more input on its way to a host.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime import inputs
from runtime.clock import Clock, SystemClock
from runtime.codec import encode
from runtime.commands import Parcel
from runtime.errors import Kind, PerdureError
from runtime.ids import is_pid
from runtime.inputs import Input, ReplyTo, StartOptions
from runtime.parcels import unpacked
from runtime.routing.dead_letters import DeadLetters
from runtime.routing.names import Names

logger = logging.getLogger(__name__)

TRUE = encode(True)
NIL = encode(None)


#: A request of a workflow run: journal id, run number, number of the request.
Origin = tuple[str, int, int]


@dataclass(slots=True)
class SpawnRequest:
    """Start an entry on a host.

    `start.reply` is answered with the PID or an error, `start.outcome`, if given, with the result.
    """

    entry: str
    host: str
    args: bytes
    start: StartOptions
    #: process or workflow name to hold, or None
    name: str | None = None
    #: spawn options as users write them ("workflow.id" and so on)
    settings: dict[str, Any] = field(default_factory=dict)
    #: idempotency key: a repeated request with it is answered and not repeated
    key: str | None = None
    #: function pools that wait for the result, so that it must not wait for one of them
    within: frozenset[str] = frozenset()
    #: which request of a workflow run asks for a child, or None
    parent: Origin | None = None


class Host(Protocol):
    """What the router needs of a host."""

    @property
    def id(self) -> str:
        """Entry id; the host part of its PIDs."""
        ...

    def deliver(self, item: Input) -> None:
        """Take an input for one of its PIDs; from any thread. Answers NOT_FOUND by itself."""
        ...

    def spawn(self, request: SpawnRequest) -> None:
        """Start an entry; from any thread. Answers `request.start["reply"]`."""
        ...

    def lookup(self, name: str) -> str | None:
        """PID of what the host itself knows by a name; None where only `Names` gives names."""
        ...


class Module(Protocol):
    """The Python half of a Lua module, one for the whole node."""

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        """Do what the slot `pid` asks for, and answer `reply`, now or later; from any thread.

        Raises PerdureError for what is refused at once.
        """
        ...

    def lost(self, prefix: str) -> None:
        """The slots whose PIDs begin so are gone without a word."""
        ...


class Router:
    """Knows the hosts of the node. Safe to call from any thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.names = Names()
        self.dead_letters = DeadLetters(clock or SystemClock())
        #: The node stops: what is refused from now on is refused for that.
        self.closing = False
        self._hosts: dict[str, Host] = {}
        self._declared: frozenset[str] = frozenset()
        self._queues: dict[str, set[str]] = {}
        self._stand_ins: dict[str, str] = {}
        self._vms: dict[str, Callable[[Input], None]] = {}
        self._modules: dict[str, Module] = {}
        #: Whether the node is about to start services.
        self.is_starting = False
        self._early: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def declare(self, ids: Iterable[str]) -> None:
        """Services of the node: what is asked of one that does not run gets an answer that says
        so."""
        self._declared = frozenset(ids)

    def _no_host(self, host: str) -> PerdureError:
        if host in self._declared:
            text = f"{host} is not running: start it, or set its lifecycle.auto_start to true"
            return PerdureError(Kind.UNAVAILABLE, text, True)
        return PerdureError(Kind.NOT_FOUND, f"host not found: {host}")

    def starting(self) -> None:
        """The node starts its services; see `waits_for`."""
        self.is_starting = True

    def started(self) -> None:
        """Who is not there by now is not waited for."""
        with self._lock:
            self.is_starting = False
        self._go_on()

    def waits_for(self, dest: str, action: Callable[[], None]) -> bool:
        """Whether the node still starts, and a host, task queue, PID or name is not there yet;
        `action` is called when that may be otherwise, from any thread."""
        try:
            if not self.is_starting or self.reaches(dest):
                return False
        except PerdureError:  # nobody can say
            return False
        with self._lock:
            if self.is_starting:
                self._early.append(action)
            return self.is_starting

    def _go_on(self) -> None:
        with self._lock:
            early, self._early = self._early, []
        for action in early:
            action()

    def open_vm(self, prefix: str, post: Callable[[Input], None]) -> None:
        """Parcels for the VM whose PIDs begin with `prefix` go to `post`."""
        self._vms[prefix] = post

    def close_vm(self, prefix: str) -> None:
        """The VM is gone."""
        self._vms.pop(prefix, None)

    def hand_over(self, parcel: Parcel) -> None:
        """Bring a parcel to its VM, or what is in it to where else it belongs."""
        post = self._vms.get(parcel.pid)
        if post is not None:
            post(inputs.parcel(*parcel))
            return
        for item in unpacked(parcel.size, parcel.records):
            self.deliver(item)

    def attach(self, host: Host, task_queue: str = "") -> None:
        """Make a host reachable by its id, and by its task queue where it has one."""
        self._hosts = {**self._hosts, host.id: host}
        if task_queue:
            self._queues.setdefault(task_queue, set()).add(host.id)
        self._go_on()

    def detach(self, host: Host) -> None:
        """Its PIDs are no longer reachable."""
        self._hosts = {key: other for key, other in self._hosts.items() if other is not host}
        for served in self._queues.values():
            served.discard(host.id)

    def stand_in(self, absent: str, host: str) -> None:
        """While no host of the id `absent` runs here, what is for its PIDs goes to that of the id
        `host`, which reaches them too."""
        self._stand_ins[absent] = host

    def _host_of(self, pid: str) -> Host | None:
        name = pid[1 : pid.find("|")]
        return self._hosts.get(name) or self._hosts.get(self._stand_ins.get(name, ""))

    def reaches(self, dest: str) -> bool:
        """Whether the host of a PID, or with an id or task queue, runs, or somebody has a name.
        Raises PerdureError when a host cannot say."""
        if is_pid(dest):
            return self._host_of(dest) is not None
        return dest in self._hosts or bool(self._queues.get(dest)) or self.lookup(dest) is not None

    def served_by(self, task_queue: str) -> Host | None:
        """The host that serves a task queue, or has this id; None without one, or with two."""
        served = self._queues.get(task_queue, set())
        name = next(iter(served)) if len(served) == 1 else task_queue
        return self._hosts.get(name)

    def deliver(self, item: Input) -> None:
        """Bring an input to its PID; what has a reply is told when there is no such host."""
        pid: str = item[1]
        host = self._host_of(pid)
        if host is not None:
            host.deliver(item)
        elif item[0] in ("message", "control", "name"):
            if item[0] == "message":
                self.dead_letters.add(pid, item[2], item[3])
            self.refuse(reply_of(item), self._no_host(pid[1 : pid.find("|")]))
        elif item[0] == "answer":
            logger.debug("answer for %s: its host is gone", pid)

    def send(
        self,
        dest: str,
        topic: str,
        sender: str,
        args: bytes,
        reply: ReplyTo,
        key: str | Origin | None = None,
    ) -> None:
        """Send a message to a PID or a name; `reply` hears true or what is wrong.

        key: idempotency key, of the user's or the run's request that this is.
        """
        try:
            pid = self.resolve(dest)
        except PerdureError as error:
            self.dead_letters.add(dest, topic, sender)
            self.refuse(reply, error)
            return
        item = inputs.message(pid, topic, sender, args, reply)
        if key is not None:
            item.append(key)
        self.deliver(item)

    def control(
        self, dest: str, verb: str, sender: str, reason: str | None, reply: ReplyTo
    ) -> None:
        """terminate, cancel, monitor … a PID or a name."""
        try:
            pid = self.resolve(dest)
        except PerdureError as error:
            self.refuse(reply, error)
            return
        self.deliver(inputs.control(pid, verb, sender, reason, reply))

    def spawn(self, request: SpawnRequest) -> None:
        """Start an entry on the host, or task queue, that the request names."""
        host = self._hosts.get(request.host)
        if host is None:
            served = self._queues.get(request.host, set())
            if len(served) > 1:
                error = PerdureError(
                    Kind.INVALID,
                    f'task queue "{request.host}" is served by {", ".join(sorted(served))}: '
                    "name the worker instead",
                )
                self.refuse_spawn(request, error)
                return
            host = self._hosts.get(next(iter(served), ""))
        if host is None:
            self.refuse_spawn(request, self._no_host(request.host))
            return
        host.spawn(request)

    def provide(self, name: str, module: Module) -> None:
        """Give a Lua module its Python half."""
        self._modules[name] = module

    def ask(
        self, module: str, verb: str, pid: str, args: bytes, reply: ReplyTo | None = None
    ) -> None:
        """Ask the Python half of a Lua module; `reply` hears its answer."""
        try:
            self._modules[module].ask(verb, pid, args, reply)
        except PerdureError as error:
            self.refuse(reply, error)

    def lost(self, prefix: str) -> None:
        """The slots whose PIDs begin so are gone without a word."""
        for module in self._modules.values():
            module.lost(prefix)

    def outcome(self, pid: str, reply: ReplyTo) -> None:
        """`reply` gets the result of a process or workflow, now or when it ends."""
        host = self._host_of(pid)
        if host is None:
            self.refuse(reply, self._no_host(pid[1 : pid.find("|")]))
        else:
            host.deliver(["outcome", pid, *reply])

    def resolve(self, dest: str) -> str:
        """PID of a PID or name. Raises PerdureError NOT_FOUND for a name that nobody holds."""
        if is_pid(dest):
            if "|" not in dest:
                raise PerdureError(
                    Kind.INVALID, f'"{dest}" is not a PID: write it as {{host|unique}}'
                )
            return dest
        pid = self.lookup(dest)
        if pid is None:
            raise PerdureError(Kind.NOT_FOUND, f'no process holds the name "{dest}"')
        return pid

    def lookup(self, name: str) -> str | None:
        """PID of the process that holds a name, or of the open workflow of that id."""
        pid = self.names.lookup(name)
        if pid is not None:
            return pid
        for host in self._hosts.values():
            pid = host.lookup(name)
            if pid is not None:
                return pid
        return None

    def answer(self, reply: ReplyTo | None, value: bytes = TRUE, ok: bool = True) -> None:
        """Answer a request, if somebody waits."""
        if reply is not None:
            self.deliver(inputs.answer(reply[0], reply[1], ok, value))

    def refuse(self, reply: ReplyTo | None, error: PerdureError) -> None:
        """Answer a request with an error."""
        self.answer(reply, encode(error), ok=False)

    def refuse_spawn(self, request: SpawnRequest, error: PerdureError) -> None:
        """Tell those who wait for a start, or for its result, that there is none."""
        self.refuse(request.start.get("reply"), error)
        self.refuse(request.start.get("outcome"), error)


def reply_of(item: Input) -> ReplyTo | None:
    """Who waits for the answer to a message, control or name input."""
    place = 5
    return (item[place], item[place + 1]) if len(item) > place + 1 and item[place] else None


def key_of(item: Input) -> str | Origin | None:
    """Idempotency key of a message input."""
    return item[7] if len(item) > 7 else None
