"""Times: Go layouts, calendar and zones, compared with Python's datetime where that knows."""

from __future__ import annotations

import calendar
import datetime
import zoneinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prelude_lab import CODEC, Lab

NOW = 1_700_000_000_123_456_789


def zone_offset(name: bytes, seconds: int) -> tuple[int, bytes] | None:
    """The hook over Python's zone database; the node is in Berlin."""
    key = "Europe/Berlin" if name == b"Local" else name.decode()
    try:
        zone = zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None
    moment = datetime.datetime.fromtimestamp(seconds, zone)
    offset = moment.utcoffset()
    assert offset is not None
    return int(offset.total_seconds()), (moment.tzname() or "").encode()


TIME = ["duration", "calendar", "locations", "layout", "time_format", "time_parse", "time"]
LAB = Lab("objects", "errors", "arguments", *CODEC, *TIME, zone_offset=zone_offset, now=lambda: NOW)
LAB.run("""
    t = time.date(2009, 2, 5, 5, 0, 57, 12345600)
    berlin = time.load_location("Europe/Berlin")
    est = time.fixed_zone("EST", -5 * 3600)""")


def run(lua: str) -> Any:
    result = LAB.run(f"return {lua}")
    return result.decode() if isinstance(result, bytes) else result


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("time.ANSIC", "Wed Feb  4 21:00:57 2009"),
        ("time.UNIX_DATE", "Wed Feb  4 21:00:57 PST 2009"),
        ("time.RUBY_DATE", "Wed Feb 04 21:00:57 -0800 2009"),
        ("time.RFC822", "04 Feb 09 21:00 PST"),
        ("time.RFC850", "Wednesday, 04-Feb-09 21:00:57 PST"),
        ("time.RFC1123", "Wed, 04 Feb 2009 21:00:57 PST"),
        ("time.RFC1123Z", "Wed, 04 Feb 2009 21:00:57 -0800"),
        ("time.RFC3339", "2009-02-04T21:00:57-08:00"),
        ("time.RFC3339NANO", "2009-02-04T21:00:57.0123456-08:00"),
        ("time.KITCHEN", "9:00PM"),
        ("'3pm'", "9pm"),
        ("'3PM'", "9PM"),
        ("'06/01/02'", "09/02/04"),
        ("'15h'", "21h"),
        ("'January 2 2006 Monday'", "February 4 2009 Wednesday"),
        ("'Jan Janet Month Monday Mon'", "Feb Janet Month Wednesday Wed"),
        ("'002 __2'", "035  35"),
        ("'_2 _2006 02'", " 4 _2009 04"),
        ("'5.000'", "57.012"),
        ("'5,000000000'", "57,012345600"),
        ("'.999'", ".012"),
        ("'.99'", ".01"),
        ("'.9'", ""),
        ("'.0000000000000'", ".0123456000000"),
        ("'.0001'", ".0002"),
        ("'Z07 Z0700 Z07:00 Z070000 Z07:00:00'", "-08 -0800 -08:00 -080000 -08:00:00"),
        ("'-07 -0700 -07:00 -070000 -07:00:00'", "-08 -0800 -08:00 -080000 -08:00:00"),
        ("'plain text'", "plain text"),
    ],
)
def test_format(layout: str, text: str) -> None:
    assert run(f"t:in_location(time.fixed_zone('PST', -8 * 3600)):format({layout})") == text


@pytest.mark.parametrize(
    ("arguments", "nanoseconds", "shown"),
    [
        ("time.RFC3339, '2006-01-02T15:04:05Z'", 1136214245 * 10**9, "+0000 UTC"),
        ("time.RFC3339, '2006-01-02T15:04:05-07:00'", 1136239445 * 10**9, "-0700 -0700"),
        ("time.RFC3339, '2006-01-02T15:04:05.123456789Z'", 1136214245123456789, "+0000 UTC"),
        ("time.RFC3339, '2006-01-02T15:04:05.5+00:00'", 1136214245500000000, "+0000 UTC"),
        ("time.ANSIC, 'Thu Feb  4 21:00:57 2010'", 1265317257 * 10**9, "+0000 UTC"),
        ("time.ANSIC, 'THU FEB 4 21:00:57 2010'", 1265317257 * 10**9, "+0000 UTC"),
        ("time.RFC1123, 'Thu, 04 Feb 2010 21:00:57 PST'", 1265317257 * 10**9, "+0000 PST"),
        ("time.RFC1123, 'Thu, 04 Feb 2010 21:00:57 UTC'", 1265317257 * 10**9, "+0000 UTC"),
        ("time.RFC1123, 'Thu, 04 Feb 2010 21:00:57 GMT+3'", 1265306457 * 10**9, "+0300 GMT+3"),
        ("time.RFC1123Z, 'Thu, 04 Feb 2010 21:00:57 -0800'", 1265346057 * 10**9, "-0800 -0800"),
        ("time.RFC1123, 'Thu, 04 Feb 2010 21:00:57 CET', berlin", 1265313657 * 10**9, "+0100 CET"),
        ("'2006-01-02 15:04', '2024-07-01 12:00', berlin", 1719828000 * 10**9, "+0200 CEST"),
        ("'2006-01-02 15:04', '2024-01-01 12:00', est", 1704128400 * 10**9, "-0500 EST"),
        ("'2006-01-02 3:04PM', '2024-01-01 12:30AM'", 1704069000 * 10**9, "+0000 UTC"),
        ("'2006-01-02 3:04pm', '2024-01-01 12:30pm'", 1704112200 * 10**9, "+0000 UTC"),
        ("'2006 002', '2024 060'", 1709164800 * 10**9, "+0000 UTC"),
        ("'2006 __2', '2024  60'", 1709164800 * 10**9, "+0000 UTC"),
        ("'06-1-2', '69-2-3'", -28684800 * 10**9, "+0000 UTC"),
        ("'06-1-2', '68-2-3'", 3095452800 * 10**9, "+0000 UTC"),
        ("'2006-01-02 15:04:05.000', '2024-01-01 00:00:00.250'", 1704067200250000000, "+0000 UTC"),
        ("'2006-01-02 15:04:05.999', '2024-01-01 00:00:00'", 1704067200 * 10**9, "+0000 UTC"),
        ("'2006-01-02T15:04:05Z070000', '2024-01-01T00:00:00+010203'", 1704063477 * 10**9, None),
        ("'January 2, 2006', 'march 5, 2024'", 1709596800 * 10**9, "+0000 UTC"),
    ],
)
def test_parse(arguments: str, nanoseconds: int, shown: str | None) -> None:
    moment, text = LAB.run(
        f"local p = assert(time.parse({arguments})) return p:unix_nano(), p:format('-0700 MST')"
    )
    assert moment == nanoseconds
    assert shown is None or text.decode() == shown


@pytest.mark.parametrize(
    ("layout", "text", "problem"),
    [
        (
            "2006-01-02",
            "2024-1-02",
            'cannot read "2024-1-02" as "2006-01-02": "1-02" where "01" should be',
        ),
        ("2006-01-02", "2024-13-02", "month out of range"),
        ("2006-01-02", "2023-02-29", "day out of range"),
        ("2006-01-02", "2023-04-31", "day out of range"),
        ("2006-01-02", "2023-04-00", "day out of range"),
        ("2006-01-02", "2023-04-01x", '"x" is left over'),
        ("2006-01-02", "2023/04/01", '"/04/01" where "-" should be'),
        ("2006-01-02", "abc", '"abc" where "2006" should be'),
        ("15:04:05", "24:00:00", "hour out of range"),
        ("15:04:05", "23:60:00", "minute out of range"),
        ("15:04:05", "23:00:60", "second out of range"),
        ("3PM", "13PM", "hour out of range"),
        ("3PM", "3XM", '"XM" where "PM" should be'),
        ("15:04:05.000", "12:00:00.12", '".12" where ".000" should be'),
        ("Mon", "Foo", '"Foo" where "Mon" should be'),
        ("MST", "pst", '"pst" where "MST" should be'),
        ("Z07:00", "+25:00", "time zone offset hour out of range"),
        ("2006 002", "2023 366", "day-of-year out of range"),
        ("2006 002 01", "2023 060 02", "day-of-year does not match month"),
    ],
)
def test_what_cannot_be_parsed(layout: str, text: str, problem: str) -> None:
    value, kind, message = LAB.run(
        "local v, e = time.parse(...) return v, e:kind(), e:message()",
        layout.encode(),
        text.encode(),
    )
    assert (value, kind) == (None, b"Invalid")
    assert message.decode().startswith("time.parse: cannot read")
    assert message.decode().endswith(problem)


moments = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31))


@given(moments)
def test_the_calendar_agrees_with_python(moment: datetime.datetime) -> None:
    text = moment.isoformat(sep=" ", timespec="microseconds")
    read = LAB.run(
        """local p = time.parse("2006-01-02 15:04:05.000000", ...)
        local y, m, d = p:date()
        local h, min, s = p:clock()
        return p:unix(), y, m, d, h, min, s, p:nanosecond(), p:weekday(), p:year_day(),
          p:format("2006-01-02 15:04:05.000000")""",
        text.encode(),
    )
    when = moment.timetuple()
    unix = calendar.timegm(when)
    assert read == (
        *(unix, *when[:6], moment.microsecond * 1000),
        *(moment.isoweekday() % 7, when.tm_yday, text.encode()),
    )


@given(st.integers(-(2**40), 2**40))
def test_days_and_dates_are_inverse(days: int) -> None:
    assert LAB.run("return S.days_from_civil(S.civil_from_days(...))", days) == days


@given(
    st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2037, 12, 31)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_zones_agree_with_python(moment: datetime.datetime, name: str) -> None:
    expected = moment.replace(tzinfo=datetime.UTC).astimezone(zoneinfo.ZoneInfo(name))
    unix = calendar.timegm(moment.timetuple())
    text = LAB.run(
        "local s, n = ... return time.unix(s):in_location(n):format('2006-01-02 15:04:05 MST')",
        unix,
        name.encode(),
    )
    assert text.decode() == expected.strftime("%Y-%m-%d %H:%M:%S %Z")
    back = LAB.run(
        "local s, n = ... local there = time.unix(s):in_location(n) "
        "local y, m, d = there:date() local h, min, sec = there:clock() "
        "return time.date(y, m, d, h, min, sec, 0, there:location()):unix()",
        unix,
        name.encode(),
    )
    ambiguous = expected.replace(fold=0).utcoffset() != expected.replace(fold=1).utcoffset()
    assert back == unix or ambiguous


@pytest.mark.parametrize(
    ("lua", "result"),
    [
        ("time.now():unix_nano()", NOW),
        ("tostring(time.now())", "2023-11-14 22:13:20.123456789 +0000 UTC"),
        ("time.now():format_rfc3339()", "2023-11-14T22:13:20Z"),
        ("time.unix(0):format_rfc3339()", "1970-01-01T00:00:00Z"),
        ("time.unix(1, -1):unix_nano()", 999_999_999),
        ("time.unix(-1, 5):nanosecond()", 5),
        (
            "time.date(2023, 14, 35, 25, 61, 61, 10^9 // 1 | 0):format(time.DATE_TIME)",
            "2024-03-07 02:02:02",
        ),
        ("time.date(2024, 3, 0):format(time.DATE_ONLY)", "2024-02-29"),
        ("time.date(2024, 3, 31, 2, 30, 0, 0, berlin):format('15:04 MST')", "03:30 CEST"),
        ("time.date(2024, time.JULY, 1, 12, 0, 0, 0, time.localtz):format('MST')", "CEST"),
        ("time.date(2024, 1, 31):add_date(0, 1, 0):format(time.DATE_ONLY)", "2024-03-02"),
        ("time.date(2024, 2, 29):add_date(1, 0, 0):format(time.DATE_ONLY)", "2025-03-01"),
        ("time.date(2024, 1, 1):add_date(-1, -1, -1):format(time.DATE_ONLY)", "2022-11-30"),
        ("t:add('1h30m'):format(time.TIME_ONLY)", "06:30:57"),
        ("t:add(-time.SECOND):format(time.TIME_ONLY)", "05:00:56"),
        ("t:add(time.parse_duration('24h')):day()", 6),
        ("tostring(t:add('90s'):sub(t))", "1m30s"),
        ("t:sub(t:add('1ns')):nanoseconds()", -1),
        ("time.date(1, 1, 1):sub(time.date(9999, 1, 1)):nanoseconds()", -(2**63)),
        ("t:before(t:add(1))", True),
        ("t:after(t:add(1))", False),
        ("t:equal(t:in_location(berlin))", True),
        ("t == t:in_location(berlin)", True),
        ("t < t + '1s' and t + '1s' > t and t <= t", True),
        ("tostring((t + time.SECOND) - t)", "1s"),
        ("(t - '1s'):second()", 56),
        ("(time.parse_duration('1s') + t):second()", 58),
        ("t:unix()", 1233810057),
        ("t:in_location(est):hour()", 0),
        ("t:in_location(est):location():string()", "EST"),
        ("t:in_local():hour()", 6),
        ("t:in_local():utc():hour()", 5),
        ("tostring(t:location())", "UTC"),
        ("time.utc() == time.utc", True),
        ("t:weekday() == time.THURSDAY and time.SUNDAY", 0),
        ("t:month() == time.FEBRUARY and time.JANUARY", 1),
        ("time.date(1, 1, 1):is_zero()", True),
        ("t:is_zero()", False),
        ("t:truncate('1h'):format(time.TIME_ONLY)", "05:00:00"),
        ("t:round('1h'):format(time.TIME_ONLY)", "05:00:00"),
        ("t:round('1m'):format(time.TIME_ONLY)", "05:01:00"),
        ("t:truncate('1ms'):nanosecond()", 12_000_000),
        ("t:truncate('24h'):format(time.DATE_TIME)", "2009-02-05 00:00:00"),
        ("t:truncate('168h'):format(time.DATE_TIME)", "2009-02-02 00:00:00"),
        ("t:truncate(0):equal(t)", True),
        ("t.other", None),
        ("S.copy{t = t}.t", None),
    ],
)
def test_values(lua: str, result: object) -> None:
    assert run(lua) == result


@given(st.integers(-(2**35), 2**35), st.integers(0, 10**9 - 1), st.integers(1, 2**63 - 10**9))
def test_truncate_is_exact(seconds: int, nanos: int, step: int) -> None:
    cut = LAB.run(
        "local s, n, d = ... local x = time.unix(s, n) return x:sub(x:truncate(d)):nanoseconds()",
        seconds,
        nanos,
        step,
    )
    assert cut == ((seconds + 62135596800) * 10**9 + nanos) % step


@pytest.mark.parametrize(
    ("lua", "kind"),
    [
        ("time.date(2024, 1)", "Invalid"),
        ("time.date(2024, 1, 1.5)", "Invalid"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, 'UTC')", "Invalid"),
        ("time.unix('1')", "Invalid"),
        ("time.unix(1, {})", "Invalid"),
        ("time.parse('', 'x')", "Invalid"),
        ("time.parse('2006')", "Invalid"),
        ("time.parse('2006', '2024', 'UTC')", "Invalid"),
        ("time.load_location('')", "Invalid"),
        ("time.load_location('No/Where')", "NotFound"),
        ("time.load_location('../etc/passwd')", "NotFound"),
        ("time.fixed_zone('X', '1')", "Invalid"),
        ("time.fixed_zone('X', 100000)", "Invalid"),
        ("t:add('soon')", "Invalid"),
        ("t:add()", "Invalid"),
        ("t:sub(1)", "Invalid"),
        ("t:before('x')", "Invalid"),
        ("t:add_date(1, 'x', 0)", "Invalid"),
        ("t:round({})", "Invalid"),
        ("t:format()", "Invalid"),
        ("t:format('')", "Invalid"),
        ("t:in_location(5)", "Invalid"),
        ("t:in_location('No/Where')", "NotFound"),
    ],
)
def test_wrong_arguments(lua: str, kind: str) -> None:
    value, got = LAB.run(f"local v, e = {lua} return v, e:kind()")
    assert (value, got.decode()) == (None, kind)


@pytest.mark.parametrize(
    "lua", ["t.unix()", "t.add(1, 2)", "t < 1", "t + {}", "1 - t", "t - nil", "time.utc.string()"]
)
def test_misuse_raises_an_error_object(lua: str) -> None:
    ok, kind = LAB.run(f"local ok, e = pcall(function() return {lua} end) return ok, e:kind()")
    assert (ok, kind) == (False, b"Invalid")


def test_local_is_utc_where_the_node_has_no_zone() -> None:
    lab = Lab("objects", "errors", "arguments", *TIME, zone_offset=lambda _name, _at: None)
    assert lab.run("return time.unix(0):in_local():format('15:04 MST')") == b"00:00 UTC"
