"""How entries run: methods, modules, imports, globals of their own, errors, output, checks."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import commands as c
from runtime.codec import decode, decode_args
from runtime.errors import PerdureError
from runtime.lua.machine import Definition
from tests.machine_harness import Node, entry, error_of, run

METHODS = {
    "the chunk itself": ("return {...}", "", [1, 2]),
    "a function of the module": ("local M = {} function M.main(a, b) return {b, a} end "
    "return M", "main", [2, 1]),
    "a global function": ("function main(a) return a end", "main", 1),
    "a function as module": ("return function(a, b) return a + b end", "main", 3),
    "the module before the globals": ("function main() return 'global' end return {main = "
    "function() return 'module' end}", "main", "module"),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    source, method, expected = METHODS[name]
    node = Node({"main": entry(source, method=method)})
    assert node.run("main", 1, 2) == expected


def test_a_missing_method_is_told() -> None:
    node = Node({"main": entry("function other() end", method="main")})
    error = error_of(lambda: node.run("main"))
    assert (error.kind, error.message) == (
        "Invalid",
        'app:main: its source defines no function "main"',
    )


def test_locals_of_a_module_live_as_long_as_a_process() -> None:
    node = Node(
        {
            "main": entry(
                "local n = 0 return {main = function() n = n + 1 return n end}", method="main"
            )
        }
    )
    assert [node.run("main") for _ in range(3)] == [1, 1, 1]


ENDS: dict[str, tuple[str, Any]] = {
    "an error with its place": ("local x\nreturn x.y", "main.lua:2: attempt to index a nil value "
    "(local 'x')"),
    "a raised text": ("error('text')", "main.lua:1: text"),
    "without place": ("error('text', 0)", "text"),
    "a raised table": ("error({message = 'from a table', code = 5})", "from a table"),
    "nil": ("error(nil)", "nil was raised"),
    "a second result": ("return nil, 'why'", "why"),
    "a second result beside a first": ("return 1, require('errors').new('why')", "why"),
    "assert": ("assert(false, errors.new('asserted'))", "asserted"),
    "a coroutine that fails": ("coroutine.spawn(function() error('in it', 0) end) "
    "return 1", "in it"),
    "a result that is no data": ("local t = {} t.t = t return t", "the result of this code "
    "cannot be sent: cyclic table: $.t is $ again"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_failures(name: str) -> None:
    source, message = ENDS[name]
    assert error_of(lambda: run(source)).message == message


def test_an_error_object_keeps_itself() -> None:
    error = error_of(
        lambda: run(
            "error(require('errors').new{kind = 'Conflict', message = 'm', retryable = false, "
            "details = {a = 1}})"
        )
    )
    assert error == PerdureError("Conflict", "m", False, {"a": 1})


WRONG_ARGUMENTS = {
    "string.sub('x', {})": "bad argument #2 to 'sub' (number expected, got table)",
    "('x'):rep({})": "bad argument #2 to 'rep' (integer expected, got table)",
    "string.upper()": "bad argument #1 to 'upper' (string expected, got nil)",
    "string.format('%d', 'x')": "bad argument #2 to 'format' (number expected, got string)",
    "string.format('%y', 1)": "invalid conversion '%y' to 'format'",
    "table.concat({{}})": "invalid value (table) at index 1 in table for 'concat'",
    "table.insert(1, 2)": "bad argument #1 to 'insert' (table expected, got number)",
    "utf8.char(-1)": "bad argument #1 to 'char' (value out of range)",
    "os.date('%Ez')": "bad argument #1 to 'date' (invalid conversion specifier '%Ez')",
    "setmetatable(1, {})": "bad argument #1 to 'setmetatable' (table expected, got number)",
    "setmetatable({}, 1)": "bad argument #2 to 'setmetatable' (nil or table expected, got number)",
    "next(1)": "bad argument #1 to 'next' (table expected, got number)",
    "pairs(nil)": "bad argument #1 to 'pairs' (table expected, got nil)",
    "math.floor({})": "bad argument #1 to 'floor' (number expected, got table)",
    "load(5)": "bad argument #1 to 'load' (string expected, got number)",
    "coroutine.wrap(5)": "bad argument #1 to 'wrap' (function expected, got number)",
    "coroutine.resume(5)": "bad argument #1 to 'resume' (thread expected, got number)",
}


@pytest.mark.parametrize("call", WRONG_ARGUMENTS)
def test_wrong_arguments_are_blamed_on_the_line_of_the_call(call: str) -> None:
    expected = f"main.lua:2: {WRONG_ARGUMENTS[call]}"
    assert error_of(lambda: run(f"\n{call}")).message == expected
    assert run(f"local ok, e = pcall(function()\n{call} end) return e") == expected
    assert (
        run(
            f"local co = coroutine.create(function()\n{call} end) return select(2, "
            f"coroutine.resume(co))"
        )
        == expected
    )


def test_a_failure_has_the_traceback_of_user_code_only() -> None:
    source = """local function inner(t)
  return t.a.b
end
local function outer()
  local r = inner({})
  return r
end
outer()"""
    error = error_of(lambda: run(source))
    assert error.trace.split("\n") == [
        "thread main",
        "main.lua:2: in inner",
        "main.lua:5: in outer",
        "main.lua:8: in main chunk",
    ]


def test_a_failed_coroutine_is_named() -> None:
    source = """coroutine.spawn(function() end)
local ch = channel.new()
coroutine.spawn(function()
  ch:receive()
  error("x")
end)
ch:send(1)
process.inbox():receive()"""
    assert error_of(lambda: run(source)).trace.split("\n")[:2] == [
        "thread coroutine 2",
        "main.lua:5: in f",
    ]


def test_close_runs_when_the_process_fails() -> None:
    node = Node(
        {
            "main": """
                local x <close> = setmetatable({},
                  {__close = function(_, e) print("closed", e) end})
                error("why", 0)
            """
        }
    )
    assert error_of(lambda: node.run("main")).message == "why"
    assert node.logged() == ["closed\twhy"]


def test_results_are_copied_data() -> None:
    assert run("return {1, 2.5, 'x', {a = true}}") == [1, 2.5, "x", {"a": True}]
    assert run("return print") is None
    assert run("return") is None
    assert run("return process.inbox()") is None


# Modules ------------------------------------------------------------------------------------------


def test_a_module_that_is_not_listed_is_named_with_the_remedy() -> None:
    node = Node({"main": entry("return require('json')", modules=["time", "funcs"])})
    error = error_of(lambda: node.run("main"))
    assert error.kind == "NotFound"
    assert error.message == (
        'module "json" is not listed in app:main: add it to modules: (or a library to imports:) '
        "of that "
        "entry; listed are funcs, time"
    )


def test_listed_modules_are_globals_too_and_some_need_no_listing() -> None:
    source = """
        assert(require("process") == process and require("channel") == channel and
          require("errors") == errors)
        assert(json == nil)
        return {time ~= nil, require("time") == time, funcs == nil}
    """
    node = Node({"main": entry(source, modules=["time"])})
    assert node.run("main") == [True, True, True]


def test_imports() -> None:
    library = entry(
        """
        local count = 0
        local M = {}
        function M.bump() count = count + 1 return count end
        function M.helper() return require("helper").name end
        shared = "global of the library"
        function M.shared() return shared end
        return M
        """,
        "library.lua",
        imports={"helper": "app:helper"},
        modules=[],
    )
    source = """
        local lib = require("lib")
        lib.bump()
        return {lib == require("lib"), lib.bump(), lib.helper(), lib.shared(), shared == nil,
          helper == nil}
    """
    node = Node(
        {
            "main": entry(source, imports={"lib": "app:library"}),
            "library": library,
            "helper": entry("name = 'helped'", "library.lua"),
        }
    )
    expected = [True, 2, "helped", "global of the library", True, True]
    assert node.run("main") == expected
    assert node.run("main") == expected  # its state lives as long as the process


def test_a_library_that_fails_or_is_missing() -> None:
    node = Node(
        {
            "main": entry("return require('lib')", imports={"lib": "app:gone"}),
            "other": entry("return require('lib')", imports={"lib": "app:bad"}),
            "bad": entry("x =", "library.lua", chunk="bad.lua"),
        }
    )
    assert error_of(lambda: node.run("main")).message == "library app:gone does not exist"
    assert error_of(lambda: node.run("other")).message.startswith(
        "app:bad does not compile: bad.lua:1:"
    )


def test_a_redefined_entry_runs_anew_and_what_runs_goes_on() -> None:
    node = Node({"main": "local v = process.inbox():receive() return 'old'"})
    pid = node.start("main")
    node.step()
    node.machine.define({"app:main": entry("return 'new'")})
    assert node.run("main") == "new"
    node.send(pid, "go")
    assert node.result(pid) == "old"


def test_what_a_process_writes_is_seen_by_no_other() -> None:
    writer = """
        string.foo = "mine"
        string.len = function() return -1 end
        process.event.EXIT = "broken"
        process.registry = nil
        table.insert = nil
        math.pi = 3
        time.SECOND = 0
        json.encode = nil
        _G.print = nil
        type = nil
        x = 1
        rawset(errors, "INVALID", "?")
        return {string.foo, string.len("abc"), process.event.EXIT, math.pi}
    """
    reader = """
        return {string.foo == nil, string.len("abc"), process.event.EXIT, process.registry ~= nil,
          table.insert ~= nil, math.pi > 3.1, time.SECOND, json.encode({1}), type(print), x == nil,
          errors.INVALID, ("abc"):len()}
    """
    modules = ["time", "json"]
    node = Node(
        {"writer": entry(writer, modules=modules), "reader": entry(reader, modules=modules)}
    )
    assert node.run("writer") == ["mine", -1, "broken", 3]
    assert node.run("reader") == [
        True, 3, "pid.exit", True, True, True, 1_000_000_000, "[1]", "function", True, "Invalid", 3,
    ]  # fmt: skip


def test_pairs_shows_a_library_with_what_was_written_into_it() -> None:
    source = """
        math.mine = 1
        local seen = {}
        for k in pairs(math) do seen[k] = true end
        local event = false
        for k, v in pairs(process) do if k == "event" then event = v.EXIT end end
        return {seen.mine, seen.floor, event}
    """
    assert run(source) == [True, True, "pid.exit"]


# Casts and other globals --------------------------------------------------------------------------

GLOBALS = {
    "return {string(5), string(nil), integer('7'), integer(2.9), integer(-2.9), number('1.5'), "
    "boolean(nil), boolean(0)}": (
        ["5", "nil", 7, 2, -2, 1.5, False, True]
    ),
    "local ok, e = pcall(integer, 'x') return e:message()": 'integer: "x" is no whole number',
    "return {type(process.pid), type(channel.new()), type(errors.new('x')), type({}), "
    "type(time.now())}": (
        ["function", "userdata", "userdata", "table", "userdata"]
    ),
    "return {pcall(type)}": [False, "bad argument #1 to 'type' (value expected)"],
    "return {os.platform(), os.time() == time.now():unix(), os.getenv == nil, os.exit == nil}": (
        ["perdure", True, True, True]
    ),
    "return {unpack({1, 2}), select('#', unpack({1, nil, 3}, 1, 3)), next(table.create(5)) == "
    "nil}": (
        [1, 3, True]
    ),
    "return 'a: ' .. errors.new('b') .. ' c'": "a: b c",
    "return {string.upper(errors.new('up')), (tostring(errors.new('x')):find('x'))}": ["UP", 1],
    "return {load('return 1 + 1')(), load(function() return nil end)() == nil, (load('x "
    "='))}": [2, True],
    "x = 5 return {load('return x')(), load('return x', 'n', 't', {x = 6})(), pcall(load('y = "
    "1')) and y}": [5, 6, 1],
    "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error(b, 0) end)"
    " return {coroutine.resume(co, 1), select(2, coroutine.resume(co, 'e')), "
    "coroutine.status(co)}": (
        [True, "e", "dead"]
    ),
    "return {coroutine.isyieldable(), select(2, coroutine.running()), pcall(coroutine.yield)}": (
        [False, True, False, "attempt to yield from outside a coroutine"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", GLOBALS)
def test_globals(source: str) -> None:
    assert run(source) == GLOBALS[source]


def test_tasks_are_resumed_by_the_runtime_only() -> None:
    source = """
        local main = coroutine.running()
        local ch, task, inner = channel.new(), nil, nil
        coroutine.spawn(function() task = coroutine.running() ch:receive() end)
        coroutine.spawn(function()
          inner = coroutine.create(function() ch:receive() end)
          coroutine.resume(inner)
        end)
        local results = {}
        for i, co in ipairs{main, task, inner} do
          local ok, text = coroutine.resume(co)
          results[i] = {ok, text, (pcall(coroutine.close, co))}
        end
        ch:send(1) ch:send(2)
        return results
    """
    refused = [False, "cannot resume a coroutine that the runtime resumes", False]
    assert run(source) == [refused] * 3


def test_a_wrapped_coroutine_that_fails_closes_what_it_opened() -> None:
    source = """
        local closed = false
        local f = coroutine.wrap(function()
          local x <close> = setmetatable({}, {__close = function() closed = true end})
          error("e", 0)
        end)
        local ok, e = pcall(f)
        return {ok, e, closed}
    """
    assert run(source) == [False, "e", True]


# Output -------------------------------------------------------------------------------------------


def test_print_and_logger() -> None:
    node = Node(
        {
            "main": """
                print("a", 1, 1.0, nil, true, errors.new("e"))
                logger.info("plain")
                logger:warn("with", {n = 1, e = errors.new("err"), f = print})
                local log = logger:named("x"):with({a = 1}):named("y")
                log:error("named", {b = 2})
                log:debug(5)
            """
        }
    )
    node.run("main")
    lines = [
        (log.level, log.message, None if log.fields is None else decode(log.fields))
        for log in node.of(c.Log)
    ]
    assert lines == [
        ("info", "a\t1\t1.0\tnil\ttrue\te", None),
        ("info", "plain", None),
        ("warn", "with", {"n": 1, "e": "err"}),
        ("error", "named", {"a": 1, "b": 2, "logger": "x.y"}),
        ("debug", "5", {"a": 1, "logger": "x.y"}),
    ]


def test_io_is_for_terminals() -> None:
    node = Node({"main": "io.write('a', 1) io.print('b', 2) return io.args()"})
    pid = node.start("main", terminal=["x", "y"])
    node.step()
    for _ in range(2):
        assert node.alive(pid)
        node.answer(node.last(c.Ask))
    assert node.result(pid) == ["x", "y"]
    written = [(ask.module, ask.verb, *decode_args(ask.args)) for ask in node.of(c.Ask)]
    assert written == [("io", "out", "a1"), ("io", "out", "b\t2\n")]
    error = run("local ok, err = io.write('x') return {ok == nil, err:kind(), err:message()}")
    assert error == [True, "Invalid", "io.write: app:main does not run on a terminal host"]


def test_bytes_that_are_no_text_pass_through_commands() -> None:
    node = Node({"main": "print('\\xff') process.send('name', 'topic', '\\xfc')"})
    node.start("main")
    node.step()
    assert node.logged() == ["\udcff"]
    assert decode_args(node.last(c.Send).args) == [b"\xfc"]


@pytest.mark.parametrize(
    ("send", "what"),
    [
        ("process.send('\\xfe', 'topic')", 'destination must be a PID or a name, got "\udcfe"'),
        ("process.send('name', 't\\xfd')", 'topic must be a text, got "t\udcfd"'),
    ],
)
def test_what_names_something_is_text(send: str, what: str) -> None:
    node = Node({"main": f"local ok, err = {send} print(err:message())"})
    node.start("main")
    node.step()
    assert node.logged() == [f"process.send: {what}"]


# Checks -------------------------------------------------------------------------------------------

CHECKS: dict[str, tuple[Definition, list[str] | None]] = {
    "all is well": (entry("return {main = print}", method="main"), None),
    "the names that are there": (
        entry("local M = {} function M.b() end function a() end return M", method="main"),
        ["a", "b"],
    ),
    "nothing is there": (entry("return {}", method="main"), []),
    "no method, nothing runs": (entry("error('ran')"), None),
    "a chunk that would do things": (
        entry(
            "funcs.call('a:b') process.spawn('app:main', 'app:processes') print('x') return {}",
            method="main",
        ),
        None,
    ),
    "a chunk that spawns coroutines": (
        entry("coroutine.spawn(function() end) return {main = print}", method="main"),
        None,
    ),
    "a chunk that fails": (entry("error('x')", method="main"), None),
    "a chunk without end": (entry("while true do end", method="main"), None),
}


@pytest.mark.parametrize("name", CHECKS)
def test_inspect(name: str) -> None:
    definition, expected = CHECKS[name]
    node = Node({"main": definition, "other": "return 1"})
    assert node.machine.inspect("app:main") == expected
    assert node.machine.step([]) == (False, [])
    assert node.run("other") == 1


def test_inspect_tells_what_does_not_compile() -> None:
    node = Node({"main": "x = = 1"})
    error = error_of(lambda: node.machine.inspect("app:main"))
    assert error.kind == "Invalid"
    assert "main.lua:1" in error.message
