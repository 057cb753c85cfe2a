"""Generated programs: typed ones run as if their types were not there, plain ones are untouched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import lupa.lua54
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime.lua.prelude
from runtime.lua.types.erase import erase
from runtime.lua.types.grammar import TypeSyntaxError

LUA = lupa.lua54.LuaRuntime(encoding=None, unpack_returned_tuples=True)
#: Runs a chunk with `note(value)`, which keeps the value and the line it was called on.
TRACE = LUA.execute(b"""
    return function(source)
      local seen = {}
      local function show(v) return (tostring(v):gsub(": 0x%x+", "")) end
      local env = {pairs = pairs, tostring = tostring}
      env.note = function(...)
        local info = debug.getinfo(2, "l")
        local row = {info.currentline}
        for i = 1, select("#", ...) do row[#row + 1] = show((select(i, ...))) end
        seen[#seen + 1] = table.concat(row, " ")
        return ...
      end
      local f, err = load(source, "=main", "t", env)
      if not f then return nil, err end
      local ok, problem = pcall(f)
      if not ok then seen[#seen + 1] = show(problem) end
      return table.concat(seen, "\\n"), nil
    end
""")
COMPILES = LUA.execute(
    b"return function(source) return (load(source, '=main', 't', {})) ~= nil end"
)

# A part of a program is what it is typed, and what it is without types.
Part = tuple[str, str]

NAMES = st.sampled_from(["a", "b", "c", "type", "as", "readonly", "fun", "typeof", "string", "_x1"])
#: Blanks between tokens; a line break among them comes out again.
GAPS = st.sampled_from([" ", " ", " ", "  ", "\n", " --[[ : a ]] ", "\t"])


def blank(text: str) -> str:
    return "".join(c if c in "\n\t" else " " for c in text)


def types(depth: int = 3) -> st.SearchStrategy[str]:
    """Types of all kinds, on one line or more."""
    leaf = st.one_of(
        st.sampled_from(
            ["number", "string", "any", "nil", "true", "false", "function", "m.T", "'lit'", '"as"',
             "12", "-3", "typeof(f(x)[1])", "{}", "()->()", "string @min_len(1) @email", "as",
             "type", "self"]
        ),
        NAMES,
    )  # fmt: skip
    if depth == 0:
        return leaf
    inner = types(depth - 1)
    nested = st.one_of(
        st.builds("{}?".format, inner.filter(lambda t: "->" not in t)),
        st.builds("({})[]".format, inner),
        st.builds("{{{}}}".format, inner),
        st.builds("{} | {}".format, inner, inner),
        st.builds("({}) & ({})".format, inner, inner),
        st.builds("{{[{}]: {}}}".format, inner, inner),
        st.builds("{{a: {},\n  readonly b?: {}; end: {},}}".format, inner, inner, inner),
        st.builds("(a: {}, {}, ...: {}) -> ({}, ...any)".format, inner, inner, inner, inner),
        st.builds("fun(a: {}, b?: {}): {}".format, inner, inner, inner),
        st.builds("Box<{}>".format, inner),
        st.builds("m.Map<{}, Box<Box<{}>>>".format, inner, inner),
        st.builds("readonly {{{}}}".format, inner),
        st.builds("<T: {}>(x: T) -> T".format, inner),
        st.builds("string @min({}) | {}".format, st.integers(0, 9), inner),
    )
    return st.one_of(leaf, nested)


TYPES = types()


@st.composite
def marks(draw: st.DrawFn) -> Part:
    if not draw(st.booleans()):
        return "", ""
    text = draw(st.sampled_from([":", ": ", " : "])) + draw(TYPES)
    return text, blank(text)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Part:
    kind = draw(st.integers(0, 11 if depth else 2))
    if kind <= 1:
        text = draw(st.one_of(NAMES, st.integers(0, 99).map(str), st.sampled_from(
            ["'s'", "nil", "true", "{}", '"a: b"', "[[x\ny as T]]", "0x1F", "1.5e3"])))  # fmt: skip
        typed, plain = text, text
    elif kind == 2:
        typed = plain = draw(st.sampled_from(["t.type", "t.as", "t['a']", "t:as()", "#'abc'"]))
    elif kind == 3:
        (a, pa), (b, pb) = draw(expressions(depth - 1)), draw(expressions(depth - 1))
        operator, gap = draw(st.sampled_from(["==", "~=", "and", "or"])), draw(GAPS)
        typed, plain = f"({a}{gap}{operator} {b})", f"({pa}{gap}{operator} {pb})"
    elif kind == 4:
        (a, pa), (b, pb) = draw(expressions(depth - 1)), draw(expressions(depth - 1))
        typed, plain = f"{{{a}, type = {b}; as = 1}}", f"{{{pa}, type = {pb}; as = 1}}"
    elif kind == 5:
        params, plain_params = draw(parameters())
        result, plain_result = draw(marks())
        a, pa = draw(expressions(depth - 1))
        typed = f"function{params}{result} return {a} end"
        plain = f"function{plain_params}{plain_result} return {pa} end"
    elif kind == 6:
        a, pa = draw(expressions(depth - 1))
        typed, plain = f"note({a})", f"note({pa})"
    elif kind == 7:
        (a, pa), name = draw(expressions(depth - 1)), draw(NAMES)
        typed, plain = f"({a} or note)({name})", f"({pa} or note)({name})"
    else:
        a, pa = draw(expressions(depth - 1))
        if kind == 8:
            mark = "!"
        elif kind == 9:
            mark = draw(st.sampled_from([" :: ", "::", " ::\n"])) + draw(TYPES)
        else:
            mark = " as " + draw(TYPES)
        typed, plain = f"({a}{mark})", f"({pa}{blank(mark)})"
    return typed, plain


@st.composite
def parameters(draw: st.DrawFn) -> Part:
    generics = draw(st.sampled_from(["", "", "<T>", "<K, V: {a: number}, W = string>"]))
    typed, plain = generics + "(", blank(generics) + "("
    for name in draw(st.lists(NAMES, max_size=3)):
        text, nothing = draw(marks())
        if text and draw(st.booleans()):
            text, nothing = "?" + text.lstrip(), blank("?" + text.lstrip())
        typed, plain = typed + name + text + ", ", plain + name + nothing + ", "
    text, nothing = draw(marks())
    return typed + "..." + text + ")", plain + "..." + nothing + ")"


@st.composite
def statements(draw: st.DrawFn, depth: int = 2) -> Part:
    """One line, or more of them."""
    kind = draw(st.integers(0, 11 if depth else 6))
    name = draw(NAMES)
    mark, nothing = draw(marks())
    a, pa = draw(expressions())
    if kind == 0:
        return f"local {name}{mark} = {a}", f"local {name}{nothing} = {pa}"
    if kind == 1:
        return f"local {name} <const>{mark} = {a}", f"local {name} <const>{nothing} = {pa}"
    if kind == 2:
        return f"{name} = {a}", f"{name} = {pa}"
    if kind == 3:
        return f"note({a})", f"note({pa})"
    if kind == 4:
        params = draw(st.sampled_from(["", "<T>", "<T, U = T>"]))
        text = f"type {name}{params} ={draw(GAPS.filter(lambda g: '-' not in g))}{draw(TYPES)}"
        return text, blank(text)
    if kind == 5:
        return f"::{name}{(n := draw(st.integers())) % 10**9}x::", f"::{name}{n % 10**9}x::"
    if kind == 6:
        return f"{name} = {name}\nas(note)", f"{name} = {name}\nas(note)"
    body, plain_body = draw(programs(depth - 1))
    if kind == 7:
        params, plain_params = draw(parameters())
        head = draw(
            st.sampled_from(
                ["function f", "local function f", "function t.as", "t.type = function"]
            )
        )
        result, plain_result = draw(marks())
        return (
            f"{head}{params}{result}\n{body}\nend",
            f"{head}{plain_params}{plain_result}\n{plain_body}\nend",
        )
    if kind == 8:
        return (
            f"for {name}{mark} = 1, 2 do\n{body}\nend",
            f"for {name}{nothing} = 1, 2 do\n{plain_body}\nend",
        )
    if kind == 9:
        return (
            f"for {name}{mark}, v{mark} in pairs({{1}}) do {body} end",
            f"for {name}{nothing}, v{nothing} in pairs({{1}}) do {plain_body} end",
        )
    if kind == 10:
        return (
            f"if {a} then\n{body}\nelse\n{body}\nend",
            f"if {pa} then\n{plain_body}\nelse\n{plain_body}\nend",
        )
    return f"repeat\n{body}\nuntil true", f"repeat\n{plain_body}\nuntil true"


@st.composite
def programs(draw: st.DrawFn, depth: int = 2) -> Part:
    parts = draw(st.lists(statements(depth), max_size=4))
    return "\n".join(typed for typed, _ in parts), "\n".join(plain for _, plain in parts)


HEAD = (
    "local t = {as = note, type = 2, a = 3} local function f(...) note(...) end\n"
    "as, type, string, fun = note, note, 's', note\n"
)


def check(typed: str, plain: str) -> None:
    erased = erase(HEAD + typed)
    assert erased.replace(";", " ") == (HEAD + plain).replace(";", " ")
    assert erase(HEAD + plain) == HEAD + plain
    expected = TRACE((HEAD + plain).encode())
    assert TRACE(erased.encode()) == expected


@settings(max_examples=100, deadline=None)
@given(programs())
def test_typed_programs_run_as_the_plain_ones(program: Part) -> None:
    check(*program)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=20_000, deadline=None)
@given(programs(3))
def test_many_typed_programs_run_as_the_plain_ones(program: Part) -> None:
    check(*program)


def lua_files() -> Iterator[Path]:
    yield from Path(runtime.lua.prelude.__path__[0]).glob("*.lua")
    yield from Path(__file__).parent.parent.glob("examples/**/*.lua")


FILES = sorted(lua_files())
#: What mutations put into a source.
BITS = ["as", "type", "::", ":", "!", "?", "<", ">", "{", "}", "(", ")", "[", "]", "x", "=", "=>",
        "function", "local", "end", "if", "goto", "@", "|", "&", "->", "...", "'", '"', "[[", "]]",
        "--", "--[[", "\\", "readonly", "typeof(", "fun(", ",", ";", "\r", "\0", "\n", "\xff", "1e",
        "type X =", ": T", " as T", "<T>", "for", "do", "until"]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_plain_files_are_not_touched(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert erase(source) == source


def check_any(source: str) -> None:
    try:
        erased = erase(source)
    except TypeSyntaxError as error:
        erased, line = "", error.line
        assert 1 <= line <= 1 + len(re.findall("[\r\n]", source))
    else:
        assert len(erased) == len(source)
        assert [c for c in erased if c in "\r\n"] == [c for c in source if c in "\r\n"]
    if not re.search(r"\bas\b", source, re.ASCII) and COMPILES(source.encode("latin-1")):
        assert erased == source


@st.composite
def mutated(draw: st.DrawFn) -> str:
    source = draw(st.sampled_from(FILES)).read_text(encoding="utf-8")
    lines = source.encode().decode("latin-1").splitlines(keepends=True)
    at = draw(st.integers(0, len(lines)))
    text = "".join(lines[at : at + draw(st.integers(1, 30))])
    for bit in draw(st.lists(st.sampled_from(BITS), max_size=4)):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["", " "])) + bit + text[place:]
    return text


@settings(max_examples=250, deadline=None)
@given(st.one_of(mutated(), st.lists(st.sampled_from(BITS), max_size=60).map(" ".join)))
def test_any_text_is_erased_or_refused(source: str) -> None:
    """And no source that compiles without types is touched: none of them has to be looked at."""
    check_any(source)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=50_000, deadline=None)
@given(st.one_of(mutated(), st.lists(st.sampled_from(BITS), max_size=60).map(" ".join)))
def test_much_more_text_is_erased_or_refused(source: str) -> None:
    check_any(source)
