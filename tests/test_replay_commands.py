"""Generated workflows give the same commands live and on replay, whatever order answers come in.

The machine alone is driven here: a scripted host answers its requests in an order that Hypothesis
chooses, a step at a time; then a fresh machine, with another hash seed, gets the recorded steps.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosts.durable import history
from hosts.durable.records import command_of, record_of, wire_of
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode_args, encode, encode_args
from runtime.commands import decode_commands, encode_commands
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, Packed
from runtime.lua.machine import Machine
from tests.durable_lab import as_main
from tests.machine_harness import EPOCH, PID_PREFIX, StillClock, entry
from tests.test_replay_property import Program, programs

PID = "{app:orders|run}"


def make_machine(source: str) -> Machine:
    machine = Machine("app:orders", PID_PREFIX, StillClock())
    machine.define({"app:program": entry(as_main(source), "workflow.lua", method="main")})
    return machine


def answer_to(command: c.Command) -> list[Input]:
    """What a host would answer in the end."""
    if isinstance(command, c.Call):
        if command.target == "app:fails":
            error = PerdureError(Kind.CONFLICT, f"number {decode_args(command.args)[0]}", True)
            return [inputs.answer(PID, command.seq, False, encode(error))]
        return [inputs.answer(PID, command.seq, True, encode(decode_args(command.args)))]
    if isinstance(command, c.StartTimer):
        return [inputs.answer(PID, command.seq, True, encode(None))]
    if isinstance(command, c.Spawn):
        child = f"{{app:orders|child-{command.seq}}}"
        if command.flags & c.EXEC:
            return [inputs.answer(PID, command.seq, True, encode([1, 2]))]
        event = {"kind": "pid.exit", "from": child, "at": EPOCH, "result": {"value": 7}}
        return [
            inputs.answer(PID, command.seq, True, encode(child)),
            inputs.signal(PID, encode(event)),
        ]
    if isinstance(command, (c.Send, c.Control, c.Name)):
        return [inputs.answer(PID, command.seq, True, encode(True))]
    return []


def run_live(program: Program, choose: st.DataObject) -> tuple[list[Input], list[c.Command]]:
    """Steps as they would be recorded, and the commands of all of them."""
    machine = make_machine(program.source())
    start: inputs.StartOptions = {
        "durable": True,
        "seed": bytes(range(32)),
        "info": {"host": "app:orders", "workflow_id": "run"},
    }
    waiting: deque[list[Input]] = deque(
        [inputs.message(PID, "signal", "", encode_args([{"n": n}]))] for n in range(program.signals)
    )
    given: list[Input] = [inputs.start(PID, "app:program", encode_args(["{peer|1}"]), start)]
    steps: list[Input] = []
    commands: list[c.Command] = []
    now = EPOCH
    while True:
        now += choose.draw(st.integers(0, 10**9), "time")
        _, issued = machine.step([inputs.step(PID, now, None, given, len(commands), 0)])
        values = [(each.kind, each.value) for each in issued if isinstance(each, c.Value)]
        steps.append(inputs.step(PID, now, values, given, len(commands), 0))
        commands += issued
        if any(isinstance(each, c.Ended) for each in issued):
            return steps, commands
        waiting.extend(answers for each in issued if (answers := answer_to(each)))
        given = []
        for _ in range(choose.draw(st.integers(1, 3), "answers at once")):
            if waiting:
                waiting.rotate(choose.draw(st.integers(0, len(waiting) - 1), "which"))
                first, *rest = waiting.popleft()
                given.append(first)
                if rest:
                    waiting.append(rest)
        assert given, "the program waits for what nobody gives"


def takes_one_answer(step: Input) -> bool:
    _, _, _, values, taken, _, _ = step
    return len(taken) == 1 and taken[0][0] == "answer" and not values


def packed(steps: list[Input]) -> list[Input | Packed]:
    """The same, those that take one answer together in the fixed layout."""
    batch: list[Input | Packed] = []
    for one_answer, group in groupby(steps, takes_one_answer):
        if one_answer:
            answered = [
                (ok, seq, now, length, size, value)
                for _, _, now, _, ((_, _, seq, ok, value),), length, size in group
            ]
            batch.append(inputs.replayed(PID, answered))
        else:
            batch += group
    return batch


def records(commands: list[c.Command]) -> list[Any]:
    return [history.plain(record) for each in commands if (record := record_of(each)) is not None]


def compare(program: Program, data: st.DataObject) -> None:
    """A node may have died after any step: each prefix of a history gives a prefix of the commands,
    on a VM whose hash seed is another."""
    steps, commands = run_live(program, data)
    live = records(commands)
    assert live
    assert live[-1][0] in ("completed", "failed")
    machine = make_machine(program.source())
    for end in range(1, len(steps) + 1):
        _, given = machine.exchange(steps[:end], 0)
        some = decode_commands(given)
        assert records(some) == live[: len(records(some))]
        if len(some) < len(live):
            again = encode_commands([wire_of(PID, record) for record in records(some)])
            assert given == again, "so a replay that fits needs no decoding"
        machine.step([inputs.drop(PID)])
    assert records(some) == live
    assert machine.exchange(packed(steps), 0)[1] == given
    for record in live:
        command = command_of(PID, record)
        assert command is None or history.plain(record_of(command)) == record


@settings(deadline=None, max_examples=150)
@given(programs(), st.data())
def test_live_and_replayed_runs_give_the_same_commands(
    program: Program, data: st.DataObject
) -> None:
    compare(program, data)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.data())
def test_every_prefix_of_a_thousand_workflows(program: Program, data: st.DataObject) -> None:
    compare(program, data)


def test_a_replay_of_other_code_gives_other_commands() -> None:
    """The property above can fail."""
    program = Program(['funcs.call("app:effect", 1)'])
    machine = make_machine(program.source())
    start: inputs.StartOptions = {"durable": True, "seed": bytes(32), "info": {}}
    first = inputs.start(PID, "app:program", encode_args(["{peer|1}"]), start)
    steps = [inputs.step(PID, EPOCH, [], [first])]
    _, live = machine.step(steps)
    other = make_machine(program.source().replace("effect", "other"))
    _, replayed = other.step(steps)
    assert records(live) != records(replayed)
