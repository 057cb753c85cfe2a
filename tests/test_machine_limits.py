"""What runs on or grows without end dies in bounded time and hurts nobody else.

Each attack shares its VM with a process that answers pings; it has to answer afterwards, and the
attack's own code must never see that it was killed.
"""

from __future__ import annotations

import pytest

from runtime import commands as c
from runtime import inputs
from runtime.codec import encode_args
from runtime.lua.machine import OutOfMemoryError
from tests.machine_harness import EPOCH, RUN, Node, entry, error_of

PING = """
    local inbox = process.inbox()
    while true do
      local msg = inbox:receive()
      process.send(msg:from(), "pong", msg:payload():data())
    end
"""

FUEL_ATTACKS = {
    "a loop": "while true do end",
    "a pcall loop": "while true do pcall(function() while true do end end) end",
    "nested pcalls": """
        local function dig(n) if n == 0 then while true do end end pcall(dig, n - 1) see() end
        dig(50)
    """,
    "an xpcall handler that loops": """
        while true do xpcall(error, function() while true do end end) end
    """,
    "a handler of a loop": "xpcall(function() while true do end end, function() see() while true "
    "do end end)",
    "handlers that raise": """
        local function handler() error("again") end
        while true do xpcall(error, handler, "x") end
    """,
    "short coroutines": "while true do coroutine.wrap(function() end)() end",
    "coroutines kept": "local t = {} while true do t[#t + 1] = coroutine.create(function() end) "
    "end",
    "a coroutine that loops": "while true do coroutine.resume(coroutine.create(function() while "
    "true do end end)) see() end",
    "coroutines within coroutines": """
        local function dig() return coroutine.wrap(function() dig() end)() end
        while true do pcall(dig) end
    """,
    "coroutine.close loops": """
        while true do
          local co = coroutine.create(function()
            local x <close> = setmetatable({}, {__close = function() while true do end end})
            coroutine.yield()
          end)
          coroutine.resume(co)
          coroutine.close(co)
          see()
        end
    """,
    "coroutine.spawn without end": "while true do coroutine.spawn(function() end) end",
    "spawned coroutines that spawn": "local function f() coroutine.spawn(f) end f() "
    "process.inbox():receive()",
    "a __close that loops": """
        do local x <close> = setmetatable({}, {__close = function() while true do end end}) end
    """,
    "a __close that catches": """
        local mt = {__close = function(_, e)
          if e ~= nil then see() end
          pcall(function() while true do end end)
          see()
          while true do end
        end}
        local a <close> = setmetatable({}, mt)
        local b <close> = setmetatable({}, mt)
        while true do end
    """,
    "many __close": """
        local mt = {__close = function() while true do end end}
        local function dig(n)
          local x <close> = setmetatable({}, mt)
          if n > 0 then dig(n - 1) end
          while true do end
        end
        dig(150)
    """,
    "a for loop's closing value": """
        local closing = setmetatable({}, {__close = function() while true do end end})
        for _ in function() while true do end end, nil, nil, closing do end
    """,
    "metamethods": """
        local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})
        local x = pcall(function() return t[1] end)
        local u = setmetatable({},
          {__eq = function() while true do end end, __lt = function() while true do end end})
        return u < setmetatable({}, getmetatable(u))
    """,
    "__tostring": "return tostring(setmetatable({}, {__tostring = function() while true do end "
    "end}))",
    "__concat": "return setmetatable({}, {__concat = function() while true do end end}) .. 'x'",
    "__pairs": "for _ in pairs(setmetatable({}, {__pairs = function() while true do end end})) "
    "do end",
    "an ipairs without end": "for _ in ipairs(setmetatable({}, {__index = function(_, i) return "
    "i end})) do end",
    "gsub callbacks": "while true do pcall(string.gsub, ('x'):rep(1000), 'x', function() while "
    "true do end end) see() end",
    "sort comparators": "table.sort({3, 2, 1}, function() while true do end end)",
    "a pattern that explodes": "string.find(('a'):rep(30000), '.-.-.-.-b$')",
    "patterns in a loop": "while true do pcall(string.match, ('a'):rep(10000), '(.-)(.-)b') end",
    "string.rep in a loop": "while true do pcall(string.rep, 'x', 1 << 25) end",
    "string.rep of nothing": "while true do pcall(string.rep, '', 1 << 50) end",
    "string.upper of a large text": "local s = ('x'):rep(1 << 25) while true do local t = "
    "s:upper() end",
    "table.concat in a loop": """
        local t = {} for i = 1, 100000 do t[i] = 'xxxxxxxxxxxxxxxxxxxx' end
        while true do table.concat(t) end
    """,
    "table.move in a loop": "while true do pcall(table.move, {}, 1, 9999999, 2) end",
    "table.insert at the front": """
        local t = {} for i = 1, 200000 do t[i] = i end
        while true do table.insert(t, 1, 0) table.remove(t, 1) end
    """,
    "unpack in a loop": "while true do pcall(table.unpack, {}, 1, 999000) end",
    "load in a loop": "local s = ('x = 1 '):rep(10000) while true do load(s) end",
    "load that never ends": "load(function() return ' ' end)",
    "string.format": "local s = ('x'):rep(1 << 24) while true do local t = ('%s%s'):format(s, s) "
    "end",
    "messages to itself": "while true do process.send(process.pid(), 't') "
    "process.inbox():receive() end",
    "errors caught for ever": "while true do pcall(error, {}) end",
    "goto": "::again:: goto again",
    "tail calls": "local function f() return f() end return f()",
    "selects with default": "local ch = channel.new() while true do "
    "channel.select{ch:case_receive(), default = true} end",
}  # fmt: skip

#: Never waits for anybody but itself, and so never stops.
HAND_OFFS = """
    local ch = channel.new()
    coroutine.spawn(function() while true do ch:receive() end end)
    while true do work() ch:send(1) end
"""


def with_neighbour(source: str, **options: int) -> tuple[Node, str, str]:
    """A node with an attacker (not yet run) and a process that answers pings; their PIDs."""
    see = "local function see() print('seen') end\n"
    node = Node({"attack": see + source, "ping": PING}, **options)
    neighbour = node.start("ping")
    node.step()
    return node, node.start("attack"), neighbour


def answers(node: Node, pid: str) -> bool:
    before = len(node.of(c.Send))
    node.send(pid, "ping", 1)
    return len(node.of(c.Send)) == before + 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", FUEL_ATTACKS)
def test_fuel(name: str) -> None:
    node, attacker, neighbour = with_neighbour(FUEL_ATTACKS[name])
    node.step()
    error = error_of(lambda: node.result(attacker))
    assert error.kind == "Internal"
    assert error.message.startswith("process killed: out of fuel"), error.message
    assert node.logged() == []  # nothing of it ran on after the kill
    assert answers(node, neighbour)


def test_what_waits_in_every_turn_runs_on_beside_others() -> None:
    node, busy, neighbour = with_neighbour("local function work() end" + HAND_OFFS)
    for _ in range(5):
        more, _ = node.machine.step([])
        assert more
    more, commands = node.machine.step(
        [inputs.message(neighbour, "ping", "{test|1}", encode_args([1]))]
    )
    assert more
    assert any(isinstance(command, c.Send) for command in commands)
    assert node.alive(busy)


def test_long_turns_count_more_in_a_slice() -> None:
    """A VM of busy processes still looks at its inbox every few milliseconds."""
    work = "local function work() for i = 1, 100000 do end print('turn') end"
    node, _, _ = with_neighbour(work + HAND_OFFS)
    more, commands = node.machine.step([])
    assert more
    # A slice is 2,000 short turns or 1,000,000 instructions.
    assert 1 <= len([command for command in commands if isinstance(command, c.Log)]) <= 12


MEMORY_ATTACKS = {
    "a table that grows": "local t = {} while true do t[#t + 1] = {} end",
    "texts": "local t, i = {}, 0 while true do i = i + 1 t[i] = ('x'):rep(10000) .. i end",
    "under pcall": "local t = {} while true do pcall(function() while true do t[#t + 1] = {1, 2, "
    "3} end end) see() end",
    "coroutines": "local t = {} for i = 1, 1e7 do t[i] = coroutine.create(function() end) end",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "doubling under pcall": "local s = 'x' while true do pcall(function() while true do s = s .. "
    "s end end) see() end",
    "a closed variable that grows": """
        local t = {}
        local x <close> = setmetatable({}, {__close = function() while true do t[#t + 1] =
          {} end end})
        while true do t[#t + 1] = {} end
    """,
    "messages to itself": "while true do process.send(process.pid(), 't', ('x'):rep(1000)) end",
    "channels": "local ch = channel.new(1 << 40) while true do ch:send({}) end",
    "globals": "i = 0 while true do i = i + 1 _G['k' .. i] = i end",
    "string.rep": "local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) end",
    "concat of large texts": "local s, t = ('x'):rep(1 << 24), {} for i = 1, 100 do t[i] = s end "
    "while true do pcall(table.concat, t) see() end",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MEMORY_ATTACKS)
def test_memory(name: str) -> None:
    node, attacker, neighbour = with_neighbour(
        MEMORY_ATTACKS[name], fuel=2_000_000_000, memory=40 << 20
    )
    node.step()
    error = error_of(lambda: node.result(attacker))
    assert error.kind == "Internal"
    assert error.message.startswith("process killed: out of memory"), error.message
    assert node.logged() == []
    assert answers(node, neighbour)
    # What it held is free again.
    churn = entry("local t for i = 1, 1000000 do t = {i} end return 1")
    node.machine.define({"app:churn": churn})
    assert node.run("churn") == 1
    assert node.machine.memory < 30 << 20


@pytest.mark.parametrize("name", ["a table that grows", "texts", "under pcall", "string.rep"])
def test_what_a_step_may_add(name: str) -> None:
    sources = {"held": "local t = {} for i = 1, 200000 do t[i] = {i} end process.inbox():receive()"}
    node = Node({**sources, "main": MEMORY_ATTACKS[name]}, fuel=50_000_000, growth=8 << 20)
    node.start("held")
    node.step()
    run = node.start("main", pid=RUN, durable=True, seed=bytes(32))
    node.step(inputs.step(run, EPOCH, None, []))
    error = error_of(lambda: node.result(run))
    assert error.kind == "Internal"
    expected = "process killed: out of memory: it grew its VM in one step by more than 8 MB"
    assert error.message == expected
    assert node.logged() == []


def test_the_hard_cap_costs_the_vm_and_not_the_interpreter() -> None:
    """Memory that no process can be blamed for: a batch of inputs that does not fit."""
    node = Node({"main": "process.inbox():receive()"}, memory=10 << 20)
    pid = node.start("main")
    node.step()
    with pytest.raises(OutOfMemoryError):
        node.send(pid, "t", [[float(i)] for i in range(400_000)])


def test_the_hard_cap_leaves_other_machines_alone() -> None:
    other = Node({"main": "return 1"})
    test_the_hard_cap_costs_the_vm_and_not_the_interpreter()
    assert other.run("main") == 1


def test_gc_is_refused() -> None:
    node = Node(
        {"main": "return {pcall(setmetatable, {}, {__gc = function() while true do end end})}"}
    )
    assert node.run("main") == [False, "setmetatable: __gc is not available"]


def test_without_fuel_nothing_is_limited() -> None:
    node = Node({"main": "local n = 0 for i = 1, 2e7 do n = n + 1 end return n"}, fuel=0)
    assert node.run("main") == 20_000_000


def test_fuel_is_for_a_turn() -> None:
    source = """
        local inbox = process.inbox()
        for i = 1, 20 do
          inbox:receive()
          for j = 1, 1000000 do end
        end
        return "done"
    """
    node = Node({"main": source}, fuel=3_000_000)
    pid = node.start("main")
    for _ in range(20):
        node.send(pid, "go")
    assert node.result(pid) == "done"


def test_a_killed_function_is_an_error_of_its_caller() -> None:
    node = Node(
        {
            "main": "local r, e = require('funcs').call('app:loop') return {r == nil, e:kind(), "
            "e:retryable(), e:message()}",
            "loop": entry("while true do end", "function.lua"),
        }
    )
    assert node.run("main") == [
        True,
        "Internal",
        False,
        "process killed: out of fuel: it ran 5000000 instructions without waiting",
    ]


def test_a_kill_in_the_middle_of_a_send_loses_nothing_of_the_receiver() -> None:
    """The periods of hook and loop may resonate; the kill waits for its moment."""
    for length in range(1, 40):
        padding = "local x = 1 " * length
        node = Node(
            {
                "main": f"local to = ... while true do process.send(to, 't', 1) {padding} end",
                "sink": "local inbox, n = process.inbox(), 0 while true do inbox:receive() n = n "
                "+ 1 end",
            },
            fuel=20_000,
        )
        sink = node.start("sink")
        node.step()
        attacker = node.start("main", sink)
        node.step()
        error = error_of(lambda node=node, attacker=attacker: node.result(attacker))  # type: ignore[misc]
        assert error.message.startswith("process killed: out of fuel")
        assert node.alive(sink)
        (answer,) = [x for x in node.step(["list", None, "{test|1}", 9]) if isinstance(x, c.Answer)]
        assert answer.value.endswith(b"\x00\xa0")  # its inbox is empty, it has no parent
