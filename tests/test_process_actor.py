"""A Lua process as a Pykka actor: tell, ask, stop, is_alive."""

from __future__ import annotations

from pathlib import Path

import pykka
import pytest

from runtime.errors import Kind, PerdureError
from tests.process_lab import PATIENCE, eventually, process, running

DESK = process("""
    local told = {}
    while true do
      local msg = process.inbox():receive()
      local topic = msg:topic()
      if topic == "end" then return told end
      if topic == "raise" then error("it broke") end
      if topic == "what" then process.send(msg:from(), "told", told) end
      if topic == "count" then process.send(msg:from(), "n", #told, "more") end
      if topic ~= "silence" then told[#told + 1] = topic end
    end
""")
LEAVER = process("""
    local event = process.events():receive()
    process.inbox():receive()
    return event.kind
""")
POLITE = process("return process.events():receive().kind")


def test_tell_and_ask(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        ref = node.actor(node.spawn("app:desk", "app:two"))
        assert ref.is_alive()
        ref.tell(("first", 1))
        ref.tell("without a topic")
        assert ref.ask(("what",), timeout=PATIENCE) == ["first", "message"]
        assert ref.ask(("count",), timeout=PATIENCE) == [3, "more"]
        future = ref.ask(("count",), block=False)
        assert future.get(timeout=PATIENCE) == [4, "more"]


def test_an_actor_is_the_same_for_one_process(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        pid = node.spawn("app:desk", "app:one", name="desk")
        assert node.actor("desk") is node.actor(pid)
        assert node.actor(pid).actor_urn == pid
        assert pykka.ActorRegistry.get_by_urn(pid) is None


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        ref = node.actor(node.spawn("app:desk", "app:one"))
        with pytest.raises(pykka.Timeout):
            ref.ask(("silence",), timeout=0.01)
        assert ref.is_alive()


@pytest.mark.parametrize("topic", ["end", "raise"])
def test_whoever_asks_a_process_that_ends_is_told(tmp_path: Path, topic: str) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        pid = node.spawn("app:desk", "app:one")
        ref = node.actor(pid)
        open_question = ref.ask(("silence",), block=False)
        with pytest.raises(pykka.ActorDeadError):
            ref.ask((topic,), timeout=PATIENCE)
        with pytest.raises(pykka.ActorDeadError):
            open_question.get(timeout=PATIENCE)
        assert not ref.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            ref.tell("late")
        with pytest.raises(pykka.ActorDeadError):
            ref.ask("late", timeout=PATIENCE)
        assert ref.stop() is False
        with pytest.raises(PerdureError) as caught:
            node.actor(pid)
        assert caught.value.kind == Kind.NOT_FOUND


def test_a_proxy_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        ref = node.actor(node.spawn("app:desk", "app:one"))
        with pytest.raises(PerdureError, match="no proxy") as caught:
            ref.proxy()
        assert caught.value.kind == Kind.INVALID


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        ref = node.actor(node.spawn("app:desk", "app:one"))
        with pytest.raises(PerdureError):
            ref.tell(("x", object()))
        assert ref.ask(("what",), timeout=PATIENCE) == []


def test_stop_is_cancel(tmp_path: Path) -> None:
    with running(tmp_path, {"polite": POLITE}) as node:
        pid = node.spawn("app:polite", "app:one")
        assert node.actor(pid).stop(timeout=PATIENCE) is True
        assert node.result(pid, PATIENCE) == "pid.cancel"


def test_stop_ends_one_that_would_not_hear(tmp_path: Path) -> None:
    with running(tmp_path, {"desk": DESK}) as node:
        pid = node.spawn("app:desk", "app:one")
        ref = node.actor(pid)
        ref.tell("first")
        assert ref.stop(timeout=PATIENCE) is True
        with pytest.raises(PerdureError, match="process terminated"):
            node.result(pid, PATIENCE)


def test_stop_terminates_one_that_takes_too_long(tmp_path: Path) -> None:
    slow = {"kind": "process.host", "lifecycle": {"auto_start": True, "stop_timeout": "100ms"}}
    with running(tmp_path, {"leaver": LEAVER, "slow": slow}) as node:
        pid = node.spawn("app:leaver", "app:slow")
        ref = node.actor(pid)
        assert ref.stop(timeout=PATIENCE) is True
        assert not ref.is_alive()
        with pytest.raises(PerdureError, match="process terminated"):
            node.result(pid, PATIENCE)


def test_stop_without_waiting(tmp_path: Path) -> None:
    with running(tmp_path, {"polite": POLITE}) as node:
        ref = node.actor(node.spawn("app:polite", "app:one"))
        assert ref.stop(block=False).get(timeout=PATIENCE) is True
        eventually(lambda: not ref.is_alive())
