"""What Python code asks of its node, as Lua code does with `process` and `funcs`.

Each request waits for its answer, and fails with the error that Lua would get as second result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hosts.calls import Calls
from hosts.clients import Clients
from hosts.limits import Limits
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode, encode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo, StartOptions
from runtime.routing.router import Router, SpawnRequest

#: Seconds that `send`, `spawn` and the like wait for their acknowledgement.
ACKNOWLEDGED_WITHIN: Final = 30.0


class Requests:
    """The requests of one party. Safe to call from any thread.

    Args:
        sender: its PID; "" for code outside of processes.
        context: what is spawned or called from here inherits.
    """

    def __init__(
        self,
        router: Router,
        clients: Clients,
        calls: Calls,
        sender: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self._router = router
        self._clients = clients
        self._calls = calls
        self._sender = sender
        self._context = dict(context or {})
        self._cancels: set[Callable[[], None]] = set()
        self._closed: PerdureError | None = None

    def close(self, why: PerdureError) -> None:
        """Cancel the calls that are under way, and answer `why` to every further request."""
        self._closed = why
        for cancel in list(self._cancels):
            cancel()

    def spawn(
        self,
        entry: str,
        host: str,
        args: bytes,
        *,
        flags: int = 0,
        name: str | None = None,
        context: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        key: str | None = None,
        terminal: list[str] | None = None,
    ) -> str:
        """Start a process or workflow; its PID. `flags`: see `runtime.commands.Spawn`."""
        start: StartOptions = {}
        if self._sender:
            start["parent"] = self._sender
        if flags & c.MONITORED:
            start["watchers"] = [self._sender]
        if flags & c.LINKED:
            start["links"] = [self._sender]
        if inherited := self._inherited(context):
            start["context"] = inherited
        if terminal is not None:
            start["terminal"] = terminal
        request = SpawnRequest(entry, host, args, start, name, dict(options or {}), key)

        def ask(reply: ReplyTo) -> None:
            def answered(ok: bool, value: bytes) -> None:
                if ok and flags & c.LINKED:
                    self._tie("link", decode(value))  # ahead of its end
                self._router.answer(reply, value, ok)

            start["reply"] = self._clients.expect(answered)
            self._router.spawn(request)

        return str(self._ask(ask, f"spawn of {entry} on {host}"))

    def send(self, dest: str, topic: str, args: bytes, key: str | None = None) -> None:
        """Send a message to a PID or name; `key` is an idempotency key."""
        if not topic or topic.startswith("@"):
            text = f'topic "{topic}": use a text that does not start with @'
            raise PerdureError(Kind.INVALID, text)
        encode(topic)  # raises for text that is not Unicode
        self._ask(
            lambda reply: self._router.send(dest, topic, self._sender, args, reply, key),
            f"send to {dest}",
        )

    def control(self, verb: str, dest: str, reason: str | None = None) -> None:
        """cancel, terminate, monitor or unmonitor a PID or name."""
        self._ask(
            lambda reply: self._router.control(dest, verb, self._sender, reason, reply),
            f"{verb} of {dest}",
        )

    def link(self, verb: str, dest: str) -> None:
        """link or unlink a PID or name; a link has two ends."""
        pid = self._router.resolve(dest)
        self._tie(verb, pid)  # ahead of the answer, which may come behind its end
        try:
            self.control(verb, pid)
        except PerdureError:
            self._tie("unlink", pid)
            raise

    def _tie(self, verb: str, pid: str) -> None:
        self._router.deliver(inputs.control(self._sender, verb, pid, None))

    def name(self, verb: str, name: str, pid: str) -> None:
        """register a name for a process, or unregister it."""
        if verb == "unregister":
            self._router.names.unregister(name)
            return
        # Whoever runs the process gives the name, so that none outlives it.
        self._ask(
            lambda reply: self._router.deliver(inputs.name(pid, name, reply)), f'name "{name}"'
        )

    def call(
        self,
        entry: str,
        args: tuple[Any, ...],
        timeout: float | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function and wait for its result; `timeout` is seconds."""
        payload, inherited = encode_args(args), self._inherited(context)
        limits = Limits(total=None if timeout is None else int(timeout * 1e9))
        within = self._calls.pools_waiting_for(self._sender)

        def ask(reply: ReplyTo) -> None:
            def done(ok: bool, value: bytes) -> None:
                self._cancels.discard(cancel)
                self._router.answer(reply, value, ok)

            cancel: Callable[[], None] = lambda: None  # noqa: E731
            cancel = self._calls.attempt(entry, payload, inherited, done, limits, within=within)
            self._cancels.add(cancel)
            if self._closed or not self._clients.waits(reply):
                # It ended, or this party did, before `attempt` came back.
                self._cancels.discard(cancel)
                cancel()

        return self._ask(ask, f"call of {entry}", None)

    def ask(self, module: str, verb: str, *values: Any) -> Any:
        """Ask a module of the node, as its Lua half does, and wait for the answer."""
        args = encode_args(values)
        return self._ask(
            lambda reply: self._router.ask(module, verb, self._sender, args, reply),
            f"{module}.{verb}",
        )

    def tell(self, module: str, verb: str, *values: Any) -> None:
        """Tell a module of the node something; nobody waits."""
        self._router.ask(module, verb, self._sender, encode_args(values))

    def _inherited(self, context: Mapping[str, Any] | None) -> bytes | None:
        if not self._context and context is None:
            return None
        return encode({**self._context, **(context or {})})

    def _ask(
        self,
        request: Callable[[ReplyTo], None],
        what: str,
        timeout: float | None = ACKNOWLEDGED_WITHIN,
    ) -> Any:
        if self._closed:
            raise self._closed
        return self._clients.ask(request, timeout, what)
