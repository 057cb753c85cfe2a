"""Replay: a run is rebuilt from its history.

A history goes into the machine bite by bite, so that a long one, or one with large payloads, is
never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from hosts.durable import history
from hosts.durable.execution import Execution
from hosts.durable.history import Mismatch
from hosts.durable.records import Record, Step, Steps, record_of
from runtime.commands import Place
from runtime.lua.machine import Machine

#: What is replayed in one crossing at most: steps, and bytes of payloads. With more steps their
#: records outgrow the processor's cache, and outlive a young collection of garbage.
_STEPS: Final = 100
_BYTES: Final = 1 << 20


def replay(
    execution: Execution,
    recorded: Iterable[Record],
    attempts: dict[int, list[Any]],
    machine: Machine,
    definition_of: Callable[[dict[str, Any]], str],
) -> Mismatch | None:
    """Bring a fresh execution and its slot in the machine to the end of a history.

    Args:
        attempts: what the journal keeps besides of pending activities, by number.
        definition_of: what the machine runs the run as, by the content of its `started` record.

    Returns how the code differs from the history, where it does; the execution is brought to the
    end of it all the same. Raises what reading the history raises, and OutOfMemoryError when the
    machine is full; slot and execution are not to be used then.
    """
    steps = Steps()
    mismatch, count = None, 0
    for bite in _bites(steps.of(recorded)):
        if mismatch is None:
            execution.definition = definition_of(steps.started)
            _, commands = machine.exchange(history.step_inputs(execution, bite), 0)
            try:
                count = history.check(execution.pid, bite, commands, count)
            except Mismatch as found:
                mismatch = found
        for step in bite:
            execution.pass_by(step)
    if not execution.length:
        execution.definition = definition_of(steps.started)
    _arrive(execution, steps, attempts)
    return mismatch


def restore(
    execution: Execution, recorded: Iterable[Record], attempts: dict[int, list[Any]]
) -> Steps:
    """Bring the bookkeeping of a fresh execution to the end of a history, and run nothing.

    Args:
        attempts: as of `replay`.
    """
    steps = Steps()
    for step in steps.of(recorded):
        execution.pass_by(step)
    _arrive(execution, steps, attempts)
    return steps


def _arrive(execution: Execution, steps: Steps, attempts: dict[int, list[Any]]) -> None:
    if steps.waiting and steps.waiting[0][0] == "started":
        execution.begin(steps.started)
    for record in steps.waiting:
        execution.consume(record, None)
    execution.waiting = steps.waiting
    execution.length, execution.size = steps.length, steps.size
    execution.busy = bool(execution.activities)
    for seq, activity in execution.activities.items():
        activity.restored = True
        if seq in attempts:
            activity.restore(attempts[seq])


def source_line(
    execution: Execution, recorded: Iterable[Record], machine: Machine, position: int
) -> str:
    """Where in the source a command is issued: "file:line", "" where that cannot be told.

    Args:
        position: which command of the run, from 1.

    Replays into a slot of the machine that is not to be used afterwards.
    """
    source, count, first = "", 0, True
    for bite in _bites(Steps().of(recorded)):
        batch: list[Any] = history.step_inputs(execution, bite)
        if first:
            # The first input of a history is its start; options come last in it.
            batch[0][4][0][4]["traced"] = True
            first = False
        for command in machine.step(batch, 0)[1]:
            if isinstance(command, Place):
                source = command.source
            elif record_of(command) is not None:
                count += 1
                if count == position:
                    return source
                source = ""
    return ""


def _bites(steps: Iterable[Step]) -> Iterator[list[Step]]:
    bite: list[Step] = []
    for step in steps:
        bite.append(step)
        if len(bite) == _STEPS or step.size - bite[0].size > _BYTES:
            yield bite
            bite = []
    if bite:
        yield bite
