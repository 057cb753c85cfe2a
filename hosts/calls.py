"""Function calls from anywhere: which function, in which pool, how long, how often.

Python functions run in `hosts.functions`. Lua functions run in pools of VM workers that belong to
no process (`hosts.process.pool`): a shared one for calls that come from outside of a VM, and one
for each function that has its own. A process entry with `meta.default_host` is called by spawning
it there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from hosts.call_options import CallOptions
from hosts.clients import Clients, Done
from hosts.deployed import Deployed
from hosts.functions import PythonFunctions
from hosts.limits import NO_LIMITS, Limits, Watch
from hosts.outcomes import Result, encode_result
from hosts.pids import vm_of
from hosts.retry import Retried
from hosts.timers import Timers
from runtime import inputs
from runtime.codec import decode, decode_args, encode
from runtime.config.kinds import PROCESS_KINDS
from runtime.errors import Kind, PerdureError
from runtime.ids import EntryId
from runtime.inputs import StartOptions
from runtime.routing.router import Router, SpawnRequest

#: Host of the VM workers that Lua functions share. It has no namespace, so no entry can have the
#: same id.
HOST: Final = "functions"
#: Begins the id of a function's own pool.
POOL_PREFIX: Final = f"{HOST}/"
#: Pool types of functions with VMs of their own.
OWN_POOLS: Final = ("static", "lazy")

Cancel = Callable[[], None]


class Calls:
    """Starts function calls. Safe to call from any thread."""

    def __init__(
        self,
        deployed: Deployed,
        python: PythonFunctions,
        router: Router,
        clients: Clients,
        timers: Timers,
    ) -> None:
        self._deployed = deployed
        self._python = python
        self._router = router
        self._clients = clients
        self._timers = timers
        #: VM prefix or PID of a called slot -> its PID, and the pools that wait for its end.
        self._within: dict[str, tuple[str, frozenset[str]]] = {}

    def start(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        *,
        options: bytes | None = None,
        on_heartbeat: Callable[[Any], None] | None = None,
        caller: str = "",
    ) -> Cancel:
        """Call `target`; `done(ok, value)` hears its end once. Returns what cancels it.

        caller: PID of the slot that calls, "" for Python.
        options: encoded map, see `hosts.call_options`.
        """
        try:
            timeout, policy = CallOptions.read(decode(options)) if options else CallOptions()
        except PerdureError as error:
            done(False, encode(error))
            return lambda: None
        within = self.pools_waiting_for(caller)
        limits = Limits(total=timeout)
        if policy is None:
            return self.attempt(target, args, context, done, limits, on_heartbeat, within)
        attempt: Callable[[Done], Cancel] = lambda ended: self.attempt(  # noqa: E731
            target, args, context, ended, limits, on_heartbeat, within
        )
        return Retried(attempt, done, policy, self._timers).cancel

    def attempt(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        limits: Limits = NO_LIMITS,
        on_heartbeat: Callable[[Any], None] | None = None,
        within: frozenset[str] = frozenset(),
        patient: bool = False,
    ) -> Cancel:
        """One attempt.

        limits: it ends with TIMEOUT when it exceeds one. Lua functions need not give heartbeats:
            what could take one away silently takes the node.
        within: the function pools that wait for its end, see `hosts.process.pool`.
        patient: what is returned tells the function that it is cancelled, and `done` hears what
            the function makes of that.
        """
        try:
            entry = self._deployed.registry.get(str(EntryId.parse(target)))
            if entry.kind == "function.python":
                return self._start_python(
                    target, args, context, done, limits, on_heartbeat, patient
                )
            limits = limits._replace(heartbeat=None)
            if entry.kind == "function.lua":
                own = entry.data["pool"]["type"] in OWN_POOLS
                host = pool_id(target) if own else HOST
                return self._spawn(target, host, args, context, done, limits, within, patient)
            if entry.kind in PROCESS_KINDS and "default_host" in entry.meta:
                host = str(entry.meta["default_host"])
                host = host if ":" in host else f"{entry.namespace}:{host}"
                return self._spawn(target, host, args, context, done, limits, within, patient)
            raise PerdureError(
                Kind.INVALID,
                f"{target} is a {entry.kind}: call a function.lua, a function.python, or a "
                "process with meta.default_host",
            )
        except PerdureError as error:
            done(False, encode(error))
            return lambda: None

    def _start_python(
        self,
        target: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        limits: Limits,
        on_heartbeat: Callable[[Any], None] | None,
        patient: bool,
    ) -> Cancel:
        def finished(result: Result) -> None:
            done(*encode_result(target, result))

        call = self._python.submit(
            target,
            decode_args(args),
            decode(context) if context else {},
            finished,
            limits,
            on_heartbeat,
        )
        return call.ask_to_end if patient else call.cancel

    def _spawn(
        self,
        target: str,
        host: str,
        args: bytes,
        context: bytes | None,
        done: Done,
        limits: Limits,
        within: frozenset[str],
        patient: bool,
    ) -> Cancel:
        lock = threading.Lock()
        state: dict[str, Any] = {"pid": None, "over": False, "cancelled": False, "why": "canceled"}

        def end(ok: bool, value: bytes) -> None:
            with lock:
                if state["over"]:
                    return
                state["over"] = True
            watch.stop()
            if state["pid"] is not None:
                self._returned(state["pid"])
            self._clients.forget(start["outcome"])
            done(ok, value)

        def stop(verb: str, reason: str | None = None) -> None:
            if state["pid"] is not None:
                self._router.deliver(inputs.control(state["pid"], verb, "", reason))

        def started(ok: bool, value: bytes) -> None:
            if not ok:
                end(False, value)
                return
            state["pid"] = decode(value)
            self._called(state["pid"], host, within)
            watch.started()
            if state["over"]:
                stop("abandon", state["why"])
            elif state["cancelled"]:
                stop("cancel")

        def give_up(error: PerdureError) -> None:
            state["why"] = error.message
            end(False, encode(error))
            stop("abandon", error.message)

        def cancel() -> None:
            if patient:
                state["cancelled"] = True
                stop("cancel")
            else:
                give_up(PerdureError(Kind.CANCELED, "canceled"))

        watch = Watch(limits, self._timers, target, give_up)
        start: StartOptions = {
            "reply": self._clients.expect(started),
            "outcome": self._clients.expect(end),
        }
        if context is not None:
            start["context"] = context
        watch.requested()
        self._router.spawn(SpawnRequest(target, host, args, start, within=within))
        return cancel

    def _called(self, pid: str, host: str, within: frozenset[str]) -> None:
        """A called slot has started. A VM of a pool runs one call, whatever that calls inline."""
        if host.startswith(POOL_PREFIX):
            self._within[vm_of(pid)] = (pid, within | {host})
        elif within:
            self._within[pid] = (pid, within)

    def _returned(self, pid: str) -> None:
        for key in (vm_of(pid), pid):
            if self._within.get(key, ("", frozenset()))[0] == pid:
                self._within.pop(key, None)

    def pools_waiting_for(self, caller: str) -> frozenset[str]:
        """Which function pools wait for the slot of that PID to end."""
        found = self._within.get(vm_of(caller)) or self._within.get(caller)
        return found[1] if found else frozenset()


def pool_id(entry: str) -> str:
    """Host id of a function's own pool."""
    return POOL_PREFIX + entry
