"""The module `errors` and error objects in Lua."""

from __future__ import annotations

import pytest

from runtime.codec import decode, encode
from runtime.errors import PerdureError
from tests.prelude_lab import CODEC, Lab

LAB = Lab("objects", "errors", *CODEC)


@pytest.mark.parametrize(
    ("lua", "result"),
    [
        ("errors.new('m'):kind()", b""),
        ("errors.new('m'):message()", b"m"),
        ("errors.new('m'):retryable()", None),
        ("errors.new('m'):details()", None),
        ("errors.new{message='m', kind=errors.NOT_FOUND}:kind()", b"NotFound"),
        ("errors.new{message='m', retryable=false}:retryable()", False),
        ("errors.new{message='m', details={}}:details()", None),
        ("errors.new{message='m', details={a={1}}}:details().a[1]", 1),
        ("tostring(errors.new{message='m', kind='Invalid'})", b"m"),
        (
            "tostring(errors.wrap(errors.wrap(errors.new('m'), 'inner'), 'outer'))",
            b"outer: inner: m",
        ),
        ("tostring(errors.wrap('text', 'c'))", b"c: text"),
        (
            "errors.wrap(errors.new{message='m', kind='Conflict', retryable=true}, 'c'):message()",
            b"m",
        ),
        ("errors.wrap(errors.new{message='m', kind='Conflict'}, 'c'):kind()", b"Conflict"),
        ("errors.wrap(errors.new{message='m', details={1}}, 'c'):details()[1]", 1),
        ("errors.is(errors.new{message='m', kind='Timeout'}, errors.TIMEOUT)", True),
        ("errors.is(errors.new('m'), errors.TIMEOUT)", False),
        ("errors.is('Timeout', errors.TIMEOUT)", False),
        ("errors.is(nil, nil)", False),
        ("'failed: ' .. errors.new('m') .. '!' .. 1 .. errors.new('x')", b"failed: m!1x"),
        ("errors.new('a') .. errors.new('b')", b"ab"),
        ("errors.new('m').anything", None),
        ("getmetatable(errors.new('m'))", False),
        (
            "pcall(setmetatable, errors.new('m'), nil)",
            (False, b"cannot change a protected metatable"),
        ),
    ],
)
def test_values(lua: str, result: object) -> None:
    assert LAB.run(f"return {lua}") == result


@pytest.mark.parametrize(
    ("lua", "message"),
    [
        (
            "errors.new()",
            b"errors.new: the argument must be a string or a table with a message, not a nil value",
        ),
        ("errors.new{}", b"errors.new: message must be a string, not a nil value"),
        ("errors.new{message='m', kind=1}", b"errors.new: kind must be one of the constants"),
        (
            "errors.new{message='m', retryable=1}",
            b"errors.new: retryable must be true, false or nil",
        ),
        ("errors.new{message='m', details=1}", b"errors.new: details must be a table"),
        ("errors.new{message='m', details={[{}]=1}}", b"errors.new: details: a table key must be"),
        ("errors.wrap(nil, 'c')", b"errors.wrap: expected an error or a string, not a nil value"),
        ("errors.wrap('m')", b"errors.wrap: the context must be a string, not a nil value"),
        ("errors.call_stack('m')", b"errors.call_stack: expected an error, not a string value"),
    ],
)
def test_mistyped_arguments_are_invalid(lua: str, message: bytes) -> None:
    value, kind, text = LAB.run(f"local v, e = {lua} return v, e:kind(), tostring(e)")
    assert (value, kind) == (None, b"Invalid")
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("lua", "message"),
    [
        ("errors.new('m').kind()", b"kind is a method of errors: call it as err:kind()"),
        ("errors.new('m') .. nil", b"attempt to concatenate an error and a nil value"),
        ("{} .. errors.new('m')", b"attempt to concatenate an error and a table value"),
        ("rawset(errors.new('m'), 1, 2).kind({})", b"kind is a method of errors"),
        ("(function() errors.new('m').x = 1 end)()", b"an error cannot be changed"),
    ],
)
def test_misuse_raises_an_error_object(lua: str, message: bytes) -> None:
    ok, kind, text = LAB.run(
        f"local ok, e = pcall(function() return {lua} end) return ok, e:kind(), tostring(e)"
    )
    assert (ok, kind) == (False, b"Invalid")
    assert text.startswith(message)


def test_details_cannot_be_changed_from_outside() -> None:
    assert (
        LAB.run("""
        local given = {a = 1}
        local e = errors.new{message = "m", details = given}
        given.a = 2
        e:details().a = 3
        return e:details().a""")
        == 1
    )


def test_the_stack_names_where_the_error_was_made() -> None:
    thread, count, source, line, name, text = LAB.run("""
        local function deeper()
          local e = errors.new("m")
          return e
        end
        local function outer()
          local e = deeper()
          return e
        end
        local e = outer()
        local stack = errors.call_stack(e)
        local f = stack.frames[1]
        return stack.thread, #stack.frames, f.source, f.line, f.name, e:stack()""")
    assert (thread, count, source, line, name) == (b"main", 3, b"test", 3, b"deeper")
    assert text.splitlines()[1:3] == [b"test:3: in deeper", b"test:7: in outer"]


def test_the_thread_has_the_name_that_the_runtime_gives_it() -> None:
    lab = Lab("objects", "errors", thread_name=lambda: b"coroutine 2")
    assert lab.run("return errors.call_stack(errors.new('m')).thread") == b"coroutine 2"


def test_errors_keep_everything_on_their_way_through_python() -> None:
    bytes_ = LAB.run("""
        local e = errors.new{message = "m", kind = "Conflict", retryable = false, details = {a = 1}}
        return S.encode(errors.wrap(e, "c"))""")
    error = decode(bytes_)
    assert error == PerdureError("Conflict", "m", False, {"a": 1}, context="c")
    assert error.trace.startswith("thread main\ntest:2: in ")
    assert LAB.run("return S.encode(S.decode(...))", encode(error)) == bytes_


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        ("error('text', 0)", b"Internal", b"text"),
        (
            "local x = nil; x.y = 1",
            b"Internal",
            b"test:1: attempt to index a nil value (local 'x')",
        ),
        ("error(nil)", b"Internal", b"nil was raised"),
        ("error(12)", b"Internal", b"12"),
        ("error(print)", b"Internal", b"a function was raised"),
        ("error({message = 'in a table'})", b"Internal", b"in a table"),
        ("error({})", b"Internal", b"a table was raised that has no message"),
        (
            "error(setmetatable({}, {__tostring = function() while true do end end}))",
            b"Internal",
            None,
        ),
        ("error(errors.new{message = 'kept', kind = 'Timeout'})", b"Timeout", b"kept"),
    ],
)
def test_whatever_was_raised_becomes_an_error(
    raised: str, kind: bytes, message: bytes | None
) -> None:
    code = f"local _, raised = pcall(function() {raised} end) local e = S.to_error(raised, 'at')"
    got_kind, text = LAB.run(f"{code} return e:kind(), e:message()")
    assert got_kind == kind
    assert message is None or text == message
