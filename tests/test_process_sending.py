"""process.send: who gets it, in which order, and what the sender hears."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from tests.process_lab import PATIENCE, PLACES, eventually, process, run, running

ECHO = process("""
    while true do
      local msg = process.inbox():receive()
      if msg:topic() == "end" then return "ended" end
      process.send(msg:from(), "echo", msg:payload())
    end
""")


@pytest.mark.parametrize("place", PLACES)
def test_a_message_arrives_and_its_answer_is_true(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    asker = process("""
        local host = ...
        local pid = process.spawn("app:echo", host)
        local sent, err = process.send(pid, "hi", {n = 1, f = 1.5, s = "\\xff", list = {1, 2}})
        local msg = process.inbox():receive()
        local data = msg:payload():data()
        return {sent, err == nil, msg:topic(), msg:from() == pid, data.n, math.type(data.n), data.f,
                data.s == "\\xff", #data.list}
    """)
    with running(tmp_path, {"echo": ECHO, "asker": asker}) as node:
        heard = run(node, "app:asker", first, second)
    assert heard == [True, True, "echo", True, 1, "integer", 1.5, True, 2]


@pytest.mark.parametrize("place", PLACES)
def test_the_order_of_a_sender_is_kept(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    sink = process("""
        local seen = {}
        for i = 1, 300 do seen[i] = process.inbox():receive():payload():data() end
        return seen
    """)
    source = process("""
        local host = ...
        local pid = process.spawn("app:sink", host)
        for i = 1, 300 do assert(process.send(pid, "n", i)) end
        return pid
    """)
    with running(tmp_path, {"sink": sink, "source": source}) as node:
        pid = run(node, "app:source", first, second)
        assert node.result(pid, PATIENCE) == list(range(1, 301))


@pytest.mark.parametrize(
    ("dest", "kind", "text"),
    [
        ("{app:one|0x1}", Kind.NOT_FOUND, "process not found"),
        ("{app:two|what}", Kind.NOT_FOUND, "process not found"),
        ("{app:nowhere|0x1}", Kind.NOT_FOUND, "host not found: app:nowhere"),
        ("{python|nobody}", Kind.NOT_FOUND, "process not found"),
        ("ghost", Kind.NOT_FOUND, "ghost"),
        ("{malformed}", Kind.INVALID, "{host|unique}"),
        ("{app:idle|0x1}", Kind.UNAVAILABLE, "app:idle is not running"),
    ],
)
def test_a_message_that_cannot_arrive(tmp_path: Path, dest: str, kind: str, text: str) -> None:
    sender = process("""
        local ok, err = process.send(..., "hi")
        return {ok == nil, err:kind(), err:message()}
    """)
    idle = {"kind": "process.host", "lifecycle": {"auto_start": False}}
    with running(tmp_path, {"sender": sender, "idle": idle}) as node:
        refused, told, message = run(node, "app:sender", "app:one", dest)
        assert refused
        assert told == kind
        assert text in message
        with pytest.raises(PerdureError, match=text.replace("|", r"\|")) as caught:
            node.send(dest, "hi")
        assert caught.value.kind == kind
        if kind == Kind.NOT_FOUND:
            assert node.status()["dead_letters"] == 2


def test_a_message_to_one_that_has_ended_is_a_dead_letter(tmp_path: Path) -> None:
    with running(tmp_path, {"echo": ECHO}) as node:
        pid = node.spawn("app:echo", "app:one")
        node.send(pid, "end")
        assert node.result(pid, PATIENCE) == "ended"
        assert node.status()["dead_letters"] == 0
        with pytest.raises(PerdureError, match="process not found"):
            node.send(pid, "end")
        assert node.status()["dead_letters"] == 1


@pytest.mark.parametrize("topic", ["", "@x"])
def test_topics_that_are_none(tmp_path: Path, topic: str) -> None:
    sender = process("local ok, err = process.send(process.pid(), ...) return err:kind()")
    with running(tmp_path, {"sender": sender}) as node:
        assert run(node, "app:sender", "app:one", topic) == Kind.INVALID
        with pytest.raises(PerdureError) as caught:
            node.send("{app:one|0x1}", topic)
        assert caught.value.kind == Kind.INVALID


def test_what_cannot_be_sent_between_vms(tmp_path: Path) -> None:
    sender = process("""
        local host = ...
        local pid = process.spawn("app:echo", host)
        local cyclic = {}
        cyclic.self = cyclic
        local ok, err = process.send(pid, "x", cyclic)
        assert(process.send(pid, "y", {f = print, n = 1}))
        local data = process.inbox():receive():payload():data()
        return {ok == nil, err:kind(), data.f == nil, data.n}
    """)
    with running(tmp_path, {"echo": ECHO, "sender": sender}) as node:
        for first, second in PLACES.values():
            assert run(node, "app:sender", first, second) == [True, Kind.INVALID, True, 1]


def test_messages_from_python_have_no_sender(tmp_path: Path) -> None:
    listener = process("local m = process.inbox():receive() return {m:topic(), m:from()}")
    with running(tmp_path, {"listener": listener}) as node:
        pid = node.spawn("app:listener", "app:two")
        node.send(pid, "hello", {"a": 1})
        assert node.result(pid, PATIENCE) == ["hello", ""]


def test_runaway_code_holds_up_its_own_vm_for_a_while_and_no_other(tmp_path: Path) -> None:
    loop = process("while true do end")
    with running(tmp_path, {"loop": loop, "echo": ECHO}) as node:
        runaway = node.spawn("app:loop", "app:one")
        neighbour = node.spawn("app:echo", "app:one")
        elsewhere = node.spawn("app:echo", "app:other")
        assert node.actor(elsewhere).ask(("hi", 1), timeout=PATIENCE) == 1
        with pytest.raises(PerdureError, match="out of fuel"):
            node.result(runaway, PATIENCE)
        assert node.actor(neighbour).ask(("hi", 2), timeout=PATIENCE) == 2


def test_the_list_of_processes(tmp_path: Path) -> None:
    with running(tmp_path, {"echo": ECHO}) as node:
        pids = {node.spawn("app:echo", host) for host in ("app:one", "app:two", "app:two")}
        named = node.spawn("app:echo", "app:other", name="herald")
        rows = {row["pid"]: row for row in node.processes()}
        assert rows.keys() == pids | {named}
        assert rows[named]["names"] == ["herald"]
        assert {row["entry"] for row in rows.values()} == {"app:echo"}
        assert node.status()["processes"] == 4
        node.send(named, "end")
        eventually(lambda: node.status()["processes"] == 3)
