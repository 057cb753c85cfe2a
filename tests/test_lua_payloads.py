"""What becomes of Lua values that are more than data, and what the codec refuses."""

from __future__ import annotations

import pytest

from runtime.codec import decode, encode
from tests.prelude_lab import CODEC, Lab

LAB = Lab("objects", "errors", *CODEC)


@pytest.mark.parametrize(
    ("lua", "value"),
    [
        ("{}", []),
        ("{1, 2, nil}", [1, 2]),
        ("{1, nil, 3}", {1: 1, 3: 3}),
        ("{[1]=1, [2]=2, x=print}", [1, 2]),
        ("{f=print, co=coroutine.create(print), file=io.stdout}", []),
        ("{1, print, 3}", [1, None, 3]),
        ("{a=1, f=print}", {"a": 1}),
        ("{[true]=print, [false]=1}", {False: 1}),
        ("print", None),
        ("{[2^53]=1}", {2**53: 1}),
        ("{[1.5]=1, [1]=2, [-1]=3, [math.huge]=4}", {-1: 3, 1: 2, 1.5: 1, float("inf"): 4}),
        ("setmetatable({a=1}, {__index=error, __pairs=error, __len=error})", {"a": 1}),
        ("setmetatable({a=1}, {__perdure='message', __data=error})", {"a": 1}),
        ("{'\\xff', '\\xed\\xa0\\x80', 'ok'}", [b"\xff", b"\xed\xa0\x80", "ok"]),
    ],
)
def test_tables_become_data(lua: str, value: object) -> None:
    encoded, copied = LAB.run(f"local v = {lua} return S.encode(v), S.encode(S.copy(v))")
    assert encoded == encode(value)
    if value != [1, None, 3]:  # its copy is a table with a hole, and that is a map
        assert copied == encoded


OBJECTS = """
    local message = setmetatable({}, S.own_type("message", {__data = function() return {1, 2} end}))
    local empty = setmetatable({}, S.own_type("payload", {__data = function() return nil end}))
    local no = setmetatable({}, S.own_type("payload", {__data = function() return false end}))
    local channel = setmetatable({}, S.own_type("channel", {}))
    local v = {m = message, c = channel, e = empty, no = no}
    return S.encode(v), S.encode(S.copy(v)), S.encode(message), S.encode(channel), S.copy(no)
"""


def test_objects_travel_as_their_data_or_not_at_all() -> None:
    table, copied, message, channel, no = LAB.run(OBJECTS)
    assert decode(table) == decode(copied) == {"m": [1, 2], "no": False}
    assert decode(message) == [1, 2]
    assert decode(channel) is None
    assert no is False


def test_errors_are_shared_by_copies_since_they_cannot_change() -> None:
    assert LAB.run("local e = S.new_error('Invalid', 'm') return S.copy{e = e}.e == e")


@pytest.mark.parametrize("function", ["encode", "copy", "pack_args"])
@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("v.a = {b = v}", b"cyclic table: $.a.b is $ again"),
        (
            "v.a = {[{}] = 1}",
            b"a table key must be a string, a number or a boolean: $.a has a table as key",
        ),
        ("v['x y'] = {[print] = 1}", b'$["x y"] has a function as key'),
        ("for _ = 1, 100 do v = {v} end", b"nesting deeper than 100 tables"),
        ("for _ = 1, 40 do v = {v, v} end", b"more than 4000000 values in one payload"),
    ],
)
def test_refusals_say_what_and_where(function: str, build: str, message: bytes) -> None:
    ok, kind, text = LAB.run(
        f"local v = {{}} {build} local ok, e = pcall(S.{function}, v) "
        "return ok, e:kind(), e:message()"
    )
    assert (ok, kind) == (False, b"Invalid")
    assert message in text
    assert LAB.run("return S.encode{1}") == b"\x91\x01"


def test_details_of_an_error_are_checked_too() -> None:
    code = "local v = {} v.a = S.new_error('', '', nil, {v}) S.encode(v)"
    message = LAB.run(f"local _, e = pcall(function() {code} end) return e:message()")
    assert message == b"cyclic table: $.a:details()[1] is $ again"


def test_shared_tables_are_not_cycles() -> None:
    assert decode(LAB.run("local t = {1} return S.encode{t, t, x = {t}}")) == {
        1: [1],
        2: [1],
        "x": [[1]],
    }


def test_writers_for_commands() -> None:
    parts = LAB.run(
        "return S.enc_arr_header(4), S.str_header[2], 'é', S.long_header(256, 0xda, 0xdb), "
        "('x'):rep(256), S.enc_bin('a'), S.enc_int(-5)"
    )
    assert decode(b"".join(parts)) == ["é", "x" * 256, b"a", -5]
