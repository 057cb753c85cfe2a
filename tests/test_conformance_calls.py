"""Calls, futures, context and time are what the surface says, everywhere.

Each behaviour is met in a function, a process and a workflow, on a real node. What concerns one of
them only, or two VMs, or clocks, has tests of its own.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.conformance_lab import KINDS, Conformance, conformance_fixture
from tests.process_lab import PATIENCE, eventually

FUNCS: Final[dict[str, tuple[str, Any]]] = {
    "funcs: call": (
        """
        local v, e = funcs.call("app:list", 1, nil, "x")
        local p = funcs.call("app:python", 1, {a = 2.5})
        return {v, e == nil, p, funcs.call("app:echo") == nil}
        """,
        [{1: 1, 3: "x"}, True, [1, {"a": 2.5}], True],
    ),
    "funcs: ids that are none": (
        """
        local function kind(id) return select(2, funcs.call(id)):kind() end
        return {kind(""), kind("echo"), kind(nil), kind("app:nothing"), kind("app:child"),
          select(2, funcs.async("")):kind()}
        """,
        ["Invalid", "Invalid", "Invalid", "NotFound", "Invalid", "Invalid"],
    ),
    "funcs: an error beside a value is no failure": (
        "local v, e = funcs.call('app:beside') return {v.error, e == nil}", ["sold out", True],
    ),
    "funcs: executors": (
        """
        local one = funcs.new()
        local two = one:with_context{a = 1}
        local three = two:with_context{b = 2}:with_options{timeout = 5000}
        three = three:with_actor({}):with_scope({})
        return {one:call("app:who")[1], two:call("app:who")[1], three:call("app:who")[1],
          three:call("app:who")[2], select(2, one:with_options(1)):kind(), type(one)}
        """,
        [[], {"a": 1}, {"a": 1, "b": 2}, "app:who", "Invalid", "userdata"],
    ),
    "funcs: futures": (
        """
        local f = funcs.async("app:echo", {1, 2})
        local got, ok = f:response():receive()
        local failed = funcs.async("app:second")
        local err = failed:channel():receive()
        local v, e = failed:result()
        local fe, is = failed:error()
        local ne, no = f:error()
        return {got:data(), ok, f:is_complete(), f:is_canceled(), f:result():data(), err:kind(),
          v == nil,
          e:kind(), fe:kind(), is, ne == nil, no, f:response() == f:channel(), type(f)}
        """,
        [[1, 2], True, True, False, [1, 2], "Conflict", True, "Conflict", "Conflict", True, True,
        False,
         True, "userdata"],
    ),
    "funcs: a future that is cancelled": (
        """
        local f = funcs.async("app:hangs")
        local v, e = f:result()
        local pending = {v == nil, e == nil, f:is_complete()}
        local cancelled, again = f:cancel(), f:cancel()
        local _, err = f:result()
        return {pending, cancelled, again, f:is_canceled(), err:kind(), err:message(),
          f:response():receive():kind()}
        """,
        [[True, True, False], True, False, True, "Canceled", "canceled", "Canceled"],
    ),
    "funcs: the channel of a future is closed behind its value": (
        """
        local good, bad, gone = funcs.async("app:echo", 7), funcs.async("app:second"),
          funcs.async("app:hangs")
        local late
        coroutine.spawn(function() late = {gone:response():receive()} end)
        gone:cancel()
        local seen = {good:response():receive():data(), bad:response():receive():kind()}
        for _, future in ipairs{good, bad} do
          local value, ok = future:response():receive()
          seen[#seen + 1] = value == nil and ok == false
        end
        local got = channel.select{good:response():case_receive()}
        seen[#seen + 1] = got.value == nil and got.ok == false and got.channel == good:channel()
        local value, ok = gone:response():receive()
        while not late do time.sleep(1) end
        seen[#seen + 1] = late[1]:kind()
        seen[#seen + 1] = value == nil and ok == false
        return seen
        """,
        [7, "Conflict", True, True, True, "Canceled", True],
    ),
    "funcs: a timeout": (
        """
        local v, e = funcs.new():with_options{timeout = 20}:call("app:hangs")
        local text = select(2, funcs.new():with_options{timeout = "20ms"}:call("app:hangs"))
        return {v == nil, e:kind(), text:kind()}
        """,
        [True, "Timeout", "Timeout"],
    ),
    "funcs: retries": (
        """
        local key = uuid.v4()
        local patient = funcs.new():with_options{retry = {max_attempts = 3, initial_delay = 1}}
        local v, e = patient:call("app:flaky", key)
        local never = select(2, patient:call("app:final", key .. "x"))
        local once = select(2, funcs.call("app:flaky", key .. "y"))
        return {v, e == nil, never:kind(), funcs.call("app:attempts", key .. "x"), once:kind(),
          funcs.call("app:attempts", key .. "y")}
        """,
        [3, True, "Invalid", 1, "Unavailable", 1],
    ),
    "funcs: options that are wrong": (
        """
        local function kind(options)
          local executor, e = funcs.new():with_options(options)
          if not executor then return e:kind() end
          return select(2, executor:call("app:echo")):kind()
        end
        return {kind{timeout = -1}, kind{timeout = "soon"}, kind{timeoout = 5}, kind{retry = 5},
          kind{retry = {max_attempts = 0.5}}}
        """,
        ["Invalid", "Invalid", "Invalid", "Invalid", "Invalid"],
    ),
    "funcs: a deadlock names what it waits for": (
        """
        local v, e = funcs.call("app:deadlock")
        return {e:kind(), e:message():match("^deadlock: main waits to receive from a channel")}
        """,
        ["Internal", "deadlock: main waits to receive from a channel"],
    ),
    "ctx: get and all": (
        """
        local v, e = ctx.get("nothing")
        return {v == nil, e:kind(), select(2, ctx.get("")):kind(), select(2, ctx.get(5)):kind(),
          type(ctx.all())}
        """,
        [True, "NotFound", "Invalid", "Invalid", "table"],
    ),
}  # fmt: skip

TIME: Final[dict[str, tuple[str, Any]]] = {
    "time: constants": (
        """
        return {time.NANOSECOND, time.MICROSECOND, time.MILLISECOND, time.SECOND, time.MINUTE,
          time.HOUR,
          time.JANUARY, time.DECEMBER, time.SUNDAY, time.SATURDAY, time.RFC3339, time.KITCHEN}
        """,
        [1, 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9, 1, 12, 0, 6, "2006-01-02T15:04:05Z07:00",
         "3:04PM"],
    ),
    "time: now goes on, and is a time": (
        """
        local a = time.now()
        time.sleep("2ms")
        local b = time.now()
        return {b:after(a), b:sub(a):milliseconds() >= 2, type(a), a:is_zero(),
          os.time() - a:unix() < 60}
        """,
        [True, True, "userdata", False, True],
    ),
    "time: arithmetic": (
        """
        local t = time.date(2024, 2, 29, 23, 59, 59, 5, time.utc)
        local y, m, d = t:add("1s"):date()
        local h, mi, s = t:clock()
        return {y, m, d, h, mi, s, t:add(time.SECOND):day(), t:add_date(1, 0,
          0):format(time.DATE_ONLY),
          t:sub(t:add("-1h30m")):hours(), t:before(t:add(1)), t:equal(t:in_local()), t:unix(),
            t:unix_nano(),
          t:nanosecond(), t:weekday(), t:year_day(), t:truncate("1h"):minute(),
            t:round("24h"):day()}
        """,
        [2024, 3, 1, 23, 59, 59, 1, "2025-03-01", 1.5, True, True, 1709251199, 1709251199000000005,
        5, 4,
         60, 0, 1],
    ),
    "time: layouts and zones": (
        """
        local berlin = time.load_location("Europe/Berlin")
        local t = time.parse("2006-01-02 15:04:05", "2025-07-01 12:00:00", berlin)
        local fixed = time.fixed_zone("X", -3600)
        return {t:format_rfc3339(), t:utc():format("Mon Jan _2 3:04PM MST 2006"),
          t:location():string(),
          t:in_location(fixed):format("15:04 -0700"), t:in_location("Asia/Tokyo"):hour(),
          select(2, time.load_location("No/Where")):kind(), select(2, time.parse("2006",
            "x")):kind(),
          select(2, time.fixed_zone("X", "y")):kind(), tostring(time.utc)}
        """,
        ["2025-07-01T12:00:00+02:00", "Tue Jul  1 10:00AM UTC 2025", "Europe/Berlin",
        "09:00 -0100", 19,
         "NotFound", "Invalid", "Invalid", "UTC"],
    ),
    "time: durations": (
        """
        local function ns(d) return time.parse_duration(d):nanoseconds() end
        local d = time.parse_duration("1h30m")
        return {ns("7d") == ns("168h"), ns("2w") == ns("336h"), ns("500ms"), ns(5 * time.SECOND),
          d:minutes(),
          d:seconds(), math.type(d:milliseconds()), tostring(d), select(2,
            time.parse_duration("x")):kind(),
          select(2, time.sleep("x")):kind(), select(2, time.after({})):kind()}
        """,
        [True, True, 500000000, 5000000000, 90.0, 5400.0, "integer", "1h30m0s", "Invalid",
        "Invalid",
         "Invalid"],
    ),
    "time: timers and tickers": (
        """
        local after = type(time.after("1ms"):receive())
        local timer = time.timer("1h")
        local stopped, again = timer:stop(), timer:stop()
        local active = timer:reset("1ms")
        timer:channel():receive()
        local ticker, ticks = time.ticker("1ms"), 0
        for _ = 1, 3 do ticker:channel():receive() ticks = ticks + 1 end
        return {after, stopped, again, active, ticks, ticker:stop(), select(2,
          time.ticker(0)):kind()}
        """,
        ["userdata", True, False, False, 3, True, "Invalid"],
    ),
}  # fmt: skip

CASES: Final = {**FUNCS, **TIME}
#: Ends while a function that it calls runs, and says which.
LEAVES: Final = """
    local key = uuid.v4()
    coroutine.spawn(function() funcs.call("app:hang", key) end)
    repeat time.sleep("1ms") until funcs.call("app:attempts", key) == "running"
    return key
"""

SOURCES: Final = {"leaves": LEAVES} | {name: source for name, (source, _) in CASES.items()}

node = conformance_fixture(SOURCES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_the_surface(node: Conformance, name: str, kind: str) -> None:
    assert node.run(name, kind) == CASES[name][1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_is_cancelled_when_its_caller_ends(node: Conformance, kind: str) -> None:
    key = node.run("leaves", kind)
    eventually(lambda: node.node.call("app:attempts", key, timeout=PATIENCE) == "cancelled")


def test_the_replayer_of_temporal_passes_over_each_of_them(node: Conformance) -> None:
    assert node.misfits_on_temporal() == {}


def test_a_replay_of_each_of_these_workflows_does_the_same(node: Conformance) -> None:
    """The last one: it ends the node."""
    assert node.misfits() == {}
