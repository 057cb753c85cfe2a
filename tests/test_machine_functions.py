"""Function calls, futures, inherited context and timers."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import commands as c
from runtime.codec import decode
from runtime.errors import Kind, PerdureError
from tests.machine_harness import EPOCH, Node, entry, error_of, payload

FUNCTIONS = {
    "add": "local a, b = ... return a + b",
    "fails": "error('broken')",
    "returns_error": (
        "return nil, require('errors').new{kind = 'Conflict', message = 'taken', retryable = true,"
        " details = {id = 1}}"
    ),
    "who": "return {process.pid(), process.id()}",
    "context": "return require('ctx').all()",
    "nested": "return require('funcs').call('app:add', ..., 1)",
    "waits": "return process.inbox():receive():payload():data()",
    "deep": "return require('funcs').call('app:deep')",
    "counts": "count = (count or 0) + 1 return count",
    "big": "return {list = {1, 2.5, 'x'}, f = print}",
}


def node(source: str, **more: Any) -> Node:
    functions = {
        name: entry(text, "function.lua", chunk=f"{name}.lua") for name, text in FUNCTIONS.items()
    }
    return Node({"main": f"local funcs = require('funcs')\n{source}", **functions, **more})


CALLS = {
    "a result": ("return funcs.call('app:add', 1, 2)", 3),
    "tables are copied, integers stay": (
        "local r = funcs.call('app:big') return {math.type(r.list[1]), math.type(r.list[2]), r.f "
        "== nil}",
        ["integer", "float", True],
    ),
    "a raise is INTERNAL with its place": (
        "local r, e = funcs.call('app:fails') return {r == nil, e:kind(), e:message()}",
        [True, "Internal", "fails.lua:1: broken"],
    ),
    "a returned error keeps itself": (
        """
        local r, e = funcs.call('app:returns_error')
        return {r == nil, e:kind(), e:message(), e:retryable(), e:details().id}
        """,
        [True, "Conflict", "taken", True, 1],
    ),
    "calls within calls": ("return funcs.call('app:nested', 5)", 6),
    "each call has globals of its own": (
        "return {funcs.call('app:counts'), (funcs.call('app:counts'))}",
        [1, 1],
    ),
    "a function has an identity": (
        "local r = funcs.call('app:who') return {r[1] ~= process.pid(), r[2]}",
        [True, "app:who"],
    ),
    "ids without namespace are refused": (
        "local r, e = funcs.call('add') return {r == nil, e:kind(), e:message()}",
        [True, "Invalid", 'funcs.call: function id must be namespace:name, got "add"'],
    ),
    "so are empty ones": ("local r, e = funcs.call('') return e:kind()", "Invalid"),
    "recursion without end fails": (
        "local r, e = funcs.call('app:deep') return e:message()",
        "function calls nested deeper than 200: does app:deep call itself without end?",
    ),
    "calls work inside user coroutines": (
        """
        local gen = coroutine.wrap(function() for i = 1,
          3 do coroutine.yield(funcs.call('app:add', i, i)) end end)
        return {(gen()), (gen()), (gen())}
        """,
        [2, 4, 6],
    ),
    "and inside pcall": (
        "local ok, r = pcall(funcs.call, 'app:add', 1, 1) return {ok, r}",
        [True, 2],
    ),
    "an executor is immutable": (
        """
        local base = funcs.new()
        local one = base:with_context{a = 1}
        local two = one:with_context{b = 2}
        return {base:call('app:context'), (one:call('app:context')), (two:call('app:context'))}
        """,
        [[], {"a": 1}, {"a": 1, "b": 2}],
    ),
    "a future completes": (
        """
        local f = funcs.async('app:add', 2, 3)
        local before = {f:is_complete(), f:result() == nil}
        local p, ok = f:response():receive()
        return {before, p:data(), ok, f:is_complete(), f:result():data(), f:error() == nil,
          f:channel() == f:response()}
        """,
        [[False, True], 5, True, True, 5, True, True],
    ),
    "a future fails": (
        """
        local f = funcs.async('app:fails')
        local e = f:response():receive()
        local r, err = f:result()
        local err2, failed = f:error()
        return {type(e), e:kind(), r == nil, err:message(), err2:message(), failed}
        """,
        ["userdata", "Internal", True, "fails.lua:1: broken", "fails.lua:1: broken", True],
    ),
    "a future is cancelled": (
        """
        local f = funcs.async('app:waits')
        local first, second = f:cancel(), f:cancel()
        local r, err = f:result()
        return {first, second, f:is_canceled(), r == nil, err:kind(), err:message(),
          f:response():receive():kind()}
        """,
        [True, False, True, True, "Canceled", "canceled", "Canceled"],
    ),
    "futures run side by side and select finds the first": (
        """
        local slow, quick = funcs.async('app:waits'), funcs.async('app:add', 1, 1)
        local r = channel.select{slow:response():case_receive(), quick:response():case_receive()}
        return {r.channel == quick:response(), r.value:data()}
        """,
        [True, 2],
    ),
    "methods without their object say so": (
        "local ok, e = pcall(funcs.async('app:waits').result, 5) return e:message()",
        "not a future: 5; call its methods with a colon, as in future:result()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_inline_calls(name: str) -> None:
    source, expected = CALLS[name]
    machine = node(source)
    assert machine.run("main") == expected
    assert machine.of(c.Call) == []


def test_other_calls_are_commands() -> None:
    machine = node("""
        local a = funcs.call("far:f", 1, {x = 2})
        local b, err = funcs.new():with_options{timeout = 5}:with_context{t = 1}:call("app:add",
          1, 2)
        return {a, b == nil, err:kind(), err:retryable()}
    """)
    pid = machine.start("main", context=b"\x81\xa1u\x02")
    machine.step()
    call = machine.last(c.Call)
    assert (call.pid, call.target, payload(call), call.options) == (
        pid,
        "far:f",
        [1, {"x": 2}],
        None,
    )
    machine.answer(call, "A")
    call = machine.last(c.Call)
    assert call.options is not None
    assert call.context is not None
    assert (decode(call.options), decode(call.context)) == ({"timeout": 5}, {"t": 1, "u": 2})
    machine.answer(call, PerdureError(Kind.TIMEOUT, "late", retryable=True), ok=False)
    assert machine.result(pid) == ["A", True, "Timeout", True]


def test_answers_come_in_any_order() -> None:
    machine = node("""
        local got = {}
        local futures = {}
        for i = 1, 3 do futures[i] = funcs.async("far:f", i) end
        for i = 1, 3 do got[i] = futures[i]:response():receive():data() end
        return got
    """)
    pid = machine.start("main")
    machine.step()
    calls = machine.of(c.Call)
    for call in (calls[1], calls[2], calls[0]):
        machine.answer(call, payload(call)[0] * 10)
    assert machine.result(pid) == [10, 20, 30]


def test_a_cancelled_command_call_is_told_and_its_late_answer_ignored() -> None:
    machine = node("""
        local f = funcs.async("far:f")
        f:cancel()
        process.inbox():receive()
        return {f:is_canceled(), select(2, f:result()):message()}
    """)
    pid = machine.start("main")
    machine.step()
    call = machine.last(c.Call)
    assert machine.last(c.CancelCall) == c.CancelCall(pid, call.seq)
    machine.answer(call, "late")
    machine.send(pid, "go")
    assert machine.result(pid) == [True, "canceled"]


def test_a_function_ends_with_its_caller() -> None:
    machine = node(
        "local pid = funcs.async('app:tells', process.pid()) process.inbox():receive() return 1",
        tells=entry(
            """
            process.send((...), "here", process.pid())
            local sub = require("funcs").call("app:waits")
            """,
            "function.lua",
        ),
    )
    before = machine.machine.memory
    pids = [machine.start("main") for _ in range(50)]
    machine.step()
    assert [machine.result(pid) for pid in pids] == [1] * 50
    assert machine.machine.memory - before < 2_000_000
    (_, answer) = (machine.start("main"), machine.step())
    assert answer


def test_context_is_inherited_and_read() -> None:
    machine = node("""
        local ctx = require("ctx")
        local missing, e1 = ctx.get("none")
        local empty, e2 = ctx.get("")
        local all = ctx.all()
        all.x.y = 99
        return {ctx.get("x").y, missing == nil, e1:kind(), empty == nil, e2:kind(),
          (funcs.call("app:context"))}
    """)
    pid = machine.start("main", context=b"\x81\xa1x\x81\xa1y\x01")
    machine.step()
    assert machine.result(pid) == [1, True, "NotFound", True, "Invalid", {"x": {"y": 1}}]


# Timers -------------------------------------------------------------------------------------------

SECOND = 1_000_000_000


def test_sleep() -> None:
    machine = node("local ok = require('time').sleep('1h30m') return ok")
    pid = machine.start("main")
    machine.step()
    timer = machine.last(c.StartTimer)
    assert (timer.pid, timer.ns) == (pid, 5400 * SECOND)
    machine.answer(timer, None)
    assert machine.result(pid) is True


def test_after_and_timers() -> None:
    machine = node("""
        local time = require("time")
        local after = time.after("1s")
        local timer = time.timer("1m")
        local kept = time.timer(5 * time.SECOND)
        local stopped = {timer:stop(), timer:stop()}
        local reset = {kept:reset("10s"), timer:reset("2m")}
        local at = after:receive()
        local fired = kept:channel():receive()
        return {stopped, reset, at:unix(), type(fired), kept:stop()}
    """)
    pid = machine.start("main")
    machine.step()
    assert [timer.ns // SECOND for timer in machine.of(c.StartTimer)] == [1, 60, 5, 10, 120]
    assert [timer.seq for timer in machine.of(c.CancelTimer)] == [2, 3]
    machine.answer(machine.of(c.StartTimer)[0], None)
    machine.answer(machine.of(c.StartTimer)[3], None)
    assert machine.result(pid) == [[True, False], [True, False], EPOCH // SECOND, "userdata", False]


def test_a_ticker_keeps_its_beat_and_drops_ticks_for_the_slow() -> None:
    machine = node("""
        local ticker = require("time").ticker("10s")
        local ch, inbox, got = ticker:channel(), process.inbox(), {}
        for i = 1, 2 do got[i] = ch:receive():unix() end
        inbox:receive()
        got[3] = ch:receive():unix()
        got[4] = channel.select{ch:case_receive(), default = true}.default
        got[5] = ticker:stop()
        return got
    """)
    pid = machine.start("main")
    machine.step()

    def tick(seconds: int) -> None:
        machine.clock.now = EPOCH + seconds * SECOND
        machine.answer(machine.last(c.StartTimer), None)

    tick(10)
    assert machine.last(c.StartTimer).ns == 10 * SECOND
    tick(23)
    assert machine.last(c.StartTimer).ns == 7 * SECOND
    tick(30)
    tick(40)
    machine.send(pid, "look")
    start = EPOCH // SECOND
    assert machine.result(pid) == [start + 10, start + 23, start + 30, True, True]


BAD_TIMES = {
    "time.sleep('x')": 'time.sleep: "x" is not a duration',
    "time.after({})": "time.after: ",
    "time.timer(nil)": "time.timer: ",
    "time.ticker(0)": "time.ticker: duration must be more than zero, got 0",
}


@pytest.mark.parametrize("call", BAD_TIMES)
def test_bad_durations_are_invalid(call: str) -> None:
    machine = node(
        f"local time = require('time') local r, e = {call} return {{r == nil, e:kind(), "
        f"e:message()}}"
    )
    nothing, kind, message = machine.run("main")
    assert (nothing, kind) == (True, "Invalid")
    assert message.startswith(BAD_TIMES[call])


# Where nothing can wait ---------------------------------------------------------------------------

OBSTACLES = {
    "tostring": "tostring(setmetatable({}, {__tostring = function() wait() return '' end}))",
    "ipairs": "for _ in ipairs(setmetatable({}, {__index = function() wait() end})) do end",
    "table.unpack": "table.unpack(setmetatable({}, {__index = function() wait() end}), 1, 1)",
}


@pytest.mark.parametrize("name", OBSTACLES)
@pytest.mark.parametrize(
    "wait",
    [
        "process.inbox():receive()",
        "funcs.call('app:add', 1, 1)",
        "coroutine.wrap(function() channel.new():receive() end)()",
    ],
)
def test_an_error_names_the_function_that_cannot_be_suspended(name: str, wait: str) -> None:
    machine = node(f"""
        local function wait() {wait} end
        local ok, err = pcall(function() {OBSTACLES[name]} end)
        -- Nothing is left registered: the next wait works.
        local after = funcs.call("app:add", 1, 1)
        return {{ok, err:kind(), err:message(), after}}
    """)
    expected = f"cannot wait inside {name}: it runs in C, which cannot be suspended"
    assert machine.run("main") == [False, "Invalid", expected, 2]
    uncaught = node(f"local function wait() {wait} end {OBSTACLES[name]}")
    assert error_of(lambda: uncaught.run("main")).message == expected


YIELDING = {
    "sort": "local t = {3, 1, 2} table.sort(t, function(a, b) return funcs.call('app:add', a, 0) "
    "< b end) return t",
    "gsub": "return (('abc'):gsub('%w', function(ch) return funcs.call('app:add', 1, 1) end))",
    "pcall": "return {pcall(function() return funcs.call('app:add', 1, 1) end)}",
    "xpcall": "return {xpcall(function() return funcs.call('app:add', 1, 1) end, print)}",
    "metamethods": "return setmetatable({}, {__index = function(_, k) return "
    "funcs.call('app:add', k, 1) end})[4]",
    "an iterator": "local s = 0 for i in function(_, n) n = funcs.call('app:add', n or 0, 1) "
    "return n < 4 and n or nil end do s = s + i end return s",
    "concat": "return table.concat(setmetatable({}, {__index = function(_, i) return "
    "funcs.call('app:add', i, i) end}), ',', 1, 3)",
    "a __pairs": "for k in pairs(setmetatable({}, {__pairs = function() funcs.call('app:add', 1, "
    "1) return next, {x = 1} end})) do return k end",
    "a __close": "local r = {} do local x <close> = setmetatable({}, {__close = function() r[1] "
    "= funcs.call('app:add', 1, 1) end}) end return r",
}
RESULTS = {
    "sort": [1, 2, 3], "gsub": "222", "pcall": [True, 2], "xpcall": [True, 2], "metamethods": 5,
    "concat": "2,4,6", "an iterator": 6, "a __pairs": "x", "a __close": [2],
}  # fmt: skip


@pytest.mark.parametrize("name", YIELDING)
def test_waits_work_inside(name: str) -> None:
    assert node(YIELDING[name]).run("main") == RESULTS[name]
