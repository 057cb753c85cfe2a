"""Pattern functions give what Lua's own give, whichever matcher runs, and cannot hang."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prelude_lab import Lab

MATCHER = ("objects", "errors", "matcher", "pattern_cost")


def lab(budget: int | None) -> Lab:
    """A lab with `both(name, …)`: what Lua's function and ours do, as text, errors included."""
    made = Lab(*MATCHER)
    made.run("S.pattern_budget = ...", budget)
    made.load("patterns")
    made.run("""
        local function outcome(f, args)
          local results = table.pack(pcall(function()
            local results = table.pack(f(table.unpack(args, 1, args.n)))
            return table.unpack(results, 1, results.n)
          end))
          for i = 1, results.n do results[i] = tostring(results[i]) end
          return table.concat(results, "|")
        end
        local function gathered(gmatch)
          return function(...)
            local found = {}
            for a, b, c in gmatch(...) do
              found[#found + 1] = tostring(a) .. "," .. tostring(b) .. "," .. tostring(c)
            end
            return table.concat(found, ";")
          end
        end
        function both(name, ...)
          local args, theirs, ours = table.pack(...), string[name], patterns[name]
          if name == "gmatch" then theirs, ours = gathered(theirs), gathered(ours) end
          -- The library calls itself by the name of our variable.
          return (outcome(theirs, args):gsub("to 'f'", "to '" .. name .. "'")), outcome(ours, args)
        end
        repl = {
          callback = function(...) return "<" .. table.concat({...}, ",") .. ">" end,
          sometimes = function(a) return a == "a" and 1 or nil end,
          wrong = function(a) return {} end,
          failing = function(a) error("from the callback") end,
          map = {a = "x", b = false, ab = 2, [1] = "first"},
          index = setmetatable({}, {__index = function(_, k) return k .. k end}),
        }""")
    return made


CHOSEN, PORT = lab(None), lab(0)
BOTH_WAYS = pytest.mark.parametrize("lab", [CHOSEN, PORT], ids=["chosen", "port"])
REPLACEMENTS = ["callback", "sometimes", "wrong", "failing", "map", "index"]

SINGLE = "a b c . %a %d %s %W %. ^ $ - [ab] [^a] [a-c] [%d_] []a] [^]] [a-]"
ODD = "%b() %bab %f[%w] %f[^a] () %1 %2 %0 % [ [^ [a ( ) %f %b %ba"

single = st.sampled_from(SINGLE.split())
suffixed = st.tuples(single, st.sampled_from(["", "", "*", "+", "-", "?"])).map("".join)
odd = st.sampled_from(ODD.split())
parts = st.recursive(
    suffixed | odd,
    lambda inner: st.lists(inner, max_size=3).map(lambda some: "(" + "".join(some) + ")"),
    max_leaves=4,
)
composed = st.tuples(st.sampled_from(["", "", "^"]), st.lists(parts, max_size=5).map("".join))
patterns = composed.map("".join) | st.text("ab.%[]()*+-?^$1f", max_size=8)
subjects = st.text("aabbc1_ ().\0é", max_size=12).map(str.encode)


@BOTH_WAYS
@settings(max_examples=500)
@given(subject=subjects, pattern=patterns.map(str.encode), init=st.integers(-15, 15))
def test_find_match_and_gmatch(lab: Lab, subject: bytes, pattern: bytes, init: int) -> None:
    for name in ("find", "match", "gmatch"):
        theirs, ours = lab.run("return both(...)", name.encode(), subject, pattern, init)
        assert ours == theirs


@BOTH_WAYS
@settings(max_examples=500)
@given(
    subject=subjects,
    pattern=patterns.map(str.encode),
    text=st.text("x%0123", max_size=5).map(str.encode),
    limit=st.integers(-1, 3),
)
def test_gsub_with_a_text(
    lab: Lab, subject: bytes, pattern: bytes, text: bytes, limit: int
) -> None:
    theirs, ours = lab.run("return both('gsub', ...)", subject, pattern, text)
    assert ours == theirs
    theirs, ours = lab.run("return both('gsub', ...)", subject, pattern, text, limit)
    assert ours == theirs


@BOTH_WAYS
@settings(max_examples=200)
@given(subject=subjects, pattern=patterns.map(str.encode))
def test_gsub_with_functions_and_tables(lab: Lab, subject: bytes, pattern: bytes) -> None:
    for name in REPLACEMENTS:
        theirs, ours = lab.run(
            "local s, p, r = ... return both('gsub', s, p, repl[r])",
            subject,
            pattern,
            name.encode(),
        )
        assert ours == theirs


@BOTH_WAYS
@pytest.mark.parametrize(
    "call",
    [
        "'find', 'a+b', '+', 1, true",
        "'find', 'abc', 'b', -1, true",
        "'find', 'abc', '', 10",
        "'find', 'abc', '', 4",
        "'find', 12345, 34",
        "'find', 'abc', 'b', '2'",
        "'find', 'abc', 'b', 2.0",
        "'find', 'abc', 'b', 2.5",
        "'find', 'abc', 'b', 'x'",
        "'find', {}, 'b'",
        "'match', 'abc', {}",
        "'gmatch', 'abc', print",
        "'gsub', 'abc', 'b', true",
        "'gsub', 'abc', 'b', 1",
        "'gsub', 'abc', 'b', 'x', {}",
        "'gsub', 'abc', '%w', '%%%0'",
        "'gsub', 'hello world', '(%w+) (%w+)', '%2 %1'",
        "'gsub', 'abc', '()', '%1'",
        "'gsub', 'abc', '^a', 'x'",
        "'gmatch', 'k=v, x = y', '(%w+)%s*=%s*(%w+)'",
        "'gmatch', '^a^a', '^a'",
        "'match', 'x', ('()'):rep(33)",
        "'match', 'x', ('('):rep(250)",
        "'match', ('a'):rep(300), ('a?'):rep(250)",
        "'find', 'THE (quick) fox', '%f[%a]%a+%f[%A]', 2",
        "'match', '  trim me  ', '^%s*(.-)%s*$'",
    ],
)
def test_corner_cases(lab: Lab, call: str) -> None:
    theirs, ours = lab.run(f"return both({call})")
    assert ours == theirs


ATTACKS = [
    "patterns.find(('a'):rep(30000), '.-.-.-.-b$')",
    "patterns.match(('a'):rep(200), ('a?'):rep(40) .. ('a'):rep(300))",
    "patterns.gsub(('a'):rep(30000), '(.-)(.-)b', '')",
    "patterns.gsub(('a'):rep(30000), '.-.-.-b', print)",
    "for _ in patterns.gmatch(('a'):rep(30000), '.-.-.-b') do end",
    "patterns.find(('('):rep(100000), '%b()')",
    "patterns.find(('a'):rep(5000000), '[' .. ('b'):rep(100000) .. ']')",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_expensive_pattern_is_matched_in_lua_which_can_be_interrupted(attack: str) -> None:
    code = f"""
        local killed = {{}}
        local co = coroutine.create(function() {attack} end)
        local hooks = 0
        debug.sethook(co, function()
          hooks = hooks + 1
          if hooks > 100 then error(killed, 0) end
        end, "", 1000)
        local ok, err = coroutine.resume(co)
        return ok, err == killed"""
    assert CHOSEN.run(code) == (False, True)


def test_a_long_plain_search_stays_exact() -> None:
    found = CHOSEN.run("""
        local text = ("a"):rep(300000)
        local wanted = ("a"):rep(1000) .. "b"
        local before = patterns.find(text, wanted, 1, true)
        return before, patterns.find(text .. "b", wanted, 1, true)""")
    assert found == (None, 299001, 300001)


@BOTH_WAYS
def test_callbacks_of_gsub_may_yield(lab: Lab) -> None:
    assert lab.run("""
        local co = coroutine.wrap(function()
          return patterns.gsub("a b", "%w", function(c) return coroutine.yield(c) end)
        end)
        local first = co()
        local second = co("1")
        return first, second, co("2")""") == (b"a", b"b", b"1 2", 2)


def test_huge_results_are_refused() -> None:
    ok, message = CHOSEN.run("""
        return pcall(patterns.gsub, ("a"):rep(100000), "a", ("b"):rep(10000))""")
    assert not ok
    assert b"the result of gsub would be larger than 64 MiB" in message


@pytest.mark.parametrize(
    ("pattern", "size", "steps"),
    [
        ("abc", 100, 100),
        ("^abc", 100, 1),
        ("a*", 100, 100),
        ("^a*b", 100, 100),
        ("a*b", 100, 10_000),
        ("(a-)(b+)", 100, 10_000),
        ("^%s*(.-)%s*$", 100, 1_000_000),
        ("%b()", 100, 10_000),
        ("(a)%1", 100, 10_000),
        ("a?b?", 100, 400),
        ("[*+-]", 100, 100),
        ("%*", 100, 100),
        ("[", 100, float("inf")),
        ("(a", 100, float("inf")),
        ("%1", 100, float("inf")),
    ],
)
def test_costs(pattern: str, size: int, steps: float) -> None:
    assert CHOSEN.run("return S.pattern_cost(...)", pattern.encode(), size) == steps
