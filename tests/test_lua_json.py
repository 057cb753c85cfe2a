"""The module `json` agrees with Python's json, and says what it has no form for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.codec import decode, encode
from tests.prelude_lab import CODEC, Lab

LAB = Lab("objects", "errors", *CODEC, "arguments", "json")
DECODED = LAB.run("return function(text) return S.encode((json.decode(text))) end")
ENCODED = LAB.run("return function(bytes) return json.encode(S.decode(bytes)) end")

integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner, min_size=1),
    max_leaves=30,
)


def same(a: Any, b: Any) -> bool:
    """Equal, with 1 and 1.0 and True apart."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_decodes_what_python_writes(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert same(decode(DECODED(text.encode())), value)


@given(values)
def test_python_reads_what_it_encodes(value: Any) -> None:
    text, problem = ENCODED(encode(value))
    assert problem is None
    assert same(json.loads(text), value)


@given(st.text('[]{}",:0123.eE+-truefalsn\\u \n\x7f\x01é', max_size=12))
def test_accepts_what_python_accepts(text: str) -> None:
    value, problem = LAB.run(
        "local v, e = json.decode(...) return S.encode(v), e and e:kind()", text.encode()
    )
    try:
        expected = json.loads(text, parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        assert problem == b"Invalid"
    else:
        assert problem is None
        assert decode(value) is not None or expected is None


@pytest.mark.parametrize(
    ("lua", "text"),
    [
        ("", "null"),
        ("nil", "null"),
        ("{}", "[]"),
        ("{{}}", "[[]]"),
        ("{1, 1.0, 1e100, 0.1, -0.0}", "[1,1.0,1e+100,0.1,-0.0]"),
        ("{b = 1, a = {c = true}}", '{"a":{"c":true},"b":1}'),
        ("math.mininteger", "-9223372036854775808"),
        ("2^53", "9007199254740992.0"),
        (r"'\0\1\n\t\"\\/\127é'", '"\\u0000\\u0001\\n\\t\\"\\\\/\x7fé"'),
        ("errors.new('m')", '"m"'),
        ("setmetatable({}, S.own_type('payload', {__data = function() return {1} end}))", "[1]"),
        ("setmetatable({a = 1}, {__index = error, __pairs = error})", '{"a":1}'),
    ],
)
def test_encode(lua: str, text: str) -> None:
    assert LAB.run(f"return json.encode({lua})") == (text.encode(), None)


@pytest.mark.parametrize(
    ("lua", "problem"),
    [
        ("{1, nil, 3}", "a sparse array: position 2 of 2 values is empty"),
        ("{[5] = 1}", "a sparse array: position 1 of 1 values is empty"),
        ("{1, a = 2}", "a table with both strings and positions as keys"),
        ("{[1.5] = 1}", "a table with a key that is neither a string nor a position"),
        ("{[true] = 1}", "a table with a key that is neither a string nor a position"),
        ("{print}", "a function"),
        ("0/0", None),
        ("1/0", "the number inf"),
        ("'\\xff'", "a string that is not UTF-8: encode it first, with base64 for example"),
        ("(function() local t = {} t.t = t return t end)()", "a table that contains itself"),
        (
            "(function() local t = 1 for _ = 1, 129 do t = {t} end return t end)()",
            "nesting deeper than 128",
        ),
        ("setmetatable({}, S.own_type('channel', {}))", "a channel"),
    ],
)
def test_what_json_has_no_form_for(lua: str, problem: str | None) -> None:
    value, kind, message = LAB.run(
        f"local v, e = json.encode({lua}) return v, e:kind(), e:message()"
    )
    assert (value, kind) == (None, b"Internal")
    assert message.decode().startswith("json.encode: JSON has no form for ")
    assert problem is None or message.decode().endswith(f" for {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2", "expected ',' or ']' in an array at line 1, column 6"),
        ('{\n  "a": 1,\n  b: 2}', "expected a key in double quotes at line 3, column 3"),
        ('{"a" 1}', "expected ':' after a key at line 1, column 6"),
        ('{"a": 1]', "expected ',' or '}' in an object at line 1, column 8"),
        ("[1,]", "expected a value at line 1, column 4"),
        ("01", "a number with a leading zero at line 1, column 1"),
        ("1.x", "a malformed number at line 1, column 1"),
        ("nul", "expected a value at line 1, column 1"),
        ("  ", "the text ends too early at line 1, column 3"),
        ("1 2", "text after the value at line 1, column 3"),
        ('"abc', "this string has no end at line 1, column 1"),
        ('"a\nb"', "a control character in a string: write it as an escape at line 1, column 3"),
        (r'"\x"', "an unknown escape in a string at line 1, column 2"),
        (r'"\u12"', "four hexadecimal digits were expected after \\u at line 1, column 4"),
        ("[" * 129, "nesting deeper than 128 at line 1, column 129"),
        (b'["\xff"]', "the text is not UTF-8 at line 1, column 3"),
    ],
)
def test_malformed_text_is_invalid(text: str | bytes, problem: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    value, kind, message = LAB.run(
        "local v, e = json.decode(...) return v, e:kind(), e:message()", data
    )
    assert (value, kind) == (None, b"Invalid")
    assert message.decode() == f"json.decode: {problem}"


@pytest.mark.parametrize(
    ("text", "lua"),
    [
        ("null", "nil"),
        ("[1, null, 3]", "{1, nil, 3}"),
        ('{"a": null}', "{}"),
        ('{"a": 1, "a": 2}', "{a = 2}"),
        ("12345678901234567890", "12345678901234567890.0"),
        ("-0", "0"),
        ("1E5", "1e5"),
        (r'"\ud83d\ude00"', "'\\u{1F600}'"),
        (r'"\ud83d"', "'\\u{FFFD}'"),
        (r'"\ude00x"', "'\\u{FFFD}x'"),
        (r'"\/\b\f"', r"'/\b\f'"),
    ],
)
def test_decode(text: str, lua: str) -> None:
    assert DECODED(text.encode()) == LAB.run(f"return S.encode({lua})")


@pytest.mark.parametrize("lua", ["", "''", "5", "{}"])
def test_decode_wants_text(lua: str) -> None:
    value, kind = LAB.run(f"local v, e = json.decode({lua}) return v, e:kind()")
    assert (value, kind) == (None, b"Invalid")
