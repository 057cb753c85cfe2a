"""Messages between VMs travel in parcels; whoever looks into one sees what a VM would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime import inputs
from runtime.codec import decode, decode_args, encode_args
from runtime.commands import Command, Parcel, Send
from runtime.errors import Kind
from runtime.inbox import InboxLimit
from runtime.lua.machine import Definition, Machine
from runtime.parcels import unpacked
from tests.clock import FakeClock
from tests.process_lab import PATIENCE, process, run, running

OWN = "{app:one|0x1000000"
OTHER = "{app:two|0x1000000"
ECHO = """
    local inbox = process.inbox()
    while true do
      local msg = inbox:receive()
      local dest, topic = msg:payload():data()[1], msg:payload():data()[2]
      process.send(dest, topic, 1, "two", nil)
    end
"""


def pid(prefix: str, serial: int) -> str:
    return f"{prefix}{serial:010x}}}"


def machine(**options: Any) -> Machine:
    made = Machine("app:one", OWN, FakeClock().timers.clock, parcels=True, **options)
    made.define({"app:echo": Definition("process.lua", ECHO, "echo", "", [], {}, False)})
    args = encode_args([])
    made.step([inputs.start(pid(OWN, n), "app:echo", args, {"process": True}) for n in (1, 2)])
    return made


def told(made: Machine, dest: str, topic: str | bytes = "n", n: int = 1) -> list[Command]:
    order = encode_args([[dest, topic]])
    return made.step([inputs.message(pid(OWN, n), "go", "", order)])[1]


def test_a_message_for_another_vm_is_in_a_parcel() -> None:
    (command,) = told(machine(), pid(OTHER, 7))
    assert isinstance(command, Parcel)
    assert command.pid == OTHER
    ((kind, dest, topic, sender, args, *reply),) = unpacked(command.size, command.records)
    assert (kind, dest, topic, sender) == ("message", pid(OTHER, 7), "n", pid(OWN, 1))
    assert decode_args(args) == [1, "two", None]
    assert reply == [pid(OWN, 1), 1]


@pytest.mark.parametrize("dest", ["name", "{app:orders|order-7}", "{python|caller}", "|0x", "{x}"])
def test_what_is_for_no_vm_is_a_command(dest: str) -> None:
    (command,) = told(machine(), dest)
    assert isinstance(command, Send)
    assert command.dest == dest


@pytest.mark.parametrize("dest", ["{a|0x}", "{a|0x" + "0" * 20, "{a|b|0x}"])
def test_what_only_looks_like_a_pid_is_taken_apart(dest: str) -> None:
    (command,) = told(machine(), dest)
    assert isinstance(command, Parcel)
    ((_, found, *_),) = unpacked(command.size, command.records)
    assert found == dest


def test_receipts_come_back_the_same_way() -> None:
    made = machine(inbox=InboxLimit(1))
    sender = pid(OTHER, 9)
    order = encode_args([["name", "n"]])
    batch = [inputs.message(pid(OWN, n), "go", sender, order, (sender, n)) for n in (1, 1, 1, 2, 3)]
    parcels = [each for each in made.step(batch)[1] if isinstance(each, Parcel)]
    assert {each.pid for each in parcels} == {OTHER}
    answers = [item for each in parcels for item in unpacked(each.size, each.records)]
    assert [(kind, who, seq, ok) for kind, who, seq, ok, _ in answers] == [
        ("answer", sender, 1, True), ("answer", sender, 1, True), ("answer", sender, 1, False),
        ("answer", sender, 2, True), ("answer", sender, 3, False),
    ]  # fmt: skip
    assert decode(answers[2][4]).kind == Kind.RATE_LIMITED
    assert decode(answers[4][4]).message == f"process not found: {pid(OWN, 3)}"


def test_a_vm_takes_a_parcel_as_it_takes_what_is_in_it() -> None:
    made = machine()
    (command,) = told(made, pid(OWN, 2)[:-2] + "f}", n=1)  # of this VM's prefix, but not there
    assert isinstance(command, Parcel)
    direct, parcelled = machine(), machine()
    told(direct, "name")
    told(parcelled, "name")
    (first,) = direct.step(unpacked(command.size, command.records))[1][1:]
    (second,) = parcelled.step([inputs.parcel(*command)])[1][1:]
    assert first == second


def test_order_is_kept_with_what_is_no_message(tmp_path: Path) -> None:
    sender = process("""
        local sink = ...
        for i = 1, 200 do
          coroutine.spawn(function() process.send(sink, "n", i) end)
          if i == 100 then coroutine.spawn(function() process.cancel(sink) end) end
        end
        require("time").sleep("1h")
    """)
    sink = process("""
        local inbox, got = process.inbox(), {}
        process.events():receive()
        while true do
          local taken = channel.select{inbox:case_receive(), default = true}
          if taken.default then return got end
          got[#got + 1] = taken.value:payload():data()
        end
    """)
    with running(tmp_path, {"sender": sender, "sink": sink}) as node:
        for host in ("app:two", "app:other"):
            pid = node.spawn("app:sink", host)
            node.spawn("app:sender", "app:one", pid)
            got = node.result(pid, PATIENCE)
            assert got == list(range(1, len(got) + 1))
            assert len(got) >= 100


def test_a_vm_that_is_lost_refuses_what_was_on_its_way(tmp_path: Path) -> None:
    hog = process("""
        local t = {}
        process.inbox():receive()
        for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end
    """)
    sender = process("""
        local hog = ...
        local done, answers = channel.new(100), {}
        for i = 1, 100 do
          coroutine.spawn(function()
            local ok, err = process.send(hog, "n", i)
            done:send(ok and "sent" or err:kind())
          end)
        end
        for i = 1, 100 do
          local answer = done:receive()
          answers[answer] = (answers[answer] or 0) + 1
        end
        local _, err = process.send(hog, "n")
        return {answers, err:kind()}
    """)
    small = {"kind": "process.host", "host": {"workers": 1}, "limits": {"memory": "8MB", "fuel": 0}}
    with running(tmp_path, {"hog": hog, "sender": sender, "small": small}) as node:
        for _ in range(3):
            answers, late = run(node, "app:sender", "app:one", node.spawn("app:hog", "app:small"))
            assert sum(answers.values()) == 100
            assert late == Kind.NOT_FOUND
            assert set(answers) <= {"sent", Kind.NOT_FOUND}
