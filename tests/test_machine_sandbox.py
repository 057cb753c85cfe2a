"""User code reaches nothing but what it is given."""

from __future__ import annotations

import pytest

from tests.machine_harness import Node, entry, error_of, run
from tests.surface_lab import prelude

#: Everything that user code may find without listing a module.
GLOBALS = {
    "_G", "_VERSION", "assert", "boolean", "channel", "collectgarbage", "coroutine", "error",
    "errors", "getmetatable", "integer", "ipairs", "load", "math", "next", "number", "os", "pairs",
    "pcall", "print", "process", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
    "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack", "utf8", "xpcall",
}  # fmt: skip
ABSENT = [
    "python", "io", "debug", "package", "dofile", "loadfile", "loadstring", "module", "setfenv",
    "string.dump", "os.execute", "os.exit", "os.getenv", "os.remove", "os.rename", "os.tmpname",
    "os.setlocale", "S", "arg", "warn", "_ENV._S",
]  # fmt: skip


def test_the_globals_are_these() -> None:
    names = sorted(GLOBALS)
    listed = ", ".join(f'"{name}"' for name in names)
    source = (
        f"local missing = {{}} for _, n in ipairs{{{listed}}} do if _G[n] == nil then "
        f"missing[#missing + 1] = n end end return missing"
    )
    assert Node({"main": entry(source, modules=[])}).run("main") == []


@pytest.mark.parametrize("name", ABSENT)
@pytest.mark.parametrize("kind", ["process.lua", "function.lua"])
def test_what_reaches_outside_is_not_there(name: str, kind: str) -> None:
    node = Node({"main": entry(f"return {name} == nil", kind, modules=[])})
    assert node.run("main") is True


ESCAPES = {
    "bytecode": (
        # string.dump is gone; this is the header of a binary chunk.
        r"local f, e = load('\27Lua\x54\0\x19\x93\r\n\x1a\n') return {f == nil, "
        r"(e:find('binary')) ~= nil}",
        [True, True],
    ),
    "bytecode with a mode": (
        r"local f, e = load('\27Lua\x54', 'x', 'b') return {f == nil, (e:find('binary')) ~= nil}",
        [True, True],
    ),
    "bytecode piece by piece": (
        r"local i = 0 local f = load(function() i = i + 1 return ({'\27Lua', '\x54'})[i] end) "
        r"return f == nil",
        True,
    ),
    "load sees the same globals": (
        "return {load('return debug == nil and dofile == nil and python == nil')(), load('return "
        "_G')() == _G}",
        [True, True],
    ),
    "the metatable of strings": ("return getmetatable('')", False),
    "the table of string methods": (
        "string.upper = nil return {('x'):upper(), pcall(function() return ('x').__index end)}",
        ["X", True],
    ),
    "the metatable of the globals": (
        "return {getmetatable(_G), pcall(setmetatable, _G, {})}",
        [False, False, "main.lua:1: cannot change a protected metatable"],
    ),
    "metatables of libraries": (
        "return {getmetatable(string), getmetatable(process), getmetatable(process.event), "
        "(pcall(setmetatable, math, {}))}",
        [False, False, False, False],
    ),
    "a chunk that closes its wrapper": (
        "return (load('end end return function() return function()'))",
        None,
    ),
    "rawset into libraries stays at home": (
        "rawset(process, 'send', 1) rawset(table, 'x', 1) return {process.send, next(table) ~= "
        "nil}",
        [1, True],
    ),
    "the coroutine of the scheduler": (
        """
        local co, main = coroutine.running()
        return {main, coroutine.status(co), (pcall(coroutine.close, co)), (coroutine.resume(co))}
        """,
        [True, "running", False, False],
    ),
    "errors that hold runtime tables": (
        """
        local ok, e = pcall(function() local ch = channel.new() ch.receive(process) end)
        return {ok, type(e), e:kind()}
        """,
        [False, "userdata", "Invalid"],
    ),
    "a yielded value that equals everything": (
        """
        local all = setmetatable({}, {__eq = function() return true end})
        local got
        local co = coroutine.wrap(function()
          coroutine.yield(all, function(...) got = ... end)
          return "over"
        end)
        return {rawequal(co(), all), co(), got == nil}
        """,
        [True, "over", True],
    ),
    "a metatable that equals everything": (
        """
        local fake = setmetatable({}, setmetatable({}, {__eq = function() return true end}))
        local inbox, now = process.inbox(), time.now()
        return {type(fake), errors.is(fake, errors.UNKNOWN), (errors.wrap(fake, "x")) == nil,
          (pcall(inbox.receive, fake)), (pcall(channel.select, {fake})), (pcall(now.unix, fake)),
          (pcall(time.sleep, fake)), (pcall(string.upper, fake))}
        """,
        ["table", False, True, False, False, False, True, False],
    ),
    "what pairs hands out does not open objects": (
        """
        local e, iterate = errors.new("text"), pairs({})
        local ok, problem = pcall(iterate, e)
        for _, object in ipairs{e, channel.new(1), time.now(), process.inbox()} do
          if pcall(iterate, object) then return "open" end
        end
        return {ok, problem}
        """,
        [False, "bad argument #1 to 'next' (table expected, got error)"],
    ),
    "select with an object for a list": (
        "return {pcall(channel.select, channel.new())}",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes(name: str) -> None:
    source, expected = ESCAPES[name]
    found = run(source)
    if name.startswith("select"):
        assert found[0] is False
    else:
        assert found == expected


def test_an_error_that_is_none_ends_its_process_and_nothing_else() -> None:
    fake = "setmetatable({}, setmetatable({}, {__eq = function() return true end}))"
    for source in (f"return nil, {fake}", f"error({fake})"):
        error = error_of(lambda source=source: run(source))  # type: ignore[misc]
        assert error.message == "a table was raised that has no message"


def test_a_chunk_that_closes_its_wrapper_does_not_compile() -> None:
    node = Node({"main": "end end, function(...) return function(...)"})
    source = "local _, e = process.spawn('app:bad', 'app:processes') return e:kind()"
    node.machine.define(
        {"app:main": entry(source), "app:bad": entry("end end return function() return function()")}
    )
    assert node.run("main") == "Invalid"


def test_nothing_mutable_is_shared_between_processes() -> None:
    """Whatever one process can reach and write to, another does not see."""
    writer = """
        local seen, written = {}, 0
        local function visit(t, depth)
          if type(t) ~= "table" or seen[t] or depth > 6 then return end
          seen[t] = true
          if pcall(rawset, t, "__poison", true) then written = written + 1 end
          pcall(function() t.__poison2 = true end)
          local mt = getmetatable(t)
          visit(mt, depth + 1)
          pcall(function() for _, v in pairs(t) do visit(v, depth + 1) end end)
        end
        visit(_G, 0)
        for _, name in ipairs{%s} do visit(_G[name], 0) end
        return written
    """
    reader = """
        local seen, found = {}, {}
        local function visit(t, path, depth)
          if type(t) ~= "table" or seen[t] or depth > 6 then return end
          seen[t] = true
          if t.__poison or t.__poison2 then found[#found + 1] = path end
          pcall(function() for k, v in pairs(t) do visit(v, path .. "." .. tostring(k),
            depth + 1) end end)
        end
        visit(_G, "_G", 0)
        for _, name in ipairs{%s} do visit(_G[name], name, 0) end
        return found
    """
    modules = ["funcs", "time", "uuid", "errors", "ctx", "json", "logger", "workflow", "io"]
    names = ", ".join(
        f'"{name}"'
        for name in [
            *modules,
            "string",
            "table",
            "math",
            "os",
            "coroutine",
            "utf8",
            "process",
            "channel",
        ]
    )
    node = Node({"writer": writer % names, "reader": reader % names})
    assert node.run("writer") > 15
    assert node.run("reader") == []


def test_no_function_of_the_prelude_looks_up_globals() -> None:
    """They are taken away once the prelude is loaded, and must not be reachable through it."""
    lab = prelude()
    found = lab.run("""
        local seen, found = {}, {}
        local function walk(v)
          if v == nil or seen[v] or v == _G or v == _ENV or v == package then return end
          seen[v] = true
          if type(v) == "table" then
            walk(debug.getmetatable(v))
            for k, item in next, v do walk(k) walk(item) end
          elseif type(v) == "function" then
            local i = 1
            while true do
              local name, value = debug.getupvalue(v, i)
              if not name then break end
              if name == "_ENV" and debug.getinfo(v, "S").source:find("perdure:") then
                found[#found + 1] = debug.getinfo(v, "S").source .. ":" .. debug.getinfo(v,
                  "S").linedefined
              elseif name ~= "_ENV" then
                walk(value)
              end
              i = i + 1
            end
          end
        end
        walk(S)
        return table.concat(found, " ")
    """)
    assert found == b""
