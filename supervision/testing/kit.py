"""The test kit: an application in a test, whose time is the test's."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from runtime.clock import timestamp
from runtime.config.units import parse_duration
from runtime.errors import Kind, PerdureError
from supervision.testing.crashes import (
    BOUNDARIES,
    CrashDifference,
    Crashes,
    Seen,
    difference,
    last_words,
    without_uuids,
)
from supervision.testing.effects import Effect, StandIns
from supervision.testing.mortal import Killed, MortalSession
from supervision.testing.session import BUSY, DONE, TIME, Session
from supervision.testing.setting import Setting, entry_id, write_app

#: When the virtual clock starts.
EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)

#: Seconds of real time that a wait may take.
PATIENCE: Final = 30.0


class Stuck(AssertionError):
    """What a test waits for is not going to happen."""


class Kit:
    """An application under test. The fixture `perdure` is one; used by one thread.

    Its node starts with the first request, on a clock that stands still while anything is under
    way. Where a test waits (`result`, `run`, `call`, `advance`), time jumps from one thing that is
    due to the next as soon as nothing else is to be done; so nothing ever takes the time it waits.

    Args:
        folder: for everything that is written; it has to be there, and empty.
        patience: seconds of real time that a wait may take.
    """

    def __init__(self, folder: Path, *, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
        self._setting = Setting("")
        self._workflows: dict[str, str] = {}
        self._stand_ins = StandIns({})
        self._now = int(EPOCH.timestamp()) * 1_000_000_000
        self._session: Session | MortalSession | None = None
        self._numbers = itertools.count(1)
        self._planned: list[tuple[int, int, tuple[Any, ...]]] = []
        #: For a kit whose nodes are killed: the faults of its boots, and what became of them.
        self._faults: list[str] | None = None
        self._deaths: list[list[str]] = []

    # What is under test ---------------------------------------------------------------------------

    def app(self, folder: str | Path, *overrides: str, services: bool = False) -> None:
        """Test the application in a folder; its journals and stores are the test's own.

        Args:
            overrides: fields, as `-o` of the command takes them: "app:orders:workers=1".
            services: start its process services and supervisors, too. One that looks around every
                second does so in virtual time as well: ninety days of that take their time.
        """
        self._before_start("app")
        self._setting = self._setting._replace(
            folder=str(Path(folder).resolve()), overrides=overrides, services=services
        )

    def workflow(self, name: str, source: str) -> str:
        """Test a workflow given as Lua source, without an application: its entry id, app:name.

        It may require any module. The source is the workflow itself, which gets its arguments as
        `...`.
        """
        self._before_start("workflow")
        self._workflows[name] = source
        return entry_id(name)

    def activity(self, function: str, stand_in: Any) -> None:
        """Answer for a function, which need not exist.

        Args:
            function: its entry id.
            stand_in: a function, called with plain values, which may raise PerdureError and use
                `ctx`; or an exception, raised by every call; or `in_turn(…)`; or what every call
                returns.
        """
        if function not in self._stand_ins.functions:
            self._before_start("activity")
        self._stand_ins.functions[function] = stand_in

    def _before_start(self, what: str) -> None:
        if self._session is not None:
            text = f"{what} comes before the first request: the node runs"
            raise PerdureError(Kind.INVALID, text)

    # Requests -------------------------------------------------------------------------------------

    def start(
        self,
        workflow: str,
        *args: Any,
        id: str | None = None,  # noqa: A002
        host: str | None = None,
        options: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a workflow, or a process where `host` is a process.host; its PID.

        Args:
            workflow: entry id; its name, where the test brought it.
            id: the workflow id; by default "<name>-<n>".
            host: by default the only workflow host.
            options: more start options.
            context: what `ctx.get` shows it.

        Raises PerdureError.
        """
        entry, number = entry_id(workflow), next(self._numbers)
        workflow_id = id or f"{entry.rpartition(':')[2]}-{number}"
        settings = {"workflow.id": workflow_id, **(options or {})}
        pid: str = self._do("spawn", entry, host, list(args), settings, context, f"start {number}")
        return pid

    def send(self, dest: str, topic: str, *payload: Any, after: str | timedelta = "0s") -> None:
        """Send a message to a workflow or process, by PID, workflow id or name.

        Args:
            after: a duration from now, as "3d" or a timedelta; the message is sent when a wait of
                the test's comes to that time.

        Raises PerdureError: now, or from the wait.
        """
        request = (dest, topic, list(payload), f"send {next(self._numbers)}")
        if delay := _nanoseconds(after):
            heapq.heappush(self._planned, (self._now_ns() + delay, next(self._numbers), request))
        else:
            self._do("send", *request)

    def cancel(self, dest: str, reason: str = "") -> None:
        """Ask a workflow or process to end. Raises PerdureError."""
        self._do("cancel", dest, reason)

    def terminate(self, dest: str) -> None:
        """End a workflow or process at once. Raises PerdureError."""
        self._do("terminate", dest)

    def result(self, dest: str) -> Any:
        """Let time pass until a workflow or process ends; what it returned.

        Raises PerdureError, what it failed with; Stuck when it waits for what will not happen.
        """
        return self._wait(f"the end of {dest}", dest, "result", dest)

    def run(self, workflow: str, *args: Any) -> Any:
        """Start a workflow and wait for its result."""
        return self.result(self.start(workflow, *args))

    def call(self, function: str, *args: Any) -> Any:
        """Call a function and let time pass until it returns. Raises PerdureError, or Stuck."""
        return self._wait(f"the end of {function}", None, "call", function, list(args))

    def advance(self, duration: str | timedelta) -> None:
        """Let time pass, and everything happen that falls into it."""
        end = self._now_ns() + _nanoseconds(duration)
        while self._planned and self._planned[0][0] <= end:
            self._pass_time(self._planned[0][0])
            self._send_planned()
        self._pass_time(end)

    def restart(self) -> None:
        """Stop the node in order; the next request starts it again, on the same journal."""
        self.close()

    # What there is to see -------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual time; it starts at 2025-01-01T00:00:00Z."""
        seconds, nanoseconds = divmod(self._now_ns(), 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanoseconds // 1000)

    @property
    def effects(self) -> list[Effect]:
        """Every call of a Python function or stand-in so far."""
        return list(self._stand_ins.effects)

    def calls(self, function: str) -> list[list[Any]]:
        """The arguments of each call of a Python function or stand-in so far."""
        return [each.args for each in self._stand_ins.effects if each.function == function]

    def show(self, workflow: str) -> dict[str, Any]:
        """How a workflow stands: status, pending, problem, result or error … ."""
        shown: dict[str, Any] = self._do("show", workflow)
        return shown

    def history(self, workflow: str) -> list[dict[str, Any]]:
        """The history of a workflow: seq, at, type, text, data of each record."""
        records: list[dict[str, Any]] = self._do("history", workflow)
        return records

    # Crashes --------------------------------------------------------------------------------------

    def crash_everywhere(
        self,
        workflow: str | Callable[[Kit], Any],
        *args: Any,
        same: Callable[[Any], Any] = without_uuids,
    ) -> Crashes:
        """Kill the node at every boundary of the journal, and see that nothing else comes of it.

        The workflow runs once undisturbed; then, for each transaction of the journal, once with a
        node that is killed (-9) just before it is committed, and once with one that is killed just
        after, before anybody hears of it. Each is booted again, and goes on to the end. Compared
        are the outcome and the calls of Python functions and stand-ins, counting those with the
        same activity.key once.

        Nodes run in child processes, with data of their own and this kit's application; stand-ins
        run in the test's process, as the world outside, which does not crash.

        Args:
            workflow: an entry id, run with `args`; or a scenario, a function that is called with a
                new kit for each run, makes requests, and returns the outcome to compare. Its
                requests outlive crashes: they are made again, with the same idempotency keys.
                State of stand-ins belongs into it, so that each run begins with a new one.
            same: applied to outcomes and arguments before they are compared; by default all UUIDs
                are the same.

        Raises CrashDifference with the boundary and what differs; what the undisturbed run raises.
        """
        if callable(workflow):
            name, scenario = getattr(workflow, "__name__", "the scenario"), workflow
        else:
            name, scenario = workflow, lambda kit: kit.run(workflow, *args)
        expected = self._observe(scenario, [])
        if expected.failure is not None:
            raise expected.failure
        kills = 0
        for commit in itertools.count(1):
            before = kills
            for point, when in BOUNDARIES.items():
                seen = self._observe(scenario, [f"{point}:{commit}"])
                kills += len(seen.deaths)
                if lines := difference(expected, seen, same):
                    text = "\n  ".join([f"{name}, killed {when} commit {commit}:", *lines])
                    raise CrashDifference(text) from seen.failure
            if kills == before:
                return Crashes(commit - 1, kills, expected.value)
        raise AssertionError  # never

    def _observe(self, scenario: Callable[[Kit], Any], faults: list[str]) -> Seen:
        """Run a scenario on nodes of which each boot has one of these faults, then none."""
        kit = Kit(self._folder / f"crash-{next(self._numbers)}", patience=self._patience)
        kit._setting, kit._workflows = self._setting, dict(self._workflows)
        kit._stand_ins = StandIns(self._stand_ins.functions)
        kit._faults = faults
        value, failure = None, None
        try:
            value = scenario(kit)
            kit._pass_time(kit._now_ns())  # what is under way belongs to it
        except Exception as error:
            failure = error
        finally:
            kit.close()
        return Seen(value, failure, kit._stand_ins.effects, kit._deaths)

    # The node -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the node, if it runs."""
        session, self._session = self._session, None
        if session is None:
            return
        self._now = session.now
        if isinstance(session, Session):
            session.stop()
        else:
            session.kill()

    def _do(self, op: str, *args: Any) -> Any:
        """Make a request; again, when the node was killed meanwhile."""
        while True:
            try:
                if self._session is None:
                    self._session = self._boot()
                if isinstance(self._session, Session):
                    return getattr(self._session, op)(*args)
                return self._session.do(op, *args)
            except Killed:
                self._now = self._session.now if self._session is not None else self._now
                self._session = None
                self._deaths.append(last_words(self._data))

    def _boot(self) -> Session | MortalSession:
        if not self._setting.folder:
            folder = self._folder / "app"
            write_app(folder, self._workflows)
            self._setting = self._setting._replace(folder=str(folder))
        setting = self._setting._replace(stand_ins=tuple(sorted(self._stand_ins.functions)))
        given, stand_ins = (setting, self._data, self._now, self._patience), self._stand_ins
        if self._faults is None:
            return Session(*given, stand_ins.perform, stand_ins.note)
        return MortalSession(*given, stand_ins, self._faults.pop(0) if self._faults else None)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _now_ns(self) -> int:
        return self._now if self._session is None else self._session.now

    # Waiting --------------------------------------------------------------------------------------

    def _wait(self, what: str, workflow: str | None, op: str, *args: Any) -> Any:
        while True:
            until = self._planned[0][0] if self._planned else None
            how, value = self._do(op, *args, until)
            if how == DONE:
                return value
            if how != TIME:
                raise Stuck(self._why(what, workflow, how))
            self._send_planned()

    def _pass_time(self, until: int) -> None:
        how, _ = self._do("pass_time", until)
        if how == BUSY:
            raise Stuck(self._why(f"rest at {timestamp(until)}", None, how))

    def _send_planned(self) -> None:
        self._do("send", *heapq.heappop(self._planned)[2])

    def _why(self, what: str, workflow: str | None, how: str) -> str:
        if how == BUSY:
            text = f"{what} did not come within {self._patience:g}s of real time: it is"
            return f"{text} {self.now.isoformat()} there, and something is still under way"
        text = f"{what} will not come: nothing is under way and nothing is due"
        if workflow is None:
            return text
        try:
            shown = self.show(workflow)
        except PerdureError:
            return text
        if shown["problem"]:
            return f"{text}; it is {shown['status']}: {shown['problem']}"
        waits = [f"{each['type']} {each.get('target', '')}".strip() for each in shown["pending"]]
        return f"{text}; it waits for {', '.join(waits) or 'a message, or a channel of its own'}"


def _nanoseconds(duration: str | timedelta) -> int:
    if isinstance(duration, timedelta):
        return duration // timedelta(microseconds=1) * 1000
    return parse_duration(duration)
