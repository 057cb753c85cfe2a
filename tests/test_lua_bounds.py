"""Sizes that user code gives to library functions have limits; below them nothing changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prelude_lab import Lab

LAB = Lab("objects", "errors", "bounds")
#: both(name, args…) -> outcome of Lua's function, outcome of ours; a table argument is shown after.
LAB.run("""
    local function show(v)
      if type(v) ~= "table" then return tostring(v) end
      local parts = {}
      for i = -2, 12 do parts[#parts + 1] = tostring(v[i]) end
      return table.concat(parts, ",")
    end
    local function outcome(f, make)
      local args = table.pack(make())
      local results = table.pack(pcall(function()
        local r = table.pack(f(table.unpack(args, 1, args.n)))
        return table.unpack(r, 1, r.n)
      end))
      for i = 1, results.n do results[i] = show(results[i]) end
      results[results.n + 1] = show(args[1])
      return table.concat(results, "|")
    end
    function both(name, make)
      local theirs = outcome(table[name] or string[name], make)
      return (theirs:gsub("to 'f'", "to '" .. name .. "'")), outcome(bounds[name], make)
    end""")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rep", "'ab', 3"),
        ("rep", "'ab', 3, ','"),
        ("rep", "'ab', 0"),
        ("rep", "'ab', -1"),
        ("rep", "12, '2'"),
        ("rep", "'', 1000000"),
        ("concat", "{1, 2, 'x'}"),
        ("concat", "{1, 2, 3}, ', ', 2"),
        ("concat", "{1, 2, 3}, 0, 2, 3"),
        ("concat", "{1, true, 3}"),
        ("concat", "{}, ',', 1, 0"),
        ("concat", "{}, ',', 1, 1"),
        ("concat", "nil"),
        ("concat", "{}, {}"),
        ("insert", "{1, 2}, 3"),
        ("insert", "{1, 2}, 1, 0"),
        ("insert", "{1, 2}, 3, 0"),
        ("insert", "{1, 2}, 4, 0"),
        ("insert", "{1, 2}, 1, nil"),
        ("insert", "{1, 2}"),
        ("insert", "{1, 2}, 1, 2, 3"),
        ("insert", "{}, nil"),
        ("insert", "nil, 1"),
        ("remove", "{1, 2, 3}"),
        ("remove", "{1, 2, 3}, 1"),
        ("remove", "{1, 2, 3}, 4"),
        ("remove", "{1, 2, 3}, 5"),
        ("remove", "{}"),
        ("remove", "{}, 0"),
        ("remove", "{[0] = 'zero'}, 0"),
        ("move", "{1, 2, 3}, 1, 3, 2"),
        ("move", "{1, 2, 3}, 2, 3, 1"),
        ("move", "{1, 2, 3}, 1, 0, 5"),
        ("move", "{1, 2}, 1, 2, math.maxinteger"),
        ("sort", "{3, 1, 2}"),
        ("sort", "{'b', 'a', 'C'}"),
        ("sort", "{3, 1, 2}, function(a, b) return a > b end"),
        ("sort", "{}"),
        ("sort", "{2, 1}, 1"),
    ],
)
def test_ordinary_calls_do_what_lua_does(name: str, arguments: str) -> None:
    theirs, ours = LAB.run(f"return both('{name}', function() return {arguments} end)")
    assert ours == theirs


def test_values_that_cannot_be_compared_are_blamed_on_the_call() -> None:
    ok, text = LAB.run("return pcall(function() bounds.sort({1, 'x'}) end)")
    assert (ok, text) == (False, b"test:1: attempt to compare string with number")


PROXY = "local p = setmetatable({}, {__len = function() return size end, " + (
    "__index = function(_, k) return k end})"
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("bounds.rep('x', 64 * 1024 * 1024 + 1)", b"string.rep: a result of more than 64 MiB"),
        ("bounds.rep('', math.maxinteger, 'x')", b"string.rep: a result of more than 64 MiB"),
        ("bounds.concat({}, '', 1, 10000001)", b"table.concat: more than ten million elements"),
        ("bounds.concat({}, '', math.mininteger, math.maxinteger)", b"more than ten million"),
        ("bounds.move({}, 1, 10000001, 2)", b"table.move: more than ten million elements"),
        ("bounds.move({}, -5, math.maxinteger, 2)", b"table.move: more than ten million elements"),
        ("bounds.concat(p)", b"too many elements"),
        ("bounds.insert(p, 1)", b"too many elements"),
        ("bounds.insert(p, 1, 1)", b"too many elements"),
        ("bounds.remove(p)", b"too many elements"),
        ("bounds.sort(p)", b"too many elements"),
    ],
)
def test_absurd_sizes_are_refused(call: str, message: bytes) -> None:
    ok, text = LAB.run(f"local size = 1 << 60 {PROXY} return pcall(function() {call} end)")
    assert not ok
    assert text.startswith(b"test:1: ")
    assert message in text


def test_tables_with_a_length_of_their_own_work() -> None:
    assert LAB.run("""
        local stored = {3, 1, 2}
        local p = setmetatable({}, {
          __len = function() return #stored end,
          __index = function(_, k) return stored[k] end,
          __newindex = function(_, k, v) stored[k] = v end,
        })
        bounds.sort(p)
        bounds.insert(p, 9)
        bounds.insert(p, 1, 0)
        local removed = bounds.remove(p, 2)
        return bounds.concat(p, " "), removed, bounds.remove(p), #stored""") == (
        b"0 2 3 9",
        1,
        9,
        3,
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=300))
def test_sort_is_stable(rows: list[tuple[int, int]]) -> None:
    order = LAB.run(
        """local keys = {...}
        local rows = {}
        for i, key in ipairs(keys) do rows[i] = {key = key, i = i} end
        bounds.sort(rows, function(a, b) return a.key < b.key end)
        for i, row in ipairs(rows) do rows[i] = row.i end
        return table.concat(rows, " ")""",
        *[key for key, _ in rows],
    )
    expected = sorted(range(1, len(rows) + 1), key=lambda i: rows[i - 1][0])
    assert order.split() == [b"%d" % i for i in expected]


def test_a_comparison_may_yield() -> None:
    assert LAB.run("""
        local co = coroutine.wrap(function()
          local t = {2, 1}
          bounds.sort(t, function(a, b) coroutine.yield("waiting") return a < b end)
          return t[1]
        end)
        return co(), co()""") == (b"waiting", 1)


def test_nothing_repeated_without_end_costs_nothing() -> None:
    assert LAB.run("return bounds.rep('', math.maxinteger)") == b""
