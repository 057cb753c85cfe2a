"""process.registry: names of processes, one holder each, free when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind
from tests.process_lab import PATIENCE, PLACES, eventually, process, run, running

#: Does what its messages say to the registry and returns when told to.
HOLDER = process("""
    local registry = process.registry
    while true do
      local msg = process.inbox():receive()
      local data = msg:payload() and msg:payload():data()
      if msg:topic() == "end" then return end
      local result, err = registry[msg:topic()](table.unpack(data))
      process.send(msg:from(), "did", {result, err and err:kind(), err and err:details()})
    end
""")


@pytest.mark.parametrize("place", PLACES)
def test_one_holder_each(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    with running(tmp_path, {"holder": HOLDER}) as node:
        one = node.spawn("app:holder", first)
        two = node.spawn("app:holder", second)

        def does(pid: str, verb: str, *args: str) -> Any:
            return node.actor(pid).ask((verb, list(args)), timeout=PATIENCE)

        assert does(one, "register", "boss") == [True]
        assert does(one, "register", "boss") == [True]
        taken = does(two, "register", "boss")
        assert taken == {2: Kind.ALREADY_EXISTS, 3: {"pid": one}}
        assert does(two, "lookup", "boss") == [one]
        assert does(two, "unregister", "boss") == [True]
        assert does(two, "unregister", "boss") == {2: Kind.NOT_FOUND}
        assert does(one, "lookup", "boss") == {2: Kind.NOT_FOUND}
        assert does(two, "register", "boss") == [True]
        node.send(two, "end")
        node.result(two, PATIENCE)
        assert does(one, "register", "boss") == [True]
        assert node.router.names.of(one) == ["boss"]


@pytest.mark.parametrize("place", PLACES)
def test_a_name_for_another(tmp_path: Path, place: str) -> None:
    first, second = PLACES[place]
    godfather = process("""
        local host = ...
        local registry = process.registry
        local pid = process.spawn("app:holder", host)
        assert(registry.register("child", pid))
        assert(registry.lookup("child") == pid)
        process.send(pid, "end")
        local gone, none = registry.register("late", "{app:one|0x1}")
        return {pid, none:kind()}
    """)
    with running(tmp_path, {"godfather": godfather, "holder": HOLDER}) as node:
        pid, late = run(node, "app:godfather", first, second)
        assert late == Kind.NOT_FOUND
        assert node.result(pid, PATIENCE) is None
        eventually(lambda: node.router.names.lookup("child") is None)
        assert node.router.names.lookup("late") is None


@pytest.mark.parametrize("name", ["", "a|b", "{a", "b}", "x@y"])
def test_what_cannot_be_a_name(tmp_path: Path, name: str) -> None:
    asker = process("""
        local name, kinds = ..., {}
        for _, verb in ipairs{"register", "lookup", "unregister"} do
          local _, err = process.registry[verb](name)
          kinds[#kinds + 1] = err:kind()
        end
        return kinds
    """)
    with running(tmp_path, {"asker": asker}) as node:
        assert run(node, "app:asker", "app:one", name) == [Kind.INVALID] * 3


def test_control_by_name(tmp_path: Path) -> None:
    controller = process("""
        assert(process.monitor("boss"))
        assert(process.cancel("boss", "go home"))
        return process.events():receive().result.value
    """)
    boss = process("return process.events():receive().reason")
    with running(tmp_path, {"controller": controller, "boss": boss}) as node:
        for host in ("app:one", "app:other"):
            node.spawn("app:boss", "app:one", name="boss")
            assert run(node, "app:controller", host) == "go home"
