"""A VM at its memory cap is replaced: whoever waits for what was in it hears, others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import PerdureError
from supervision.node import Node
from supervision.state import State
from tests.process_lab import PATIENCE, eventually, failure, process, running
from tests.services import in_background

ECHO = process("""
    while true do
      local msg = process.inbox():receive()
      process.send(msg:from(), "echo", msg:payload())
    end
""")
HOST = {
    "kind": "process.host",
    "host": {"workers": 1},
    "limits": {"memory": "24MB"},
}
#: Waits, then takes more than the VM may ever hold.
BOMB = process("""
    process.inbox():receive()
    process.registry.register("bomb")
    local parts = {}
    for i = 1, 64 do parts[i] = ("x"):rep(1 << 20) end
    local whole = table.concat(parts)
    return #whole
""")


#: Reads no message.
DEAF = process("process.events():receive()")


def blow_up(node: Node) -> None:
    """Lose the VM of `app:small`: an inbox that nobody empties fills it."""
    deaf = node.spawn("app:deaf", "app:small")

    def flood() -> None:
        for _ in range(1000):
            node.send(deaf, "more", "x" * (1 << 20))

    with pytest.raises(PerdureError, match="process not found"):
        flood()


ENTRIES = {"echo": ECHO, "small": HOST, "bomb": BOMB, "deaf": DEAF}


def test_those_who_watch_from_elsewhere_hear(tmp_path: Path) -> None:
    watcher = process("""
        local pid, how = ...
        process.set_options({trap_links = true})
        assert(process[how](pid))
        process.send("ready", "ready")
        local event = process.events():receive()
        return {event.kind, event.from == pid, event.result.error:message()}
    """)
    ready = process("process.inbox():receive() process.inbox():receive()")
    with running(tmp_path, {**ENTRIES, "watcher": watcher, "ready": ready}) as node:
        gate = node.spawn("app:ready", "app:one", name="ready")
        victim = node.spawn("app:echo", "app:small", name="victim")
        pids = [node.spawn("app:watcher", "app:one", victim, how) for how in ("monitor", "link")]
        node.result(gate, PATIENCE)
        blow_up(node)
        kinds = []
        for pid in pids:
            kind, from_victim, message = node.result(pid, PATIENCE)
            assert from_victim
            assert "the VM was replaced" in message
            kinds.append(kind)
        assert kinds == ["pid.exit", "pid.link.down"]
        assert node.router.names.lookup("victim") is None
        with pytest.raises(PerdureError, match="process not found"):
            node.send(victim, "x")


@pytest.mark.parametrize("spawn", ["spawn_monitored", "spawn_linked", "exec"])
def test_those_who_spawned_from_elsewhere_hear(tmp_path: Path, spawn: str) -> None:
    parent = process("""
        local spawn = ...
        process.set_options({trap_links = true})
        local pid, err = process[spawn]("app:echo", "app:small")
        if spawn == "exec" then return err:message() end
        process.send("ready", "ready")
        return process.events():receive().result.error:message()
    """)
    with running(tmp_path, {**ENTRIES, "parent": parent}) as node:
        pid = node.spawn("app:parent", "app:one", spawn)
        eventually(lambda: len(node.processes()) == 2)
        blow_up(node)
        assert "the VM was replaced" in node.result(pid, PATIENCE)


def test_a_linked_child_elsewhere_ends_with_a_parent_that_is_lost(tmp_path: Path) -> None:
    parent = process("""
        process.send("gate", "child", (process.spawn_linked("app:echo", "app:other")))
        process.inbox():receive()
    """)
    gate = process("return process.inbox():receive():payload():data()")
    with running(tmp_path, {**ENTRIES, "parent": parent, "gate": gate}) as node:
        waiting = node.spawn("app:gate", "app:one", name="gate")
        node.spawn("app:parent", "app:small")
        child = node.result(waiting, PATIENCE)
        blow_up(node)
        assert failure(node, child).message == "linked process failed"


def test_python_hears(tmp_path: Path) -> None:
    with running(tmp_path, ENTRIES) as node:
        pid = node.spawn("app:echo", "app:small")
        ref = node.actor(pid)
        result = in_background(node.result, pid)
        eventually(lambda: bool(node.parts.services["app:small"]._results._waiting))  # type: ignore[union-attr]
        blow_up(node)
        with pytest.raises(PerdureError, match="the VM was replaced"):
            result.result(PATIENCE)
        eventually(lambda: not ref.is_alive())
        eventually(lambda: node.status()["processes"] == 0)


def test_the_new_vm_works_and_the_others_went_on(tmp_path: Path) -> None:
    with running(tmp_path, ENTRIES) as node:
        elsewhere = node.actor(node.spawn("app:echo", "app:one"))
        seen = set()
        for _ in range(3):
            pid = node.spawn("app:echo", "app:small", name="again")
            assert pid not in seen
            seen.add(pid)
            assert node.actor("again").ask(("x", 1), timeout=PATIENCE) == 1
            blow_up(node)
            assert elsewhere.ask(("x", 2), timeout=PATIENCE) == 2


def test_calls_and_timers_of_the_lost_are_dropped(tmp_path: Path) -> None:
    sleeper = process("""
        require("funcs").async("app:waits")
        require("time").sleep("1h")
    """)
    waits = process("process.inbox():receive()", meta={"default_host": "other"})
    with running(tmp_path, {**ENTRIES, "sleeper": sleeper, "waits": waits}) as node:
        node.spawn("app:sleeper", "app:small")
        eventually(lambda: node.timers.next_due() is not None)
        eventually(lambda: node.status()["processes"] == 2)
        blow_up(node)
        eventually(lambda: node.status()["processes"] == 0)
        eventually(lambda: node.timers.next_due() is None)


def test_a_service_is_restarted(tmp_path: Path) -> None:
    service = {
        "kind": "process.service",
        "process": "echo",
        "host": "small",
        "lifecycle": {"auto_start": True, "restart": {"initial_delay": "1ms"}},
    }
    with running(tmp_path, {**ENTRIES, "service": service}) as node:
        before = node.processes()[0]["pid"]
        blow_up(node)

        def status() -> Any:
            return next(each for each in node.services() if each.id == "app:service")

        eventually(lambda: status().restarts == 1 and status().state is State.RUNNING)
        after = node.processes()[0]["pid"]
        assert after != before
        assert node.actor(after).ask(("x", 1), timeout=PATIENCE) == 1


def test_memory_that_a_process_takes_ends_that_process(tmp_path: Path) -> None:
    with running(tmp_path, ENTRIES) as node:
        neighbour = node.actor(node.spawn("app:echo", "app:small"))
        bomb = node.spawn("app:bomb", "app:small")
        node.send(bomb, "go")
        error = failure(node, bomb)
        assert "memory" in error.message
        eventually(lambda: node.router.names.lookup("bomb") is None)
        elsewhere = node.actor(node.spawn("app:echo", "app:one"))
        assert elsewhere.ask(("x", 2), timeout=PATIENCE) == 2
        again = node.actor(node.spawn("app:echo", "app:small"))
        assert again.ask(("x", 3), timeout=PATIENCE) == 3
        assert neighbour.is_alive() or "replaced" in error.message
