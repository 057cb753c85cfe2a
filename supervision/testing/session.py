"""A node whose time passes only where nothing is to be done in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from runtime.codec import decode, encode_args
from runtime.errors import PerdureError
from runtime.ids import is_pid
from supervision.control.workflows import history, show
from supervision.node import Node
from supervision.rest import at_rest
from supervision.runs import host_of
from supervision.testing.effects import Effect, TestedFunctions
from supervision.testing.setting import Setting, only, read

#: Seconds between two looks at whether the node is at rest.
_LOOK: Final = 0.0005
#: Seconds that a stop may take before it is what waits for a time.
_STOPPING: Final = 0.2

#: How a wait ends: with what was waited for, at its time, because nothing will happen any more, or
#: with the test's patience.
DONE, TIME, IDLE, BUSY = "done", "time", "idle", "busy"


class VirtualClock:
    """Stands still until it is moved; nanoseconds since the epoch on both its faces."""

    def __init__(self, now: int) -> None:
        self.now = now

    def wall(self) -> int:
        return self.now

    def monotonic(self) -> int:
        return self.now


class Session:
    """A running node, driven by one thread. Its methods take and give plain values.

    Args:
        data: folder of all that it writes.
        now: nanoseconds since the epoch.
        patience: seconds of real time that a wait may take.
        perform, note: see `TestedFunctions`.
        on_time: told of each time that the clock moves to.
    """

    def __init__(
        self,
        setting: Setting,
        data: Path,
        now: int,
        patience: float,
        perform: Callable[..., Any],
        note: Callable[[Effect], None],
        on_time: Callable[[int], None] = lambda now: None,
    ) -> None:
        self._clock = VirtualClock(now)
        self._patience = patience
        self._on_time = on_time
        self.node = Node(
            read(setting, data),
            Path(setting.folder),
            data / "node",
            clock=self._clock,
            keeps_time=False,
            functions=partial(
                TestedFunctions, stand_ins=setting.stand_ins, perform=perform, note=note
            ),
        )
        self.node.start()

    @property
    def now(self) -> int:
        """The virtual time, ns since the epoch."""
        return self._clock.now

    # Requests -------------------------------------------------------------------------------------

    def spawn(
        self,
        entry: str,
        host: str | None,
        args: Sequence[Any],
        options: Mapping[str, Any],
        context: Mapping[str, Any] | None,
        key: str,
    ) -> str:
        """Start a workflow, once for each key, or a process; its PID."""
        host = host or only((each.id for each in self.node.workflow_hosts()), "workflow hosts")
        known = self.node.deployed.registry
        if entry in known and known.get(entry).kind.startswith("process."):
            return self.node.spawn(entry, host, *args, context=context)
        return self.node.spawn(entry, host, *args, options=options, context=context, key=key)

    def send(self, dest: str, topic: str, payload: Sequence[Any], key: str) -> None:
        """Send a message; to a workflow once for each key."""
        pid = self._pid(dest)
        to_workflow = any(pid.startswith(f"{{{each.id}|") for each in self.node.workflow_hosts())
        self.node.send(pid, topic, *payload, key=key if to_workflow else None)

    def cancel(self, dest: str, reason: str) -> None:
        self.node.cancel(self._pid(dest), reason)

    def terminate(self, dest: str) -> None:
        self.node.terminate(self._pid(dest))

    def show(self, workflow: str) -> dict[str, Any]:
        """How a workflow stands; see `supervision.control.workflows.show`."""
        return show(self.node, workflow)

    def history(self, workflow: str) -> list[dict[str, Any]]:
        """The timeline of a workflow; see `supervision.control.timeline`."""
        return history(self.node, workflow)

    def stop(self) -> None:
        """The orderly end; time passes for what takes its time."""
        stopping = threading.Thread(target=self.node.stop)
        stopping.start()
        stopping.join(_STOPPING)
        while stopping.is_alive():
            due = self.node.timers.next_awaited()
            if due is not None and at_rest(self.node.parts):
                self._move(due)
            stopping.join(_STOPPING)

    # Waiting --------------------------------------------------------------------------------------

    def result(self, dest: str, until: int | None) -> tuple[str, Any]:
        """Wait for the end of a workflow or process: how the wait ended, and what it returned.

        Raises PerdureError: what it failed with.
        """
        router = self.node.router
        pid = self._pid(dest)
        return self._answer(lambda done: router.outcome(pid, self.node.clients.expect(done)), until)

    def call(self, function: str, args: Sequence[Any], until: int | None) -> tuple[str, Any]:
        """Call a function and wait for its end, likewise."""
        start = self.node.calls.start
        return self._answer(lambda done: start(function, encode_args(args), None, done), until)

    def pass_time(self, until: int) -> tuple[str, Any]:
        """Let the time come, and everything that comes of it; how the wait ended."""
        return self._wait(lambda: False, until), None

    def _answer(
        self, ask: Callable[[Callable[[bool, bytes], None]], object], until: int | None
    ) -> tuple[str, Any]:
        answers: list[tuple[bool, bytes]] = []
        ask(lambda ok, value: answers.append((ok, value)))
        how = self._wait(lambda: bool(answers), until)
        if how != DONE:
            return how, None
        ok, value = answers[0]
        result = decode(value)
        if not ok:
            raise result
        return DONE, result

    def _wait(self, done: Callable[[], bool], until: int | None) -> str:
        """Wait until `done`, or a time; each time that nothing is under way, go to the next one at
        which something is due. `done` has to hold before the node comes to rest."""
        give_up = time.monotonic() + self._patience
        while not done():
            if time.monotonic() > give_up:
                return BUSY
            if not at_rest(self.node.parts):
                time.sleep(_LOOK)
            elif not done():
                due = self._next_due()
                if until is not None and (due is None or due > until):
                    self._move(until)
                    return TIME
                if due is None:
                    return IDLE
                self._move(due)
        return DONE

    def _next_due(self) -> int | None:
        """When something is due next, in this process or in a journal."""
        times = [each.next_due for each in self.node.workflow_hosts()]
        times.append(self.node.timers.next_awaited())
        return min((each for each in times if each is not None), default=None)

    def _move(self, now: int) -> None:
        self._clock.now = max(self._clock.now, now)
        self._on_time(self._clock.now)
        while self.node.timers.run_due():
            pass

    def _pid(self, dest: str) -> str:
        """PID of what is given by PID, name or workflow id."""
        if is_pid(dest):
            return dest
        try:
            host, workflow_id = host_of(self.node, dest)
        except PerdureError:
            return self.node.router.resolve(dest)
        return f"{{{host.id}|{workflow_id}}}"
