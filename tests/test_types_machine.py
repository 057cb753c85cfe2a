"""Typed sources run in processes, functions, libraries, workflows and `load`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.sources import Bundle, unpack
from runtime.libraries.typed_lua import erased
from runtime.lua import bridge
from runtime.lua.types.erase import erase
from supervision import Node as FullNode
from tests.crash_lab import NodeProcess
from tests.durable_lab import HOST, durable_app
from tests.machine_harness import Node, entry, error_of, run

TYPED = """
type Order = {
  id: integer,
  note?: string,
}
local function double<T>(x: T, ...: any): (T, error?)
  return (x :: number) * 2 as T
end
local order: Order = {id = double(21)!}
"""


def test_a_typed_source_runs() -> None:
    assert run(TYPED + "return order.id") == 42


@pytest.mark.parametrize("kind", ["process.lua", "function.lua", "workflow.lua"])
def test_of_every_kind(kind: str) -> None:
    main = "local r, e = require('funcs').call('app:code') return {r, e and e:message()}"
    source = TYPED + "return {main = function(): integer return order.id end}"
    node = Node({"main": main, "code": entry(source, kind, method="main")})
    assert node.run("code") == 42
    if kind == "function.lua":
        assert node.run("main") == [42]


def test_libraries_too() -> None:
    node = Node(
        {
            "main": entry("return lib.f(4)", imports={"lib": "app:lib"}),
            "lib": entry(
                "return {f = function(x: number): number return x * 2 end}", "library.lua"
            ),
        }
    )
    assert node.run("main") == 8


def test_a_cast_that_would_compile_as_a_call() -> None:
    assert run("local t: any = {7}\nlocal u = t as {number} local v = u as (any)\nreturn v") == [7]


def test_a_source_that_begins_with_a_hash() -> None:
    assert run("#!/usr/bin/lua\nlocal x: number = 3\nreturn x") == 3


def test_evaluated_strings_are_typed() -> None:
    source = """
        local f, e = load("local x: number = ... return x as integer + y!", "=chunk", "t", {y = 2})
        return {f(40), e == nil, (load("local z: string = 'z' return z"))()}
    """
    assert run(source) == [42, True, "z"]


def test_evaluated_pieces_are_typed() -> None:
    source = """
        local parts = {"local x: num", "ber = 5 ", "return x"}
        local i = 0
        return load(function(): string? i = i + 1 return parts[i] end)()
    """
    assert run(source) == 5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("local x: = 1", "c:1: type expected near '='"),
        ("\nlocal x: number == 1", "c:2: unexpected symbol near '=='"),
        ("local x: number\nlocal y = = 1", "c:2: unexpected symbol near '='"),
        ("local x: {" + "{" * 100, "c:1: a type nests more than 50 deep"),
        ("x = 1 as", "c:1: syntax error near <eof>"),
        ("x = y as \xff", None),
    ],
)
def test_faults_in_evaluated_strings(code: str, message: str | None) -> None:
    found = run("local code = ... local f, e = load(code, '=c') return {f == nil, e}", code)
    assert found[0] is True
    if message is not None:
        assert found[1] == message


def test_a_fault_names_the_file_and_the_line() -> None:
    error = error_of(lambda: run("type X = number\n\nlocal x: = 5"))
    assert error.message == "app:main does not compile: main.lua:3: type expected near '='"
    error = error_of(lambda: run("type X = number\n\nlocal x: X = = 5"))
    assert error.message == "app:main does not compile: main.lua:3: unexpected symbol near '='"


def test_errors_and_traces_have_the_lines_of_the_source() -> None:
    source = """type X = {
      a: number,
    }
    local function f(
      x: X
    ): number
      error("here")
    end
    f({a = 1} as X)
    """
    error = error_of(lambda: run(source))
    assert error.message == "main.lua:7: here"
    assert error.trace.splitlines()[1:] == ["main.lua:7: in f", "main.lua:9: in main chunk"]


def test_no_evaluated_string_runs_for_free() -> None:
    node = Node({"main": "local s = ('x = y as T '):rep(20000) while true do load(s) end"})
    error = error_of(lambda: node.run("main"))
    assert error.message.startswith("process killed: out of fuel")


def test_names_of_types_are_casts() -> None:
    source = """
        return {string(12), string(nil), string(errors.new("e")), integer("7"), integer(3.0),
          integer(-3.7), number("1.5"), number(2), boolean(nil), boolean(0)}
    """
    assert run(source) == ["12", "nil", "e", 7, 3, -3, 1.5, 2, False, True]
    assert error_of(lambda: run("return integer('x')")).kind == "Invalid"
    assert error_of(lambda: run("return number({})")).kind == "Invalid"


def test_a_source_without_types_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def count(source: bytes, lasting: bool) -> object:
        asked.append(source)
        return erased(source, lasting)

    monkeypatch.setitem(bridge.FUNCTIONS, "erase", count)
    assert run("local x = 5 return load('return ...')(x)") == 5
    assert asked == []
    assert run("local x: number = 5 return x") == 5
    assert len(asked) == 1


def test_what_is_pinned_is_the_source_as_it_was_written() -> None:
    known = {"app:main": entry(TYPED, "workflow.lua")}
    bundle = Bundle("app:main", known)
    assert unpack(bundle.blob)["app:main"].source == TYPED
    plain = Bundle("app:main", {"app:main": entry(erase(TYPED), "workflow.lua")})
    assert bundle.digest != plain.digest


WORKFLOW = """
  local seen: {string} = {}
  local f = load("return uuid as any", "=f", "t", {uuid = uuid.v4()})
  seen[#seen + 1] = f() :: string
  local called: string = assert(funcs.call("app:effect", "called"))!
  seen[#seen + 1] = called
  local msg = process.inbox():receive()
  seen[#seen + 1] = msg:payload():data() as string
  return seen
"""


def test_a_typed_workflow_survives_a_crash(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", {"typed": WORKFLOW})
    with NodeProcess(app) as node:
        pid = node.spawn("app:typed", HOST)
        node.until_recorded(pid, "activity_completed")
        before = node.history(pid)
        node.crash()
        node.send(pid, "go", "on")
        found = node.result(pid)
        assert found[1:] == ["called", "on"]
        assert len(found[0]) == 36
        after = node.history(pid)
        assert after[: len(before)] == before


def test_check_names_the_place_of_a_fault(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(
        'version: "1.0"\nnamespace: app\nentries:\n'
        '- {name: f, kind: function.lua, method: main, source: "file://f.lua"}\n'
    )
    (tmp_path / "f.lua").write_text("function main(x: number): number\n  local y: {= 1\nend")
    with pytest.raises(Exception, match=r"f\.lua:2: type expected near '='"):
        FullNode.from_path(tmp_path)
    (tmp_path / "f.lua").write_text("function main(x: number): number\n  return x as any\nend")
    with FullNode.from_path(tmp_path) as node:
        assert node.call("app:f", 5, timeout=20) == 5
