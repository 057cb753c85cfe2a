"""Channels, select and coroutine.spawn do what they do in Go."""

from __future__ import annotations

import pytest

from tests.machine_harness import Node, error_of, run

CASES = {
    "an unbuffered send waits for its receiver": (
        """
        local ch, log = channel.new(), {}
        coroutine.spawn(function()
          log[#log + 1] = "sending"
          ch:send(1)
          log[#log + 1] = "sent"
        end)
        log[#log + 1] = "receiving"
        local v, ok = ch:receive()
        log[#log + 1] = v .. tostring(ok)
        coroutine.spawn(function() end)
        return log
        """,
        ["sending", "receiving", "1true"],
    ),
    "a receiver waits for its sender": (
        """
        local ch, got = channel.new(), nil
        coroutine.spawn(function() got = {ch:receive()} ch:send("done") end)
        ch:send("x")
        local answer = ch:receive()
        return {got, answer}
        """,
        [["x", True], "done"],
    ),
    "a buffer takes as many values as it is large": (
        """
        local ch, log = channel.new(2), {}
        coroutine.spawn(function()
          for i = 1, 4 do ch:send(i) log[#log + 1] = "sent " .. i end
          ch:close()
        end)
        for i = 1, 4 do
          local v = ch:receive()
          log[#log + 1] = "got " .. v
        end
        return {log, {ch:receive()}}
        """,
        [["sent 1", "sent 2", "got 1", "got 2", "got 3", "sent 3", "sent 4", "got 4"], {2: False}],
    ),
    "values keep their order": (
        """
        local ch, got = channel.new(3), {}
        coroutine.spawn(function() for i = 1, 100 do ch:send(i) end ch:close() end)
        while true do
          local v, ok = ch:receive()
          if not ok then break end
          got[#got + 1] = v
        end
        for i = 1, 100 do assert(got[i] == i) end
        return #got
        """,
        100,
    ),
    "what is buffered drains after close": (
        """
        local ch = channel.new(3)
        ch:send(1) ch:send(nil) ch:send(false)
        ch:close() ch:close()
        local function next_one() local v, ok = ch:receive() return tostring(v) .. tostring(ok) end
        return {next_one(), next_one(), next_one(), next_one(), next_one()}
        """,
        ["1true", "niltrue", "falsetrue", "nilfalse", "nilfalse"],
    ),
    "close wakes all receivers": (
        """
        local ch, woken, done = channel.new(), 0, channel.new()
        for _ = 1, 3 do
          coroutine.spawn(function()
            local v, ok = ch:receive()
            if v == nil and ok == false then woken = woken + 1 end
            done:send(true)
          end)
        end
        ch:close()
        for _ = 1, 3 do done:receive() end
        return woken
        """,
        3,
    ),
    "a send on a closed channel raises": (
        """
        local ch = channel.new(1)
        ch:close()
        local ok, err = pcall(ch.send, ch, 1)
        return {ok, err:kind(), err:message()}
        """,
        [False, "Invalid", "send on a closed channel"],
    ),
    "close raises in a sender that waits": (
        """
        local ch, text = channel.new(), nil
        local done = channel.new(1)
        coroutine.spawn(function()
          local ok, err = pcall(function() ch:send(1) end)
          text = tostring(err)
          done:send(1)
        end)
        ch:close()
        done:receive()
        return text
        """,
        "send on a closed channel",
    ),
    "receivers are served in the order they came": (
        """
        local ch, order, done = channel.new(), {}, channel.new(9)
        for i = 1, 3 do
          coroutine.spawn(function()
            local v = ch:receive()
            order[#order + 1] = i .. v
            done:send(1)
          end)
        end
        ch:send("a") ch:send("b") ch:send("c")
        for _ = 1, 3 do done:receive() end
        return order
        """,
        ["1a", "2b", "3c"],
    ),
    "select takes the first ready case": (
        """
        local a, b = channel.new(1), channel.new(1)
        a:send("a") b:send("b")
        local r = channel.select{b:case_receive(), a:case_receive()}
        return {r.channel == b, r.value, r.ok}
        """,
        [True, "b", True],
    ),
    "select takes the default when nothing is ready": (
        """
        local a = channel.new()
        local r = channel.select{a:case_receive(), a:case_send(1), default = true}
        return {r.default, r.ok, r.channel == nil}
        """,
        [True, True, True],
    ),
    "select prefers a ready case to the default": (
        """
        local a = channel.new(1)
        local r = channel.select{a:case_send(7), default = true}
        return {r.channel == a, r.ok, a:receive()}
        """,
        [True, True, 7, True],
    ),
    "select waits for whoever comes first": (
        """
        local a, b = channel.new(), channel.new()
        coroutine.spawn(function() b:send("late") end)
        local first = channel.select{a:case_receive(), b:case_receive()}
        coroutine.spawn(function() a:receive() end)
        local second = channel.select{b:case_receive(), a:case_send("x")}
        return {first.channel == b, first.value, second.channel == a, second.ok}
        """,
        [True, "late", True, True],
    ),
    "select sees a close": (
        """
        local a = channel.new()
        coroutine.spawn(function() coroutine.spawn(function() end) a:close() end)
        local r = channel.select{a:case_receive()}
        return {r.channel == a, r.value == nil, r.ok}
        """,
        [True, True, False],
    ),
    "a select that waits to send raises when the channel is closed": (
        """
        local a, text, done = channel.new(), nil, channel.new(1)
        coroutine.spawn(function()
          local _, err = pcall(function() channel.select{a:case_send(1)} end)
          text = tostring(err)
          done:send(1)
        end)
        a:close()
        done:receive()
        return text
        """,
        "send on a closed channel",
    ),
    "select passes nil on": (
        """
        local a = channel.new()
        coroutine.spawn(function() a:send(nil) end)
        local r = channel.select{a:case_receive()}
        return {r.value == nil, r.ok}
        """,
        [True, True],
    ),
    "the same channel twice in a select": (
        """
        local a = channel.new()
        local sender = coroutine.spawn(function() a:send(1) a:send(2) end)
        local r1 = channel.select{a:case_receive(), a:case_receive()}
        local r2 = channel.select{a:case_receive(), a:case_receive()}
        return {r1.value, r2.value}
        """,
        [1, 2],
    ),
    "the loser of a select gets nothing": (
        """
        local a, b, got = channel.new(), channel.new(), {}
        local done = channel.new(5)
        coroutine.spawn(function()
          local r = channel.select{a:case_receive(), b:case_receive()}
          got[1] = r.value
          done:send(1)
        end)
        coroutine.spawn(function() got[2] = b:receive() done:send(1) end)
        a:send("for the select")
        b:send("for the other")
        done:receive() done:receive()
        return got
        """,
        ["for the select", "for the other"],
    ),
    "the spawned coroutine runs first, and nested ones before it goes on": (
        """
        local log = {}
        coroutine.spawn(function(a, b)
          log[#log + 1] = "1" .. a .. tostring(b)
          coroutine.spawn(function() log[#log + 1] = "2" end)
          log[#log + 1] = "3"
        end, "x", nil)
        log[#log + 1] = "4"
        return log
        """,
        ["1xnil", "2", "3", "4"],
    ),
    "the spawned coroutine of a spawned one survives": (
        """
        local ch = channel.new()
        coroutine.spawn(function()
          coroutine.spawn(function() ch:send(1) ch:send(2) end)
        end)
        return {(ch:receive()), (ch:receive())}
        """,
        [1, 2],
    ),
    "coroutine.spawn works inside a coroutine that user code resumes": (
        """
        local ch, log = channel.new(1), {}
        local co = coroutine.wrap(function()
          coroutine.spawn(function() log[#log + 1] = "spawned" ch:send(1) end)
          log[#log + 1] = "goes on"
          coroutine.yield("y")
        end)
        local yielded = co()
        log[#log + 1] = yielded
        return {log, ch:receive()}
        """,
        [["spawned", "goes on", "y"], 1, True],
    ),
    "main's end ends the others": (
        """
        coroutine.spawn(function() channel.new():receive() end)
        return "ended"
        """,
        "ended",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_channels(name: str) -> None:
    source, expected = CASES[name]
    assert run(source) == expected


DEADLOCKS = {
    "local ch = channel.new()\nch:receive()": (
        "deadlock: main waits to receive from a channel at main.lua:2"
    ),
    "local ch = channel.new(1)\nch:send(1)\nch:send(2)": (
        "deadlock: main waits to send on a channel at main.lua:3"
    ),
    "local a = channel.new()\nchannel.select{a:case_receive()}": (
        "deadlock: main waits in channel.select at main.lua:2"
    ),
    "channel.select{}": "deadlock: main waits in channel.select at main.lua:1",
    """local a = channel.new()
coroutine.spawn(function() a:receive()
  a:receive() end)
a:send(1)
a:send(2) a:receive()""": ("deadlock: main waits to receive from a channel at main.lua:5"),
    """local a, b = channel.new(), channel.new()
coroutine.spawn(function()
  a:receive() end)
coroutine.spawn(function()
  b:send(1) end)
local function wait(ch) return (ch:receive()) end
wait(channel.new())""": (
        "deadlock: main waits to receive from a channel at main.lua:6; "
        "coroutine 1 waits to receive from a channel at main.lua:3; "
        "coroutine 2 waits to send on a channel at main.lua:5"
    ),
}


@pytest.mark.parametrize("source", DEADLOCKS)
def test_a_deadlock_names_what_each_coroutine_waits_for(source: str) -> None:
    error = error_of(lambda: run(source))
    assert error.message == DEADLOCKS[source]


@pytest.mark.parametrize(
    "outside",
    [
        "process.inbox():receive()",
        "process.events():receive()",
        "process.listen('t'):receive()",
        "require('time').after('1h'):receive()",
        "require('time').sleep('1h')",
        "require('funcs').async('other:f'):response():receive()",
        "require('funcs').call('other:f')",
    ],
)
def test_what_is_fed_from_outside_is_no_deadlock(outside: str) -> None:
    node = Node({"main": f"coroutine.spawn(function() channel.new():receive() end)\n{outside}"})
    pid = node.start("main")
    node.step()
    assert node.alive(pid)


MISTAKES = {
    "channel.new(-1)": "channel.new: size must be an integer of 0 or more, got -1",
    "channel.new('x')": 'channel.new: size must be an integer of 0 or more, got "x"',
    "channel.new().receive()": "not a channel: nil; call channel methods with a colon, as in "
    "ch:receive()",
    "channel.new().send({}, 1)": "not a channel: a table; call channel methods with a colon, as "
    "in ch:receive()",
    "channel.select(1)": "channel.select takes a table of cases, got 1",
    "channel.select{channel.new()}": (
        "channel.select: case 1 is no case: use ch:case_receive() or ch:case_send(v)"
    ),
}


@pytest.mark.parametrize("source", MISTAKES)
def test_mistakes_are_told(source: str) -> None:
    error = error_of(lambda: run(source))
    assert (error.kind, error.message) == ("Invalid", MISTAKES[source])
    assert "main.lua:1" in error.trace


def test_selects_in_a_loop_leave_nothing_behind() -> None:
    """Two coroutines take turns: none of their records is ever the last of the quiet queue."""
    source = """
        local quiet, busy, other = channel.new(), channel.new(), channel.new()
        coroutine.spawn(function()
          while true do channel.select{quiet:case_receive(), busy:case_receive()} end
        end)
        coroutine.spawn(function()
          while true do channel.select{quiet:case_receive(), other:case_receive()} end
        end)
        local inbox = process.inbox()
        while true do
          inbox:receive()
          for i = 1, 2000 do busy:send(i) other:send(i) end
        end
    """
    node = Node({"main": source})
    pid = node.start("main")
    for _ in range(5):
        node.send(pid, "go")
    node.machine.collect()
    before = node.machine.memory
    for _ in range(20):
        node.send(pid, "go")
    node.machine.collect()
    assert node.machine.memory < before + 20_000  # 80,000 records would be 10 MB


def test_handles_show_nothing_of_the_runtime() -> None:
    source = """
        local time, funcs = require("time"), require("funcs")
        local objects = {
          channel.new(), channel.new():case_receive(), process.inbox(), time.timer("1h"),
          time.ticker("1h"), funcs.new(), funcs.async("other:f"), process.with_context({}),
          require("logger"):named("x"),
        }
        for _, object in ipairs(objects) do
          assert(type(object) == "userdata")
          for i = -20, 20 do assert(object[i] == nil) end
          for _, name in ipairs{"slot", "owner", "state", "env", "fuel", "seq", "context"} do
            assert(object[name] == nil, name)
          end
          assert(not pcall(rawget, object, 1))
          assert(not pcall(next, object))
          assert(not pcall(pairs, object))
          assert(getmetatable(object) == false)
          assert(not pcall(setmetatable, object, {}))
          -- An object of the user's is told apart without its metamethods being run.
          local ran = false
          local fake = setmetatable({}, {__index = function() ran = true end})
          for _, name in ipairs{"receive", "send", "close", "case_receive", "stop", "reset",
            "result"} do
            if object[name] then pcall(object[name], fake) end
          end
          assert(not ran)
        end
        return "sealed"
    """
    assert run(source) == "sealed"
