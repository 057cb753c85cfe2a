"""Errors, channels, the language and values are what the surface says, everywhere.

Each behaviour is met in a function, a process and a workflow, on a real node. What concerns one of
them only, or two VMs, or clocks, has tests of its own.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.conformance_lab import KINDS, Conformance, conformance_fixture

ERRORS: Final[dict[str, tuple[str, Any]]] = {
    "errors: kinds": (
        """
        local e = errors
        return {e.NOT_FOUND, e.ALREADY_EXISTS, e.INVALID, e.PERMISSION_DENIED, e.UNAVAILABLE,
          e.INTERNAL, e.CANCELED, e.CONFLICT, e.TIMEOUT, e.RATE_LIMITED, e.UNKNOWN}
        """,
        ["NotFound", "AlreadyExists", "Invalid", "PermissionDenied", "Unavailable", "Internal",
         "Canceled", "Conflict", "Timeout", "RateLimited", ""],
    ),
    "errors: new from a text": (
        """
        local e = errors.new("why")
        return {e:message(), e:kind(), e:retryable() == nil, e:details() == nil, tostring(e),
          type(e), type(e:stack())}
        """,
        ["why", "", True, True, "why", "userdata", "string"],
    ),
    "errors: new from a table": (
        """
        local e = errors.new{message = "m", kind = errors.TIMEOUT, retryable = false,
          details = {a = 1}}
        return {e:message(), e:kind(), e:retryable(), e:details(),
          errors.new{message = "m", details = {}}:details() == nil}
        """,
        ["m", "Timeout", False, {"a": 1}, True],
    ),
    "errors: wrap keeps what it wraps": (
        """
        local e = errors.wrap(errors.new{message = "m", kind = "Conflict", retryable = true,
          details = {1}}, "outer")
        local twice = errors.wrap(e, "outermost")
        return {tostring(e), e:message(), e:kind(), e:retryable(), e:details(), tostring(twice),
          tostring(errors.wrap("text", "c"))}
        """,
        ["outer: m", "m", "Conflict", True, [1], "outermost: outer: m", "c: text"],
    ),
    "errors: is": (
        """
        local e = errors.new{message = "m", kind = errors.INVALID}
        return {errors.is(e, errors.INVALID), errors.is(e, errors.TIMEOUT), errors.is("m", ""),
          errors.is(nil, ""), errors.is({}, "")}
        """,
        [True, False, False, False, False],
    ),
    "errors: call_stack": (
        """
        local e = errors.new("m")
        local stack = errors.call_stack(e)
        return {stack.thread, type(stack.frames[1].source), stack.frames[1].line > 0,
          type(stack.frames[1].name)}
        """,
        ["main", "string", True, "string"],
    ),
    "errors: concatenate and stand for texts": (
        """
        local e = errors.new("m")
        return {"a " .. e, e .. " b", e .. e, ("x"):upper(), string.upper(e), string.len(e), e .. 1}
        """,
        ["a m", "m b", "mm", "X", "M", 1, "m1"],
    ),
    "errors: pass through a call": (
        """
        local v, e = funcs.call("app:second")
        return {v == nil, e:kind(), e:message(), e:retryable(), e:details()}
        """,
        [True, "Conflict", "no", True, {"a": [1]}],
    ),
    "errors: pass from Python": (
        """
        local v, e = funcs.call("app:python_fails")
        return {v == nil, e:kind(), e:message(), e:retryable(), e:details()}
        """,
        [True, "RateLimited", "slowly", True, {"after": 5}],
    ),
    "errors: pass inside a value": (
        """
        local got = funcs.call("app:list", errors.new{message = "m", kind = "Timeout"})
        return {got[1]:kind(), got[1]:message()}
        """,
        ["Timeout", "m"],
    ),
    "errors: what was raised": (
        """
        local function of(id)
          local v, e = funcs.call(id)
          return {e:kind(), (e:message():gsub("^.*:(%d+:)", "%1")),
            e:details() and e:details().code}
        end
        return {of("app:raises"), of("app:raises_text"), of("app:raises_table")}
        """,
        [["Internal", "2: attempt to index a nil value (local 'x')"], ["Internal", "1: text"],
         ["Internal", "from a table", 5]],
    ),
    "errors: a table keeps its fields, however it comes": (
        """
        local seen = {}
        local function note(e) seen[#seen + 1] = e:details() end
        for _, name in ipairs{"raises", "returns", "far", "python", "hosted"} do
          note(select(2, funcs.call("app:" .. name .. "_code")))
        end
        note(select(2, process.exec("app:hosted_code", "app:one")))
        process.spawn_monitored("app:hosted_code", "app:other")
        note(process.events():receive().result.error)
        return seen
        """,
        [{"code": 5}] * 7,
    ),
    "errors: of a process": (
        """
        local v, e = process.exec("app:child_fails", "app:one")
        return {v == nil, e:kind(), e:message()}
        """,
        [True, "Timeout", "no"],
    ),
}  # fmt: skip

CHANNEL: Final[dict[str, tuple[str, Any]]] = {
    "channel: a buffer, close, drain": (
        """
        local ch = channel.new(2)
        local sent = ch:send(1)
        ch:send(nil)
        ch:close() ch:close()
        local a, ok = ch:receive()
        local b, ok2 = ch:receive()
        local c, ok3 = ch:receive()
        return {sent, a, ok, b == nil, ok2, c == nil, ok3, (pcall(ch.send, ch, 1))}
        """,
        [True, 1, True, True, True, True, False, False],
    ),
    "channel: the spawned one runs first": (
        """
        local log, ch = {}, channel.new()
        local function put(x) log[#log + 1] = x end
        coroutine.spawn(function(x) put(x) put(ch:receive()) end, "spawned")
        log[#log + 1] = "main"
        ch:send("sent")
        time.sleep("1ms")
        return log
        """,
        ["spawned", "main", "sent"],
    ),
    "channel: select": (
        """
        local a, b, c = channel.new(1), channel.new(1), channel.new()
        local first = channel.select{a:case_receive(), default = true}
        b:send(nil)
        local second = channel.select{a:case_receive(), b:case_receive()}
        local third = channel.select{a:case_send(5), b:case_receive()}
        c:close()
        local fourth = channel.select{c:case_receive(), a:case_receive()}
        local late = channel.new()
        coroutine.spawn(function() time.sleep("1ms") late:send("late") end)
        local fifth = channel.select{late:case_receive()}
        return {first.default, first.ok, first.channel == nil, second.channel == b, second.ok,
          second.value == nil, third.channel == a, a:receive(), fourth.channel == c, fourth.ok,
            fifth.value}
        """,
        [True, True, True, True, True, True, True, 5, True, False, "late"],
    ),
    "channel: main's end ends the others": (
        "coroutine.spawn(function() time.sleep('1h') end) return 1", 1,
    ),
    "channel: mistakes": (
        """
        return {pcall(channel.new, -1) == false, (pcall(channel.select, {1})), type(channel.new())}
        """,
        [True, False, "userdata"],
    ),
}  # fmt: skip

OTHERS: Final[dict[str, tuple[str, Any]]] = {
    "language: globals and casts": (
        """
        return {string(5), integer("7"), number("1.5"), boolean(nil), (pcall(integer, "x")),
          #table.create(5),
          type(os.time()), type(os.date()), type(os.clock()), os.difftime(5, 3), os.platform(),
          unpack({1, 2}), type(require("errors").new)}
        """,
        ["5", 7, 1.5, False, False, 0, "number", "string", "number", 2.0, "perdure", 1, "function"],
    ),
    "language: a module that is not listed": (
        """
        local ok, e = pcall(require, "nonsense")
        return {ok, e:kind(), e:message():match("is not listed in app:%a+_%d+: add it") ~= nil}
        """,
        [False, "NotFound", True],
    ),
    "uuid": (
        """
        local v5 = uuid.v5("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "x")
        return {uuid.version(uuid.v1()), uuid.version(uuid.v4()), uuid.version(uuid.v7()),
          uuid.version(v5),
          uuid.version(uuid.v3(v5, "x")), uuid.v4() ~= uuid.v4(), #uuid.format(v5, "simple"),
          uuid.validate(v5), uuid.validate(5), select(2, uuid.v5("x", "y")):kind(),
          select(2, uuid.format(v5, "odd")):kind(), uuid.variant(v5), uuid.parse(v5).version}
        """,
        [1, 4, 7, 5, 3, True, 32, True, False, "Invalid", "Invalid", "RFC4122", 5],
    ),
    "json": (
        """
        return {json.encode(nil), json.encode({}), json.encode({1.0, 1, "x"}),
          json.decode('{"a":[1,2.0]}'),
          select(2, json.encode({1, nil, 3})):kind(), select(2, json.decode("{")):kind(),
          select(2, json.decode("")):kind(), select(2, json.encode(print)):kind()}
        """,
        ["null", "[]", '[1.0,1,"x"]', {"a": [1, 2.0]}, "Internal", "Invalid", "Invalid",
        "Internal"],
    ),
    "logger": (
        """
        logger.info("a", {b = 1})
        logger:with({c = 1}):named("n"):warn("d")
        return {(pcall(logger.with, logger, 5)), logger.debug("x") == nil}
        """,
        [False, True],
    ),
    "random": (
        """
        local n = math.random(1, 6)
        return {n >= 1 and n <= 6, math.random() < 1, #crypto.random.bytes(4)}
        """,
        [True, True, 4],
    ),
}  # fmt: skip

CASES: Final = {**ERRORS, **CHANNEL, **OTHERS}
SOURCES: Final = {name: source for name, (source, _) in CASES.items()}

node = conformance_fixture(SOURCES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_the_surface(node: Conformance, name: str, kind: str) -> None:
    assert node.run(name, kind) == CASES[name][1]


def test_the_replayer_of_temporal_passes_over_each_of_them(node: Conformance) -> None:
    assert node.misfits_on_temporal() == {}


def test_a_replay_of_each_of_these_workflows_does_the_same(node: Conformance) -> None:
    """The last one: it ends the node."""
    assert node.misfits() == {}
