"""Messages, spawning, names and ends are what the surface says, everywhere.

Each behaviour is met in a function, a process and a workflow, on a real node. What concerns one of
them only, or two VMs, or clocks, has tests of its own.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from runtime.errors import Kind, PerdureError
from tests.conformance_lab import KINDS, Conformance, conformance_fixture

CASES: Final[dict[str, tuple[str, Any]]] = {
    "process: identity": (
        """
        local pid = process.pid()
        return {pid:sub(1, 1), pid:sub(-1), pid == process.pid(),
          process.id():match("^app:%a+") ~= nil}
        """,
        ["{", "}", True, True],
    ),
    "process: send and what cannot be": (
        """
        local function problem(...)
          local ok, e = process.send(...)
          return {ok == nil, e:kind(), e:message():match("^[^:]*")}
        end
        local cyclic = {}
        cyclic.t = cyclic
        return {process.send(process.pid(), "t"), problem("{app:one|0x999}", "t"),
          problem("{app:no_host|1}", "t"), problem("nobody", "t")[2], problem(process.pid(),
            "@t")[2],
          problem(process.pid(), "")[2], problem("", "t")[2], problem(process.pid(), "t",
            cyclic)[2],
          problem(nil, "t")[2]}
        """,
        [True, [True, "NotFound", "process not found"], [True, "NotFound", "host not found"],
         "NotFound", "Invalid", "Invalid", "Invalid", "Invalid", "Invalid"],
    ),
    "process: messages": (
        """
        local inbox, me = process.inbox(), process.pid()
        process.send(me, "none")
        process.send(me, "one", {approved = true, topic = "mine"})
        process.send(me, "many", 1, "two", nil)
        process.send(me, "text", "x")
        local a, b, c, d = inbox:receive(), inbox:receive(), inbox:receive(), inbox:receive()
        local many = c:payload()
        return {a:topic(), a:payload() == nil, a:from() == me, b.approved, b:topic(),
          b:payload():data().topic, #many, many[2]:data(), d:payload():data(), type(d),
          inbox == process.inbox()}
        """,
        ["none", True, True, True, "one", "mine", 3, "two", "x", "userdata", True],
    ),
    "process: values keep what they are": (
        """
        local me = process.pid()
        process.send(me, "t", {int = 1, float = 1.0, bytes = "\\xff\\0", yes = true, deep = {{{1}}},
          f = print, ch = channel.new(), e = errors.new("m")})
        local got = process.inbox():receive():payload():data()
        return {math.type(got.int), math.type(got.float), got.bytes == "\\xff\\0", got.yes,
          got.deep[1][1][1], got.f == nil, got.ch == nil, got.e:message()}
        """,
        ["integer", "float", True, True, 1, True, True, "m"],
    ),
    "process: listen": (
        """
        local me = process.pid()
        process.send(me, "early", 1)
        local raw = process.listen("early")
        local full = process.listen("full", {message = true})
        process.send(me, "full", 2)
        process.send(me, "other", 3)
        local same = raw == process.listen("early")
        local one, two = raw:receive(), full:receive()
        local gone = process.unlisten(raw)
        process.send(me, "early", 4)
        return {one, two:topic(), two:payload():data(), process.inbox():receive():topic(), same,
          gone,
          process.inbox():receive():topic(), select(2, process.listen("@x")):kind(),
          select(2, process.unlisten(raw)):kind(), select("#", raw:receive()), select(2,
            raw:receive())}
        """,
        [1, "full", 2, "other", True, True, "early", "Invalid", "Invalid", 2, False],
    ),
    "process: spawn, send, cancel": (
        """
        local pid, e = process.spawn("app:waits", "app:one")
        process.send(pid, "ping", 5)
        local pong = process.inbox():receive()
        return {e == nil, pid:match("^{app:one|") ~= nil, pong:topic(), pong:payload():data(),
          pong:from() == pid, process.cancel(pid, "enough")}
        """,
        [True, True, "pong", 5, True, True],
    ),
    "process: exec": (
        """
        local v, e = process.exec("app:child", "app:one", 1, nil, {2})
        return {v, e == nil}
        """,
        [{1: 1, 3: [2]}, True],
    ),
    "process: spawns that cannot be": (
        """
        local function kind(...) return select(2, process.spawn(...)):kind() end
        return {kind("app:nothing", "app:one"), kind("app:child", "app:nowhere"), kind("child",
          "app:one"),
          kind("", "app:one"), kind("app:child", ""), kind(), kind("app:child", "app:one",
            {[{}] = 1})}
        """,
        ["NotFound", "NotFound", "Invalid", "Invalid", "Invalid", "Invalid", "Invalid"],
    ),
    "process: spawn options that a process.host does not have": (
        """
        local function kind(options)
          return select(2, process.with_options(options):spawn("app:child", "app:one")):kind()
        end
        return {kind{colour = "red"}, kind{["workflow.id"] = "x"}, kind{timeout = 5},
          process.with_options{}:exec("app:child", "app:one", 1)}
        """,
        ["Invalid", "Invalid", "Invalid", [1]],
    ),
    "process: whoever executes what is terminated hears of it": (
        """
        local name = "n" .. (uuid.v4():gsub("-", ""))
        coroutine.spawn(function()
          local pid
          repeat time.sleep("1ms") pid = process.registry.lookup(name) until pid
          process.terminate(pid)
        end)
        local v, e = process.with_context{}:with_name(name):exec("app:waits", "app:one")
        return {v == nil, e:kind(), e:message()}
        """,
        [True, "Canceled", "process terminated"],
    ),
    "process: it cancels itself": (
        """
        process.cancel(process.pid(), "me")
        local event = process.events():receive()
        return {event.kind, event.reason, event.from == process.pid(), type(event.at)}
        """,
        ["pid.cancel", "me", True, "userdata"],
    ),
    "process: terminate and cancel of the dead": (
        """
        local dead = "{app:one|0x999}"
        return {select(2, process.terminate(dead)):kind(), select(2, process.cancel(dead)):kind(),
          select(2, process.terminate("nobody")):kind(), select(2, process.cancel("")):kind()}
        """,
        ["NotFound", "NotFound", "NotFound", "Invalid"],
    ),
    "process: options": (
        """
        local before = process.get_options()
        local ok = process.set_options{trap_links = true, upgradable = true}
        local after = process.get_options()
        local wrong, e = process.set_options{colour = true}
        local mistyped, e2 = process.set_options{trap_links = 1}
        return {before.trap_links, ok, after.trap_links, after.upgradable, wrong, e:kind(),
          mistyped,
          e2:kind()}
        """,
        [False, True, True, True, False, "Invalid", False, "Invalid"],
    ),
    "process: context is inherited": (
        """
        local outer = process.with_context{user = "ann", n = 1}
        local inner = outer:with_context{n = 2}
        local function of(builder) return builder:exec("app:child_context", "app:one") end
        return {of(outer), of(inner), funcs.new():with_context{deep = true}:call("app:nested")[1]}
        """,
        [{"user": "ann", "n": 1}, {"user": "ann", "n": 2}, {"deep": True}],
    ),
    "process: a name and start messages": (
        """
        local name = "n" .. (uuid.v4():gsub("-", ""))
        local builder = process.with_context{}:with_name(name)
        builder = builder:with_message("one"):with_message("two", 2)
        local first = builder:spawn("app:waits", "app:one")
        local second = builder:spawn("app:waits", "app:one")
        local held = process.registry.lookup(name)
        process.send(name, "ping", "ready")
        local pong = process.inbox():receive():payload():data()
        process.terminate(name)
        return {first == second, held == first, pong}
        """,
        [True, True, "ready"],
    ),
    "process: builders accept actor and scope, and refuse what is wrong": (
        """
        local b = process.with_options{}
        return {b:with_actor({id = 1}):with_scope({}):exec("app:child", "app:one", 1)[1],
          select(2, process.with_context(5)):kind(), select(2, b:with_name("a|b")):kind(),
          select(2, b:with_message("@x")):kind(), type(b)}
        """,
        [1, "Invalid", "Invalid", "Invalid", "userdata"],
    ),
    "process: names": (
        """
        local name = "n" .. (uuid.v4():gsub("-", ""))
        local registered, again = process.registry.register(name), process.registry.register(name)
        local other = process.spawn("app:waits", "app:one")
        local taken = select(2, process.registry.register(name, other)):kind()
        local held = process.registry.lookup(name) == process.pid()
        local freed = process.registry.unregister(name)
        local given = process.registry.register(name, other)
        local found = process.registry.lookup(name) == other
        process.terminate(other)
        return {registered, again, taken, held, freed, given, found,
          select(2, process.registry.lookup("nobody")):kind(),
          select(2, process.registry.register("a{b")):kind(), select(2,
            process.registry.lookup("")):kind()}
        """,
        [True, True, "AlreadyExists", True, True, True, True, "NotFound", "Invalid", "Invalid"],
    ),
    "process: a process with a default host is called like a function": (
        "return funcs.call('app:hosted', 1)", ["hosted", 1],
    ),
    "process: a workflow is spawned, sent to and executed": (
        """
        local v = process.exec("app:child_workflow", "app:workflows", 7)
        return v
        """,
        ["app:child_workflow", 7],
    ),
}  # fmt: skip

#: The error that the code ends with.
FAILURES: Final[dict[str, tuple[str, PerdureError]]] = {
    "a second result": (
        "return nil, errors.new{message = 'm', kind = 'Conflict', retryable = true, "
        "details = {a = 1}}",
        PerdureError("Conflict", "m", True, {"a": 1}),
    ),
    "a second result beside a first": ("return 1, 'why'", PerdureError("Internal", "why")),
    "an error that was raised": (
        "error(errors.new{message = 'm', kind = 'Timeout'}, 0)", PerdureError("Timeout", "m")
    ),
    "a table that is raised": (
        "error({code = 5})",
        PerdureError("Internal", "a table was raised that has no message", None, {"code": 5}),
    ),
    "a table beside a result": (
        "return 1, {error = 'why', a = {1}}",
        PerdureError("Internal", "why", None, {"error": "why", "a": [1]}),
    ),
    "a table that cannot be sent as a whole": (
        "local t = {code = 5} t.t = t error(t)",
        PerdureError("Internal", "a table was raised that has no message", None, {"code": 5}),
    ),
    "a coroutine that fails": (
        "coroutine.spawn(function() error('in it', 0) end) time.sleep('1h')",
        PerdureError("Internal", "in it"),
    ),
    "a result that is no data": (
        "local t = {} t.t = t return t",
        PerdureError(
            "Invalid", "the result of this code cannot be sent: cyclic table: $.t is $ again"
        ),
    ),
}  # fmt: skip

DEADLOCK: Final = """
local ch = channel.new()
coroutine.spawn(function() ch:send(1) end)
channel.new():receive()
"""

#: What a workflow refuses, since nothing could record it; elsewhere it works.
WATCHING: Final = {
    "monitor and unmonitor": (
        """
        local pid = process.spawn("app:waits", "app:one")
        local ok, e = process.monitor(pid)
        if not ok then process.terminate(pid) return {e:kind(), select(2,
          process.unmonitor(pid)):kind()} end
        process.cancel(pid, "why")
        local exit = process.events():receive()
        return {exit.kind, exit.from == pid, exit.result.value[1], exit.result.value[2],
          type(exit.at)}
        """,
        ["pid.exit", True, "pid.cancel", "why", "userdata"],
    ),
    "link and unlink": (
        """
        process.set_options{trap_links = true}
        local pid = process.spawn("app:waits", "app:one")
        local ok, e = process.link(pid)
        if not ok then process.terminate(pid) return {e:kind(), select(2,
          process.unlink(pid)):kind()} end
        process.terminate(pid)
        local down = process.events():receive()
        return {down.kind, down.from == pid, down.result.error:message(),
          process.unlink("nobody") == nil}
        """,
        ["pid.link.down", True, "process terminated", True],
    ),
}

#: A child that is watched from its start says how it ended, to workflows as well.
CHILDREN: Final = {
    "spawn_monitored": (
        """
        local pid = process.spawn_monitored("app:child", "app:one", 1)
        local exit = process.events():receive()
        return {exit.kind, exit.from == pid, exit.result.value[1]}
        """,
        ["pid.exit", True, 1],
    ),
    "spawn_linked": (
        """
        process.set_options{trap_links = true}
        local pid = process.spawn_linked("app:child_fails", "app:one")
        local down = process.events():receive()
        return {down.kind, down.from == pid, down.result.error:kind()}
        """,
        ["pid.link.down", True, "Timeout"],
    ),
    "spawn_monitored, a workflow": (
        """
        local pid = process.spawn_monitored("app:child_workflow", "app:workflows", 1)
        local exit = process.events():receive()
        return {exit.kind, exit.from == pid, exit.result.value[2]}
        """,
        ["pid.exit", True, 1],
    ),
    "spawn_linked, a workflow that ends well": (
        """
        local pid = process.spawn_linked("app:child_workflow", "app:workflows", 1)
        local exit = process.events():receive()
        return {exit.kind, exit.from == pid}
        """,
        ["pid.exit", True],
    ),
    "spawn_linked_monitored": (
        """
        process.set_options{trap_links = true}
        local pid = process.spawn_linked_monitored("app:child_fails", "app:one")
        local events, seen = process.events(), {}
        for _ = 1, 2 do seen[events:receive().kind] = true end
        return seen
        """,
        {"pid.exit": True, "pid.link.down": True},
    ),
}

#: Without trap_links, a link takes whoever holds it along.
LINKED: Final = """
process.spawn_linked("app:child_fails", "app:one")
process.inbox():receive()
"""

SOURCES: Final = {
    name: source for name, (source, _) in {**CASES, **FAILURES, **WATCHING, **CHILDREN}.items()
} | {"deadlock": DEADLOCK, "linked": LINKED}

node = conformance_fixture(SOURCES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_the_surface(node: Conformance, name: str, kind: str) -> None:
    assert node.run(name, kind) == CASES[name][1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAILURES)
def test_failures(node: Conformance, name: str, kind: str) -> None:
    assert node.failure(name, kind) == FAILURES[name][1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WATCHING)
def test_watching_others_is_for_functions_and_processes(
    node: Conformance, name: str, kind: str
) -> None:
    refused = [Kind.INVALID, Kind.INVALID]
    assert node.run(name, kind) == (
        refused if kind in ("workflow", "temporal") else WATCHING[name][1]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHILDREN)
def test_children_are_watched_from_their_start(node: Conformance, name: str, kind: str) -> None:
    assert node.run(name, kind) == CHILDREN[name][1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadlock_names_what_each_coroutine_waits_for(node: Conformance, kind: str) -> None:
    error = node.failure("deadlock", kind)
    assert error.kind == Kind.INTERNAL
    main, other = error.message.split("; ")
    assert re.fullmatch(r"deadlock: main waits to receive from a channel at \S+:\d+", main)
    assert re.fullmatch(r"coroutine 1 waits to send on a channel at \S+:\d+", other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_linked_child_that_fails_takes_its_parent_along(node: Conformance, kind: str) -> None:
    error = node.failure("linked", kind)
    assert (error.kind, error.message) == (Kind.INTERNAL, "linked process failed")
    assert error.details["error"] == "no"


def test_the_replayer_of_temporal_passes_over_each_of_them(node: Conformance) -> None:
    assert node.misfits_on_temporal() == {}


def test_a_replay_of_each_of_these_workflows_does_the_same(node: Conformance) -> None:
    """The last one: it ends the node."""
    assert node.misfits() == {}
