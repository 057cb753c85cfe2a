"""Both sides of the codec write the same bytes, and what cannot travel is refused by name."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.codec import decode, decode_args, encode, encode_args
from runtime.errors import Kind, PerdureError
from tests.prelude_lab import CODEC, Lab

LAB = Lab("objects", "errors", *CODEC)
THROUGH_LUA = LAB.run("return function(bytes) return S.encode(S.decode(bytes)) end")
ARGS_THROUGH_LUA = LAB.run("return function(bytes) return S.pack_args(S.decode_args(bytes)) end")
COPIED_IN_LUA = LAB.run("return function(bytes) return S.encode(S.copy(S.decode(bytes))) end")

integers = st.integers(-(2**63), 2**63 - 1)
#: Bytes that no one takes for text, since 0xff is never part of UTF-8.
binaries = st.binary(max_size=300).map(lambda data: b"\xff" + data)
scalars = st.booleans() | integers | st.floats(allow_nan=False) | st.text() | binaries
keys = (
    st.text()
    | integers
    | st.booleans()
    | binaries
    | st.floats(allow_nan=False).map(lambda x: int(x) if x.is_integer() and abs(x) < 2**63 else x)
)


def tables(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists, and dicts that Lua does not take for lists."""
    return st.lists(inner, max_size=20) | st.dictionaries(
        keys, inner, min_size=1, max_size=20
    ).filter(lambda d: set(d) != set(range(1, len(d) + 1)) or any(type(k) is bool for k in d))


def errors(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[PerdureError]:
    details = st.none() | st.dictionaries(st.text(min_size=1), inner, min_size=1, max_size=3)
    return st.builds(
        PerdureError,
        st.sampled_from([Kind.NOT_FOUND, Kind.INTERNAL, Kind.UNKNOWN]),
        st.text(),
        st.none() | st.booleans(),
        details,
        context=st.text(),
        trace=st.text(),
    )


values = st.recursive(scalars, lambda inner: tables(inner) | errors(inner), max_leaves=30)


@given(values)
def test_python_and_lua_write_the_same_bytes(value: Any) -> None:
    data = encode(value)
    assert THROUGH_LUA(data) == data
    assert COPIED_IN_LUA(data) == data
    assert decode(data) == value


@given(st.lists(st.none() | values, max_size=5))
def test_arguments_keep_their_number(args: list[Any]) -> None:
    data = encode_args(args)
    assert ARGS_THROUGH_LUA(data) == data
    assert decode_args(data) == args


@given(st.binary(max_size=60))
def test_no_bytes_break_either_decoder(data: bytes) -> None:
    in_lua = LAB.run(
        "local ok, e = pcall(S.decode, ...) return ok or S.is_error(e) and e:kind()", data
    )
    assert in_lua in (True, b"Invalid")
    with contextlib.suppress(PerdureError):
        decode(data)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "c0"),
        (127, "7f"),
        (128, "cc80"),
        (256, "cd0100"),
        (65536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (-32, "e0"),
        (-33, "d0df"),
        (-129, "d1ff7f"),
        (-32769, "d2ffff7fff"),
        (-(2**31) - 1, "d3ffffffff7fffffff"),
        (1.0, "cb3ff0000000000000"),
        ("é", "a2c3a9"),
        (b"\xff", "c401ff"),
        ([], "90"),
        ({}, "90"),
        (
            {"b": 1, "a": 2, 2: 3, 1.5: 4, True: 5},
            "85cb3ff80000000000000402" + "03a16102a16201c305",
        ),
        ((1, (2,)), "92019102"),
    ],
)
def test_the_shortest_form_and_the_order_of_keys(value: Any, data: str) -> None:
    assert encode(value).hex() == data
    assert THROUGH_LUA(bytes.fromhex(data)).hex() == data


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_headers_change_at_the_same_sizes(size: int) -> None:
    for value in ("x" * size, b"\xff" * (size or 1), [7] * size, {f"k{i}": i for i in range(size)}):
        assert THROUGH_LUA(encode(value)) == encode(value)


@pytest.mark.parametrize("size", [*range(12), 240, 250, 256, 65520, 65536])
def test_error_headers_change_at_the_same_sizes(size: int) -> None:
    data = encode(PerdureError("", "x" * size))
    assert THROUGH_LUA(data) == data


def test_nan_passes() -> None:
    value = decode(THROUGH_LUA(encode(float("nan"))))
    assert value != value


def test_bytes_that_are_text_come_back_from_lua_as_text() -> None:
    assert decode(encode(b"text")) == b"text"
    assert decode(THROUGH_LUA(encode(b"text"))) == "text"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Order:
    id: int
    when: Any = None


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ({Colour.RED: 1}, {"red": 1}),
        (Order(1, datetime.date(2024, 2, 29)), {"id": 1, "when": "2024-02-29"}),
        (datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC), "2024-01-02T03:04:00+00:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({2.0: "x", 0: "y"}, {2: "x", 0: "y"}),
    ],
)
def test_richer_types_become_plain_ones(value: Any, plain: Any) -> None:
    assert decode(encode(value)) == plain


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"items": [1, {"when": {1, 2}}]}, "$.items[1].when: a value of type set cannot be sent"),
        (Order(1, object()), "$.when: a value of type object"),
        ([2**63], "$[0]: the integer 9223372036854775808 does not fit into 64 bits"),
        ({"a b": "\ud800"}, "$['a b']: text that is not Unicode"),
        ({(1, 2): 1}, "$[(1, 2)]: a key of type tuple"),
        ({float("nan"): 1}, "$[nan]: NaN cannot be a key"),
        ({"k": {"a": 1, b"a": 2}}, "$.k: two keys of a dict are the same key in Lua"),
        (PerdureError("", "m", details={"x": len}), "$.details.x: a value of type builtin"),
        (deep(101), "nesting deeper than 100"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(PerdureError) as caught:
        encode(value)
    assert caught.value.kind == Kind.INVALID
    assert message in caught.value.message


def test_both_sides_draw_the_line_at_the_same_depth() -> None:
    data = encode(deep(100))
    assert THROUGH_LUA(data) == data
    one_more = "local v = 1 for _ = 1, ... do v = {v} end return pcall(S.encode, v)"
    assert LAB.run(one_more, 100)[0] is True
    assert LAB.run(one_more, 101)[0] is False


def test_a_bad_argument_is_named_by_its_position() -> None:
    with pytest.raises(PerdureError, match=r"\$2\.x: a value of type object"):
        encode_args([1, {"x": object()}])
