"""Metered sources count at every place that could be passed without end, and are else unchanged."""

from __future__ import annotations

import re

import lupa.lua54
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.lua.metering import metered
from tests.machine_harness import Node, entry, error_of, run

LUA = lupa.lua54.LuaRuntime(encoding=None, unpack_returned_tuples=True)
#: Runs a source with `note`; gives what was noted and on which lines, and how often it counted.
#: Looks at everything, and gives up after 500 places.
RUN = LUA.execute(b"""
    return function(source, counter, look)
      local seen, counted = {}, 0
      local env = {pcall = pcall, error = error}
      function env.note(value)
        local line, shown = debug.getinfo(2, "l").currentline, tostring(value):gsub(": 0x%x+", "")
        seen[#seen + 1] = line .. " " .. shown
        return value
      end
      local function see()
        counted = counted + 1
        if counted > 500 then error("enough") end
      end
      local head = counter and "local " .. counter .. "," .. look .. " = ... " or ""
      source = head .. "return function(...) " .. source .. "\\nend"
      local ok, problem = pcall(assert(load(source, "=main", "t", env))(-(1 << 62), see))
      seen[#seen + 1] = tostring(problem)
      return table.concat(seen, "\\n"), counted
    end
""")
PLACE = re.compile(rb" left\d*=left\d*-(\d+) if left\d*<0 then look\d*\(\)end ")


def places(source: str) -> list[tuple[int, int]]:
    """Offset in the source and price of each place."""
    found, added = [], 0
    for match in PLACE.finditer(metered(source.encode()).source):
        found.append((match.start() - added, int(match[1])))
        added += match.end() - match.start()
    return found


def marked(source: str) -> list[int]:
    """The offsets, for a source in which § marks the places."""
    return [match.start() - i for i, match in enumerate(re.finditer("§", source))]


CASES = [
    "§x = 1",
    "§for i = 1, 3 do§ x() end",
    "§for k, v in pairs(t) do§ x() end",
    "§while x do§ y() end",
    "§while (function()§ return x end)() do§ y() end",
    "§repeat§ local x = f() until x",
    "§repeat§ until (function()§ end)()",
    "§do§ local x end",
    "§::a:: §goto a",
    "§if x then §goto a else §goto b end ::a:: ::b::",
    "§local function f()§ end",
    "§local function f(a, b, ...)§ return ... end",
    "§function a.b.c:d(e)§ end",
    "§local f = function (--[[ ) ]] a, -- ) end\n b)§ return a end",
    "§function --[==[ ( ]] ]==] f\n(\n)§\nend",
    "§f(function()§ end, function()§ return function()§ end end)",
    "§if a then b() elseif c then d() else e() end",
    '§local s = \'while do\' .. "\\" do" .. [[ do ]] .. [==[ ]] do ]==] -- do',
    "§--[[ while true do ]] x() --[==[ do\n]] do ]==]",
    "§-- a comment ends with a carriage return\rwhile x do§ end",
    "§local s = 'a\\\r\ndo\\z  \n do' while x do§ end",
    "§local s = '\\\\' while x do§ end",
    "§local t = {redo = 1, _do = 2, do_ = 3, ['end'] = 4, [ [[do]] ] = 5}",
    "§t.x.undo = t[t[1]] - -1 - --[[ do ]] 1",
    "§local a <const> = 1 do§ local b <close> = nil end",
]


@pytest.mark.parametrize("source", CASES)
def test_places(source: str) -> None:
    plain = source.replace("§", "")
    assert LUA.execute(b"return load(...) ~= nil", plain.encode()), "the case itself"
    assert [at for at, _ in places(plain)] == marked(source)


def test_a_place_counts_what_lies_up_to_the_next_ones() -> None:
    long = "x = x + 1 " * 40
    ((_, main), (_, loop)) = places(f"while x do {long} end")
    assert main < 5
    assert loop == pytest.approx(2 + 400 / 8, abs=1)
    ((_, main), (_, body)) = places(f"local function f() {long} end")
    assert main < 5 < body


def test_a_condition_counts_with_the_body_of_its_loop() -> None:
    long = "x + " * 100 + "1"
    ((_, main), (_, loop)) = places(f"while {long} do end")
    assert main < 5 < 50 < loop
    ((_, main), (_, loop)) = places(f"repeat until {long}")
    assert main < 5 < 50 < loop
    ((_, _), (_, loop), (_, nested)) = places(f"repeat until (function() end)() or {long}")
    assert nested < 5 < 50 < loop
    for word in ("local y = ", "if x then end z = ", "return ", "::a:: y = ", "goto a ::a:: y = "):
        (_, main), (_, loop), *_ = places(f"repeat until x {word}{long}")
        assert loop < 6 < 50 < main, word


def test_a_goto_that_leads_back_counts_what_runs_again() -> None:
    long = "x = x + 1 " * 40
    for back in (f"::a:: {long} goto a", f"::a:: do {long} end if x then goto --[[b]] a end",
                 f":: --[[b]] a\n:: while x do {long} goto a end"):  # fmt: skip
        assert max(cost for at, cost in places(back) if at == back.index("goto")) > 50, back
    for forth in (f"do goto a {long} ::a:: end", f"do ::a:: {long} end goto a {long} ::a:: x()"):
        assert [cost for at, cost in places(forth) if at == forth.index("goto")] == [2]


@pytest.mark.timeout(30)  # to search the source for each name in turn takes minutes
def test_a_source_full_of_names_takes_little_time() -> None:
    names = b" ".join(b"left%d" % n for n in range(300_000))
    assert metered(b"local t = [[left " + names + b"]]").counter == b"left300000"


def test_a_short_branch_counts_as_taken_and_a_long_one_when_it_is() -> None:
    assert len(places("for i = 1, 9 do if x then a() elseif y then b() else c() end end")) == 2
    long = "x = x + 1 " * 40
    ((_, _), (_, loop), (_, branch)) = places(f"for i = 1, 9 do if x then {long} else c() end end")
    assert loop < 10 < branch


def test_comments_and_texts_count_nothing() -> None:
    assert places("-- " + "long " * 100 + "\nx = 1") == places("\nx = 1")
    assert places("--[[" + "long " * 100 + "]]x=[[" + "long" * 100 + "]]") == places("x=[[]]")


def test_no_name_of_the_source_is_taken() -> None:
    found = metered(b"left, look, left1 = 1, 2, 3")
    assert (found.counter, found.look) == (b"left2", b"look1")


# Generated programs -------------------------------------------------------------------------------

GAPS = st.sampled_from(
    [" ", " ", "\n", "\r\n", " --[[ do end ]] ", " -- while\n", "--[==[\n]]]==]"]
)
VALUES = st.sampled_from(
    ["1", "n", "'do'", '"\\"end"', "[[function]]", "{['do'] = n}", "(n or 2)", "-n", "#'until'"]
)


def programs(depth: int = 3) -> st.SearchStrategy[str]:
    """Blocks that end by themselves, or run for ever."""
    simple = st.one_of(
        st.builds("{}note({}){};".format, GAPS, VALUES, GAPS),
        st.builds("local{} n ={} {}{};".format, GAPS, GAPS, VALUES, GAPS),
    )
    if depth == 0:
        return simple
    inner = st.lists(programs(depth - 1), min_size=0, max_size=3).map(" ".join)
    nested = st.one_of(
        st.builds("for i = 1, 3 do{}{} end".format, GAPS, inner),
        st.builds("local n = 0 while n <{} 3 do n = n + 1 {} end".format, GAPS, inner),
        st.builds("repeat{}{} until{} true".format, GAPS, inner, GAPS),
        st.builds("do {} end".format, inner),
        st.builds("if n then{}{} else{}{} end".format, GAPS, inner, GAPS, inner),
        st.builds("if {} == n then {} elseif not n then {} end".format, VALUES, inner, inner),
        st.builds("local function{} f(a,{} ...) {} end f(1)".format, GAPS, GAPS, inner),
        st.builds("note((function({}) {} end)())".format, GAPS, inner),
        st.builds("pcall(function() {} error('x') end)".format, inner),
        st.builds("do goto out {} ::out:: end".format, GAPS),
        st.builds("do ::again::{} goto{} again end".format, GAPS, GAPS),
        st.builds("while true do {} end".format, inner),
        st.builds("do local function g() {} return g() end g() end".format, inner),
    )
    return st.one_of(simple, nested)


@settings(max_examples=150, deadline=None)
@given(st.lists(programs(), min_size=1, max_size=4).map(" ".join))
def test_a_metered_program_does_the_same_and_always_counts(source: str) -> None:
    _, counted = RUN(*metered(source.encode()))  # comes back, whatever runs for ever in it
    assert counted


def ends(source: str) -> bool:
    return not any(part in source for part in ("true do", "again", "g()"))


@settings(max_examples=100, deadline=None)
@given(st.lists(programs().filter(ends), min_size=1, max_size=4).map(" ".join))
def test_a_program_that_ends_notes_the_same_on_the_same_lines(source: str) -> None:
    bare, _ = RUN(source.encode())
    noted, counted = RUN(*metered(source.encode()))
    if counted <= 500:
        assert noted == bare


# In the machine -----------------------------------------------------------------------------------


def test_what_is_loaded_counts_as_well() -> None:
    for source in (
        "load('while true do end')()",
        "f = load('return f()') f()",
        "load('local function f() return f() end return f()', 'x', 't', {})()",
        "local a = load('::a:: goto a', nil, 't', nil) a()",
    ):
        error = error_of(lambda source=source: run(source))  # type: ignore[misc]
        assert error.message.startswith("process killed: out of fuel"), source


def test_what_is_imported_counts_as_well() -> None:
    library = entry("return {f = function() while true do end end}", "library.lua")
    node = Node({"main": entry("lib.f()", imports={"lib": "app:lib"}), "lib": library})
    assert error_of(lambda: node.run("main")).message.startswith("process killed: out of fuel")


def test_work_that_the_runtime_does_for_a_user_is_charged() -> None:
    big = "local t = {} for i = 1, 10000 do t[i] = {i} end "
    for work in (
        "process.send(process.pid(), 't', t) process.inbox():receive()",
        "json.encode(t)",
        "logger:info('x', t)",
        "table.sort(t, function(a, b) return a[1] > b[1] end)",
        "payload.new(t):transcode(payload.format.JSON)",
        "string.find(('a'):rep(3000), '.-.-b')",
    ):
        node = Node({"main": f"{big} for i = 1, 1000 do {work} end"}, fuel=5_000_000)
        error = error_of(lambda node=node: node.run("main"))  # type: ignore[misc]
        assert error.message.startswith("process killed: out of fuel"), work
