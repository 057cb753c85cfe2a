"""Drives a Lua machine without a host: entries from sources, commands kept for inspection.

`Node` answers what a test scripts and nothing else; messages and timers between processes of the
one machine need no answer at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, decode_args, encode, encode_args
from runtime.config.code_fields import MODULES
from runtime.errors import PerdureError
from runtime.inputs import Input, StartOptions
from runtime.lua.machine import Definition, Machine

ALL_MODULES = sorted(set(MODULES) - {"process", "channel"})
HOST = "app:processes"
PID_PREFIX = f"{{{HOST}|0x1001"
#: Who asks in tests.
TEST = ("{test|1}", 1)
#: The one run of `Run`.
RUN = "{app:orders|run}"
#: 2025-01-01T00:00:00Z
EPOCH = 1_735_689_600_000_000_000

CommandT = TypeVar("CommandT")


class StillClock:
    """Stands where a test puts it."""

    def __init__(self, now: int = EPOCH) -> None:
        self.now = now

    def wall(self) -> int:
        return self.now

    def monotonic(self) -> int:
        return self.now


def entry(
    source: str,
    kind: str = "process.lua",
    *,
    method: str = "",
    modules: Sequence[str] = ALL_MODULES,
    imports: dict[str, str] | None = None,
    chunk: str = "main.lua",
) -> Definition:
    """A definition; functions are inline."""
    return Definition(
        kind, source, chunk, method, list(modules), imports or {}, kind == "function.lua"
    )


class Node:
    """A machine and what came out of it.

    Args:
        sources: entry name (in namespace app) to source or definition.
        fuel, memory, growth: as for Machine.
    """

    def __init__(
        self,
        sources: dict[str, str | Definition],
        *,
        fuel: int = 5_000_000,
        memory: int = 1 << 28,
        growth: int = 0,
    ) -> None:
        self.clock = StillClock()
        self.machine = Machine(
            HOST, PID_PREFIX, self.clock, fuel=fuel, memory=memory, growth=growth
        )
        self.machine.define(
            {
                f"app:{name}": source if isinstance(source, Definition) else entry(source)
                for name, source in sources.items()
            }
        )
        self.commands: list[c.Command] = []

    def step(self, *batch: Input) -> list[c.Command]:
        """Apply inputs and run until nothing is ready; the commands that this gave."""
        more, commands = self.machine.step(batch)
        while more:
            more, further = self.machine.step([])
            commands += further
        self.commands += commands
        return commands

    def start(self, name: str, *args: Any, pid: str | None = None, **options: Any) -> str:
        """Start a process without running it; its PID."""
        start: StartOptions = {"process": True, "reply": TEST, **options}  # type: ignore[typeddict-item]
        _, commands = self.machine.step(
            [inputs.start(pid, f"app:{name}", encode_args(args), start)], 0
        )
        (reply,) = (command for command in commands if isinstance(command, c.Answer))
        value = decode(reply.value)
        if not reply.ok:
            raise value
        return str(value)

    def run(self, name: str, *args: Any, **options: Any) -> Any:
        """Start a process, run to the end, return its result; raise its error."""
        pid = self.start(name, *args, **options)
        self.step()
        return self.result(pid)

    def result(self, pid: str) -> Any:
        """The result of an ended process; raises its error."""
        ends = [command for command in self.of(c.Ended) if command.pid == pid]
        assert len(ends) == 1, f"{pid} has ended {len(ends)} times; it gave {self.commands}"
        value = decode(ends[0].value)
        if not ends[0].ok:
            assert isinstance(value, PerdureError)
            raise value
        return value

    def alive(self, pid: str) -> bool:
        return all(command.pid != pid for command in self.of(c.Ended))

    def send(self, pid: str, topic: str, *args: Any) -> list[c.Command]:
        return self.step(inputs.message(pid, topic, "{test|1}", encode_args(args)))

    def answer(self, command: Any, value: Any = True, *, ok: bool = True) -> list[c.Command]:
        """Answer a request and go on."""
        return self.step(inputs.answer(command.pid, command.seq, ok, encode(value)))

    def of(self, kind: type[CommandT]) -> list[CommandT]:
        """Commands of one class so far."""
        return [command for command in self.commands if isinstance(command, kind)]

    def last(self, kind: type[CommandT]) -> CommandT:
        return self.of(kind)[-1]

    def logged(self) -> list[str]:
        """What was printed or logged."""
        return [command.message for command in self.of(c.Log)]


class Run:
    """A workflow run, step by step; `recorded` and `steps` are what a history would keep."""

    def __init__(
        self,
        source: str,
        *,
        seed: bytes = bytes(range(32)),
        now: int = EPOCH,
        **limits: int,
    ) -> None:
        self.source = source
        self.node = Node({"main": entry(source, "workflow.lua")}, **limits)
        self.steps: list[Input] = []
        self.now = now
        self.first = inputs.start(
            RUN,
            "app:main",
            encode_args([]),
            {
                "durable": True,
                "seed": seed,
                "info": {"host": "app:orders", "workflow_id": "run", "attempt": 1},
            },
        )

    def step(self, *given: Input, later: int = 0) -> list[c.Command]:
        batch = list(given) if self.steps else [self.first, *given]
        self.now += later
        commands = self.node.step(inputs.step(RUN, self.now, None, batch, len(self.steps), 100))
        values = [(value.kind, value.value) for value in commands if isinstance(value, c.Value)]
        self.steps.append(inputs.step(RUN, self.now, values, batch, len(self.steps), 100))
        return commands

    def answer(self, command: Any, value: Any = None, **options: int) -> list[c.Command]:
        return self.step(inputs.answer(RUN, command.seq, True, encode(value)), **options)

    def result(self) -> Any:
        return self.node.result(RUN)

    def replay(self, source: str | None = None) -> Node:
        """The same steps in one batch on a fresh machine."""
        again = Node({"main": entry(source or self.source, "workflow.lua")})
        again.step(*self.steps)
        return again


def run(source: str, *args: Any, **options: Any) -> Any:
    """The result of a process with this source, alone in a machine; raises its error."""
    return Node({"main": source}, **options).run("main", *args)


def everywhere(source: str) -> Any:
    """The result of code that waits for nothing, the same as a process, a function, a workflow.

    What differs between two runs of it is not for this; a replay of the workflow gives the same.
    """
    node = Node({"main": source, "function": entry(source, "function.lua")})
    result = node.run("main")
    assert node.run("function", process=False) == result
    workflow = Run(source)
    workflow.step()
    assert workflow.result() == result
    assert workflow.replay().result(RUN) == result
    return result


def error_of(action: Callable[[], object]) -> PerdureError:
    """The error that an action raises."""
    try:
        action()
    except PerdureError as error:
        return error
    raise AssertionError("no error was raised")


def payload(command: c.Send | c.Call | c.Spawn) -> list[Any]:
    """The arguments of a command."""
    return decode_args(command.args)
