"""monitor, link, cancel, terminate: what the end of a process brings about elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Kind
from tests.process_lab import PATIENCE, PLACES, WAITER, failure, process, run, running


@pytest.mark.parametrize("place", PLACES)
def test_monitor_and_unmonitor(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    watcher = process("""
        local host = ...
        local one, two = process.spawn("app:waiter", host), process.spawn("app:waiter", host)
        assert(process.monitor(one))
        assert(process.monitor(two))
        assert(process.unmonitor(one))
        process.send(one, "end", 1)
        process.send(two, "end", 2)
        local event = process.events():receive()
        return {event.kind, event.from == two, event.result.value, type(event.at)}
    """)
    with running(tmp_path, {"watcher": watcher, "waiter": WAITER}) as node:
        assert run(node, "app:watcher", first, second) == ["pid.exit", True, 2, "userdata"]


@pytest.mark.parametrize("place", PLACES)
def test_link_and_unlink(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    watcher = process("""
        local host = ...
        process.set_options({trap_links = true})
        local one, two = process.spawn("app:waiter", host), process.spawn("app:waiter", host)
        assert(process.link(one))
        assert(process.link(two))
        assert(process.unlink(one))
        process.send(one, "raise")
        process.send(two, "raise")
        local event = process.events():receive()
        return {event.kind, event.from == two, event.result.error:message()}
    """)
    with running(tmp_path, {"watcher": watcher, "waiter": WAITER}) as node:
        kind, from_two, message = run(node, "app:watcher", first, second)
    assert kind == "pid.link.down"
    assert from_two
    assert "it broke" in message


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("by", ["PID", "name"])
def test_a_link_kills_in_both_directions(tmp_path: Path, place: str, by: str) -> None:
    first, second = PLACES[place]
    linker = process("""
        local dest = ...
        assert(process.link(dest))
        process.inbox():receive()
        if process.inbox():receive() then error("the linker broke") end
    """)
    with running(tmp_path, {"linker": linker, "waiter": WAITER}) as node:
        for victim_first in (True, False):
            name = f"w{victim_first}"
            waiter = node.spawn("app:waiter", second, name=name)
            own = node.spawn("app:linker", first, name if by == "name" else waiter)
            node.send(own, "ready?")  # it reads this after its link is in place
            node.send(*((waiter, "raise") if victim_first else (own, "go")))
            dies_too = own if victim_first else waiter
            assert failure(node, dies_too).message == "linked process failed"


@pytest.mark.parametrize("place", PLACES)
def test_a_normal_end_breaks_a_link_silently(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    linker = process("""
        local host = ...
        local pid = process.spawn_linked_monitored("app:waiter", host)
        process.send(pid, "end", 1)
        process.events():receive()
        return "alive"
    """)
    with running(tmp_path, {"linker": linker, "waiter": WAITER}) as node:
        assert run(node, "app:linker", first, second) == "alive"


@pytest.mark.parametrize("place", PLACES)
def test_cancel_is_an_event_that_waits_to_be_read(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    canceller = process("""
        local host = ...
        local pid = process.spawn_monitored("app:listener", host)
        assert(process.cancel(pid, "enough"))
        process.send(pid, "look")
        return process.events():receive().result.value
    """)
    listener = process("""
        process.inbox():receive()
        local event = process.events():receive()
        return {event.kind, event.reason, event.from}
    """)
    with running(tmp_path, {"canceller": canceller, "listener": listener}) as node:
        own = node.spawn("app:canceller", first, second)
        assert node.result(own, PATIENCE) == ["pid.cancel", "enough", own]


@pytest.mark.parametrize("place", PLACES)
def test_terminate_ends_at_once(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    killer = process("""
        local host = ...
        local pid = process.spawn_monitored("app:waiter", host)
        assert(process.terminate(pid))
        local event = process.events():receive()
        return {event.result.error:message(), event.result.error:kind()}
    """)
    with running(tmp_path, {"killer": killer, "waiter": WAITER}) as node:
        killed = run(node, "app:killer", first, second)
        assert killed == ["process terminated", Kind.CANCELED]
        pid = node.spawn("app:waiter", second)
        node.terminate(pid)
        assert failure(node, pid).message == "process terminated"


@pytest.mark.parametrize("place", PLACES)
def test_verbs_on_the_dead_are_refused(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    asker = process("""
        local host = ...
        local pid = process.spawn_monitored("app:waiter", host)
        process.send(pid, "end")
        process.events():receive()
        local kinds = {}
        for _, verb in ipairs{"monitor", "link", "terminate", "cancel", "unmonitor", "unlink"} do
          local ok, err = process[verb](pid)
          kinds[#kinds + 1] = ok == nil and err:kind()
        end
        return kinds
    """)
    with running(tmp_path, {"asker": asker, "waiter": WAITER}) as node:
        assert run(node, "app:asker", first, second) == [Kind.NOT_FOUND] * 6


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("by", ["itself", "another", "with_name"])
def test_when_an_exit_is_seen_the_pid_and_its_names_are_free(
    tmp_path: Path, place: str, by: str
) -> None:
    first, second = PLACES[place]
    watcher = process("""
        local host, by = ...
        local registry = process.registry
        for i = 1, 50 do
          local pid
          if by == "with_name" then
            pid = process.with_options({}):with_name("held"):spawn_monitored("app:holder", host, by)
          else
            pid = process.spawn_monitored("app:holder", host, by)
          end
          if by == "another" then assert(registry.register("held", pid)) end
          process.send(pid, "go")
          process.events():receive()
          local sent, gone = process.send(pid, "x")
          assert(not sent and gone:kind() == "NotFound", "it still routes")
          local holder, err = registry.lookup("held")
          assert(holder == nil and err:kind() == "NotFound", "the name is still held")
        end
        return "free"
    """)
    holder = process("""
        local by = ...
        process.inbox():receive()
        if by == "itself" then assert(process.registry.register("held")) end
    """)
    with running(tmp_path, {"watcher": watcher, "holder": holder}) as node:
        assert run(node, "app:watcher", first, second, by) == "free"


@pytest.mark.parametrize("place", PLACES)
def test_when_exec_returns_the_names_are_free(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    parent = process("""
        local host = ...
        for i = 1, 50 do
          local value, err = process.with_options({}):with_name("held"):exec("app:holder", host)
          assert(value == "held", tostring(err))
          assert(process.registry.lookup("held") == nil)
        end
        return "free"
    """)
    holder = process('process.registry.register("second") return "held"')
    with running(tmp_path, {"parent": parent, "holder": holder}) as node:
        assert run(node, "app:parent", first, second) == "free"


def test_a_crash_hurts_only_itself(tmp_path: Path) -> None:
    with running(tmp_path, {"waiter": WAITER}) as node:
        crashing = node.spawn("app:waiter", "app:one")
        neighbour = node.spawn("app:waiter", "app:one")
        node.send(crashing, "raise")
        error = failure(node, crashing)
        assert error.kind == Kind.INTERNAL
        assert "it broke" in error.message
        assert "stack traceback" in error.trace or "main" in error.trace
        node.send(neighbour, "end", "fine")
        assert node.result(neighbour, PATIENCE) == "fine"
