"""A workflow sees the same in every run: order, texts, chance, clocks, versions."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode_args
from runtime.errors import PerdureError
from tests.machine_harness import EPOCH, RUN, Node, Run, entry, error_of

SECOND = 1_000_000_000


def run(source: str, **options: Any) -> Any:
    """The result of a workflow that waits for nothing, the same in a few machines."""
    results = []
    for _ in range(3):
        workflow = Run(source, **options)
        workflow.step()
        results.append(workflow.result())
    assert results[0] == results[1] == results[2]
    return results[0]


def failure(source: str) -> PerdureError:
    def live() -> None:
        workflow = Run(source)
        workflow.step()
        workflow.result()

    return error_of(live)


ORDER = {
    "numbers, then texts, then booleans": (
        """
        local t = {z = 1, a = 2, [true] = 3, [false] = 4, [2.5] = 5, [-1] = 6, [10] = 7, b = 8}
        local keys = {}
        for k in pairs(t) do keys[#keys + 1] = tostring(k) end
        return keys
        """,
        ["-1", "2.5", "10", "a", "b", "z", "false", "true"],
    ),
    "next goes the same way": (
        """
        local t, keys = {z = 1, a = 2, [3] = 3, [true] = 4}, {}
        local k, v = next(t)
        while k ~= nil do keys[#keys + 1] = tostring(k) .. v k, v = next(t, k) end
        for k in next, t do keys[#keys + 1] = tostring(k) end
        return keys
        """,
        ["33", "a2", "z1", "true4", "3", "a", "z", "true"],
    ),
    "lists": (
        "local t, sum = {}, '' for i = 1, 20 do t[i] = i end for i, v in pairs(t) do sum = sum "
        ".. v end return sum",
        "".join(str(i) for i in range(1, 21)),
    ),
    "an empty table": ("return {next({}) == nil, pairs({})() == nil}", [True, True]),
    "keys that the loop removes or sets": (
        """
        local t, keys = {a = 1, b = 2, c = 3, d = 4}, {}
        for k, v in pairs(t) do keys[#keys + 1] = k .. v t[k] = nil t.c = nil if t.d then t.d = 9
          end end
        for k in next, {1, 2, 3} do keys[#keys + 1] = k end
        return keys
        """,
        ["a1", "b2", "d9", 1, 2, 3],
    ),
    "next while keys go": (
        """
        local t, keys = {a = 1, b = 2, c = 3}, {}
        local k = next(t)
        while k do local following = next(t, k) t[k] = nil keys[#keys + 1] = k k = following end
        return {keys, next(t) == nil}
        """,
        [["a", "b", "c"], True],
    ),
    "nested walks with next": (
        """
        local t, u, keys = {a = 1, b = 2}, {x = 1, y = 2}, {}
        for k in next, t do for l in next, u do keys[#keys + 1] = k .. l end t[k] = nil end
        return keys
        """,
        ["ax", "ay", "bx", "by"],
    ),
    "objects of the runtime by creation": (
        """
        local time, funcs = require("time"), require("funcs")
        local a, b, f, t = channel.new(), channel.new(), funcs.async("app:f"), time.timer("1h")
        local names = {[a] = "a", [b] = "b", [f] = "f", [t] = "t", x = "x"}
        local seen = {}
        for _, name in pairs(names) do seen[#seen + 1] = name end
        return seen
        """,
        ["x", "a", "b", "f", "t"],
    ),
    "one key of another kind comes last": (
        "local seen = {} for _, v in pairs({[{}] = 'table', a = 'a', [1] = 1}) do seen[#seen + "
        "1] = v end return seen",
        [1, "a", "table"],
    ),
    "a __pairs is the user's": (
        "local t = setmetatable({}, {__pairs = function() return next, {b = 1, a = 2} end})"
        " local s = '' for k in pairs(t) do s = s .. k end return s",
        "ab",
    ),
    "libraries": (
        "local first for k in pairs(math) do first = first or k end return first",
        "abs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
def test_order(name: str) -> None:
    source, expected = ORDER[name]
    assert run(source) == expected


def test_keys_without_an_order_are_refused_with_the_reason() -> None:
    error = failure("local t = {[{}] = 1, [print] = 2}\nfor k in pairs(t) do end")
    assert error.message.startswith(
        "main.lua:2: pairs: this table has two or more keys that are tables or functions"
    )
    assert "use numbers, strings or booleans" in error.message
    assert failure("next({[{}] = 1, [{}] = 2})").message.startswith("main.lua:1: next: ")


def test_next_refuses_a_key_that_was_never_there() -> None:
    assert failure("next({a = 1}, 'b')").message == "main.lua:1: invalid key to 'next'"


def test_texts_have_no_addresses() -> None:
    source = """
        local t, f, co = {}, function() end, coroutine.create(print)
        local named = setmetatable({}, {__name = "mine"})
        local said = setmetatable({}, {__tostring = function() return "said" end})
        return {
          tostring(t), tostring(f), tostring(co), tostring(print), tostring(named), tostring(said),
          string(t), ("%s %s"):format(t, f), string.format("%s", co), tostring(channel.new()),
          tostring(process.inbox()), tostring(process.with_context({})), tostring(errors.new("e")),
        }
    """
    assert run(source) == [
        "table", "function", "thread", "function", "mine", "said", "table", "table function",
        "thread", "channel", "channel", "builder", "e",
    ]  # fmt: skip
    for call in ("string.format('%p', {})", "('%5p'):format(print)"):
        assert "shows an address" in failure(call).message


def test_chance_is_seeded_by_the_run() -> None:
    source = """
        math.randomseed(os.time())
        local drawn = {}
        for i = 1, 50 do drawn[i] = math.random(1, 6) end
        return {drawn, math.random(), math.random(10), math.random(0), math.random(-5, -5)}
    """
    drawn, fraction, ten, bits, five = run(source)
    assert set(drawn) == {1, 2, 3, 4, 5, 6}
    assert 0 <= fraction < 1
    assert 1 <= ten <= 10
    assert isinstance(bits, int)
    assert five == -5
    assert run(source, seed=bytes(range(1, 33))) != [drawn, fraction, ten, bits, five]


def test_chance_stays_the_same_in_later_versions() -> None:
    """Recorded runs depend on it. Lua's generator gives these numbers from this state."""
    source = (
        "local t = {} for i = 1, 4 do t[i] = math.random(0) end t[5] = math.random(1, 1000) "
        "return t"
    )
    state = bytes(range(32))
    expected = []
    s = [int.from_bytes(state[i : i + 8], "little") for i in range(0, 32, 8)]
    mask = 2**64 - 1

    def rotated(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & mask

    def draw() -> int:
        result = rotated(s[1] * 5 & mask, 7) * 9 & mask
        t = s[1] << 17 & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotated(s[3], 45)
        return result

    for _ in range(4):
        value = draw()
        expected.append(value - 2**64 if value >= 2**63 else value)
    while (value := draw() & 1023) > 999:
        pass
    assert run(source, seed=state) == [*expected, 1 + value]


RANDOM_EDGES = {
    "return math.random(math.mininteger, math.maxinteger)": int,
    "return math.random(math.maxinteger)": int,
    "return math.random(3.0)": int,
}


@pytest.mark.parametrize("source", RANDOM_EDGES)
def test_random_takes_the_whole_range(source: str) -> None:
    assert isinstance(run(source), RANDOM_EDGES[source])


@pytest.mark.parametrize("source", ["math.random(2, 1)", "math.random(0.5)", "math.random('x')"])
def test_random_refuses(source: str) -> None:
    assert failure(source).kind == "Invalid"


def test_clocks_read_the_time_of_the_run() -> None:
    source = """
        local time = require("time")
        local function look() return
          {os.time(), time.now():unix(), os.clock(), os.date("%H:%M:%S")} end
        local first = look()
        time.sleep("90s")
        return {first, look(), os.date("*t").hour, os.time{year = 2025, month = 1, day = 1,
          hour = 0},
          os.time{year = 2024, month = 14, day = -1}, os.date("%Y-%m-%d", 86400)}
    """
    workflow = Run(source)
    (timer,) = workflow.step()
    workflow.node.clock.now += 10**15  # the wall clock is not what it reads
    workflow.answer(timer, later=90 * SECOND)
    start = EPOCH // SECOND
    assert workflow.result() == [
        [start, start, 0.0, "00:00:00"],
        [start + 90, start + 90, 90.0, "00:01:30"],
        0,
        start,
        start + 29 * 86400 + 43200,
        "1970-01-02",
    ]


def test_weak_tables_and_memory_figures_are_not_there() -> None:
    assert "weak tables are not available" in failure("setmetatable({}, {__mode = 'k'})").message
    assert run("return {collectgarbage('count'), collectgarbage()}") == [0, 0]


def test_events_carry_the_time_of_the_step() -> None:
    workflow = Run("local e = process.events():receive() return e.at:unix()")
    workflow.step()
    workflow.node.clock.now += 10**15
    workflow.step(inputs.control(RUN, "cancel", "", "enough"), later=5 * SECOND)
    assert workflow.result() == EPOCH // SECOND + 5


# Recorded values ----------------------------------------------------------------------------------

DRAWN = """
    local uuid, time = require("uuid"), require("time")
    local seen = {uuid.v4(), uuid.v7(), uuid.v4()}
    time.sleep("1s")
    seen[4] = uuid.v4()
    return seen
"""


def test_drawn_values_are_recorded_and_handed_out_again() -> None:
    workflow = Run(DRAWN)
    commands = workflow.step()
    assert [type(command) for command in commands] == [c.Value] * 3 + [c.StartTimer]
    workflow.answer(commands[-1])
    assert len(set(workflow.result())) == 4
    again = workflow.replay()
    assert again.result(RUN) == workflow.result()
    assert again.commands == workflow.node.commands


def test_a_replay_that_leaves_its_history_shows_other_commands() -> None:
    workflow = Run(DRAWN)
    workflow.answer(workflow.step()[-1])
    again = workflow.replay(
        DRAWN.replace("uuid.v4(), uuid.v7()", "workflow.version('x', 1, 1), uuid.v7()")
    )
    assert again.commands != workflow.node.commands


def test_workflow_time_does_not_move_within_a_step() -> None:
    workflow = Run(
        "local time = require('time') local a = time.now() for i = 1, 1e5 do end "
        "return a == time.now()"
    )
    workflow.step()
    assert workflow.result() is True


VERSIONED = """
    require("time").sleep("1s")
    return {workflow.version("change", 1, 3), workflow.version("change", 1, 3)}
"""


def test_a_new_run_takes_the_highest_version_and_keeps_it() -> None:
    workflow = Run(VERSIONED)
    workflow.answer(workflow.step()[0])
    assert workflow.result() == [3, 3]
    assert workflow.replay(VERSIONED.replace("1, 3", "1, 9")).result(RUN) == [3, 3]


def test_a_run_from_before_the_change_takes_the_lowest() -> None:
    before = "require('time').sleep('1s') process.inbox():receive() return 'before'"
    after = "local v = workflow.version('change', 1, 2) " + before + " .. v"
    workflow = Run(before)
    workflow.answer(workflow.step()[0])
    again = workflow.replay(after)
    again.step(inputs.step(RUN, EPOCH, None, [inputs.message(RUN, "t", "", encode_args([]))]))
    assert again.result(RUN) == "before1"


def test_a_version_that_the_code_no_longer_has() -> None:
    workflow = Run(VERSIONED)
    workflow.answer(workflow.step()[0])
    code = (
        "require('time').sleep('1s') local v, e = workflow.version('change', 4, 5) return "
        "e:message()"
    )
    assert workflow.replay(code).result(RUN) == (
        'workflow.version: this run took version 3 of "change", which the code no longer has (4 '
        "to 5)"
    )


# The module workflow and what is different in workflows -------------------------------------------


def test_info() -> None:
    workflow = Run("return {workflow.info(), workflow.history_length(), workflow.history_size()}")
    workflow.step()
    info, length, size = workflow.result()
    assert info["workflow_id"] == "run"
    assert (info["history_length"], length, size) == (0, 0, 100)


def test_calls_sends_spawns_and_exec_are_commands_even_within_the_vm() -> None:
    workflow = Run("""
        local funcs = require("funcs")
        funcs.async("app:f", 1)
        process.send(process.pid(), "t")
        local child = process.spawn("app:child", "app:processes")
        return {child, workflow.exec("app:child", 2)}
    """)
    call, send = workflow.step()
    assert (type(call), type(send)) == (c.Call, c.Send)
    (spawn,) = workflow.answer(send, True)
    assert isinstance(spawn, c.Spawn)
    (child,) = workflow.answer(spawn, "{app:processes|0x1}")
    assert isinstance(child, c.Spawn)
    assert (child.host, child.flags) == ("app:orders", c.EXEC)
    workflow.answer(child, {"r": 1})
    assert workflow.result() == ["{app:processes|0x1}", {"r": 1}]


def test_monitors_and_links_are_not_for_workflows() -> None:
    for verb in ("monitor", "unmonitor", "link", "unlink"):
        source = (
            f"local ok, e = process.{verb}('{{a:b|0x1}}') return {{ok == nil, e:kind(), "
            "e:message()}"
        )
        assert run(source) == [
            True,
            "Invalid",
            f"process.{verb}: not supported in workflow context",
        ]


def test_the_module_is_for_workflows_only() -> None:
    node = Node({"main": "local r, e = workflow.info() return {r == nil, e:kind(), e:message()}"})
    assert node.run("main") == [
        True,
        "Invalid",
        "workflow.info: only a workflow can call this; app:main is none",
    ]


def test_logs_are_silent_on_replay() -> None:
    workflow = Run(
        "print('one') require('time').sleep('1s') print('two') require('logger').info('three')"
    )
    workflow.answer(next(x for x in workflow.step() if isinstance(x, c.StartTimer)))
    assert workflow.node.logged() == ["one", "two", "three"]
    assert workflow.replay().logged() == []


def test_a_step_has_one_ration_of_fuel() -> None:
    """Hand-offs between coroutines of a workflow are no way around it."""
    workflow = Run("""
        local ch = channel.new()
        coroutine.spawn(function() while true do ch:receive() end end)
        while true do ch:send(1) end
    """)
    workflow.step()
    assert "out of fuel" in error_of(workflow.result).message


def test_a_workflow_that_ends_tells_its_links_and_watchers_with_the_time_of_the_step() -> None:
    workflow = Run("process.inbox():receive() return 5")
    workflow.first[4]["watchers"] = ["{a:b|0x1}"]
    workflow.first[4]["links"] = ["{a:b|0x2}", "{a:b|0x1}"]
    workflow.step()
    workflow.step(inputs.message(RUN, "t", "", encode_args([])), later=SECOND)
    events = [(signal.pid, decode(signal.event)) for signal in workflow.node.of(c.Signal)]
    assert [(pid, event["kind"], event["at"]) for pid, event in events] == [
        ("{a:b|0x1}", "pid.exit", EPOCH + SECOND),
        ("{a:b|0x2}", "pid.exit", EPOCH + SECOND),
    ]


def test_drop_takes_a_run_out_of_memory() -> None:
    workflow = Run(
        "local t = {} for i = 1, 1e5 do t[i] = {} end process.inbox():receive() return #t"
    )
    workflow.step()
    before = workflow.node.machine.memory
    workflow.node.step(inputs.drop(RUN))
    workflow.node.machine.define({"app:churn": entry("local t for i = 1, 400000 do t = {} end")})
    workflow.node.run("churn")
    assert workflow.node.machine.memory < before // 2
    assert workflow.node.of(c.Ended)[0].pid != RUN
    assert workflow.replay().step(
        inputs.step(RUN, EPOCH, None, [inputs.message(RUN, "t", "", encode_args([]))])
    )
