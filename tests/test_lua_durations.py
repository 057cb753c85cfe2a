"""Durations read, print and calculate as Go's do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prelude_lab import CODEC, Lab

LAB = Lab("objects", "errors", "arguments", *CODEC, "duration")
S = 1_000_000_000


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("'0'", 0),
        ("'5s'", 5 * S),
        ("'1h30m'", 5400 * S),
        ("'1.5h'", 5400 * S),
        ("'-2m'", -120 * S),
        ("'+5s'", 5 * S),
        ("'500ms'", S // 2),
        ("'12us'", 12_000),
        ("'12µs'", 12_000),
        ("'12μs'", 12_000),
        ("'39h9m14.425s'", 140_954_425_000_000),
        ("'.5s'", S // 2),
        ("'1.s'", S),
        ("'0.3333333333333333333h'", 1200 * S),
        ("'0.100000000000000000000h'", 360 * S),
        ("'7d'", 7 * 86400 * S),
        ("'2w'", 14 * 86400 * S),
        ("'1w1d'", 8 * 86400 * S),
        ("'0.830103483285477580700h'", 49 * 60 * S + 48 * S + 372_539_827),
        ("'9223372036854775807ns'", 2**63 - 1),
        ("'-9223372036s'", -9_223_372_036 * S),
        ("5", 5),
        ("1.5e9", 3 * S // 2),
        ("0.5", 0),
        ("-1.9", -1),
        ("5 * duration.SECOND", 5 * S),
        ("duration.parse_duration('3ms')", 3_000_000),
    ],
)
def test_what_counts_as_a_duration(value: str, ns: int) -> None:
    assert LAB.run(f"return S.to_ns({value})") == ns


@pytest.mark.parametrize(
    "value",
    [
        *(
            "''",
            "'3'",
            "'-'",
            "'s'",
            "'.'",
            "'-.'",
            "'.s'",
            "'+.s'",
            "'1x'",
            "'1 s'",
            "'1h '",
            "'1e3s'",
        ),
        *("'9223372036854775808ns'", "'9223372037s'", "'99999999999999999999h'", "'3000000h'"),
        *("nil", "{}", "true", "0/0", "1e300", "1/0", "print", "errors.new('x')"),
    ],
)
def test_what_does_not(value: str) -> None:
    ns, kind, text = LAB.run(f"local v, e = S.to_ns({value}) return v, e:kind(), tostring(e)")
    assert (ns, kind) == (None, b"Invalid")
    assert b' is not a duration such as "1h30m"' in text
    result, prefixed = LAB.run(
        f"local v, e = duration.parse_duration({value}) return v, tostring(e)"
    )
    assert (result, prefixed) == (None, b"time.parse_duration: " + text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (4 * 60 * S + 5 * S, "4m5s"),
        (4 * 60 * S + 5_001_000_000, "4m5.001s"),
        (5 * 3600 * S + 6 * 60 * S + 7_001_000_000, "5h6m7.001s"),
        (8 * 60 * S + 1, "8m0.000000001s"),
        (24 * 3600 * S, "24h0m0s"),
        (-90 * S, "-1m30s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
        (-(2**63), "-2562047h47m16.854775808s"),
    ],
)
def test_text(ns: int, text: str) -> None:
    assert LAB.run("return tostring(S.new_duration(...))", ns) == text.encode()


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_text_reads_back(ns: int) -> None:
    assert LAB.run("return S.to_ns(tostring(S.new_duration(...)))", ns) == ns


@pytest.mark.parametrize(
    ("lua", "result"),
    [
        ("d:nanoseconds()", 90_061_500_000_000),
        ("d:microseconds()", 90_061_500_000),
        ("d:milliseconds()", 90_061_500),
        ("d:seconds()", 90_061.5),
        ("d:minutes()", 1501.025),
        ("(-d):milliseconds()", -90_061_500),
        ("duration.parse_duration('90m'):hours()", 1.5),
        ("math.type(duration.parse_duration('2h'):hours())", b"float"),
        ("duration.parse_duration('-1500us'):milliseconds()", -1),
        ("d == duration.parse_duration('25h1m1.5s')", True),
        ("d == 90061500000000", False),
        ("d > '1h'", True),
        ("d > duration.parse_duration('1h')", True),
        ("d <= duration.parse_duration('1h')", False),
        ("tostring(d + '1s' - duration.SECOND)", b"25h1m1.5s"),
        ("tostring(2 * d)", b"50h2m3s"),
        ("tostring(d / 2)", b"12h30m30.75s"),
        ("d / d", 1.0),
        ("d.other", None),
        ("S.copy{d = d}.d", None),
        ("duration.HOUR", 3600 * S),
    ],
)
def test_methods_and_operators(lua: str, result: object) -> None:
    assert LAB.run(f"local d = duration.parse_duration('25h1m1.5s') return {lua}") == result


@pytest.mark.parametrize(
    "lua", ["d + nil", "d < {}", "d * 'x'", "d / {}", "1 / d", "d.hours()", "d.seconds(1)"]
)
def test_misuse_raises_an_error_object(lua: str) -> None:
    assert LAB.run(
        f"local d = duration.parse_duration('1s') "
        f"local ok, e = pcall(function() return {lua} end) return ok, e:kind()"
    ) == (False, b"Invalid")
