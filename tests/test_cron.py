"""When a schedule is due next, in UTC and in zones that change their clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hosts.cron import next_ns
from runtime.errors import Kind, PerdureError

DUE = [
    ("*/5 * * * *", "2026-01-01T10:02:00", "2026-01-01T10:05:00"),
    ("*/5 * * * *", "2026-01-01T10:05:00", "2026-01-01T10:10:00"),
    ("0 9 * * 1-5", "2026-01-02T10:00:00", "2026-01-05T09:00:00"),
    ("0 9 * * MON", "2026-01-02T10:00:00", "2026-01-05T09:00:00"),
    ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    ("@hourly", "2026-01-01T10:02:00", "2026-01-01T11:00:00"),
    ("@weekly", "2026-01-01T10:02:00", "2026-01-04T00:00:00"),
    ("@every 90m", "2026-01-01T10:02:00", "2026-01-01T11:32:00"),
    ("CRON_TZ=Europe/Berlin 0 9 * * *", "2026-01-01T10:00:00", "2026-01-02T08:00:00"),
    ("CRON_TZ=Europe/Berlin 0 9 * * *", "2026-07-01T10:00:00", "2026-07-02T07:00:00"),
    # There is no 02:30 in this night, and there are two in that one.
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
]


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(("schedule", "after", "due"), DUE)
def test_the_next_time(schedule: str, after: str, due: str) -> None:
    assert next_ns(schedule, ns(after)) == ns(due)


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("61 * * * *", "Bad minute"),
        ("* * *", "minute, hour"),
        ("0 * * * * *", "minute, hour"),
        ("@fortnightly", "minute, hour"),
        ("@every soon", "soon"),
        ("@every 1ms", "a second or more"),
        ("CRON_TZ=Mars/Olympus 0 9 * * *", "Mars/Olympus"),
        ("0 0 31 4 *", "Bad day-of-month"),
    ],
)
def test_what_is_no_schedule(schedule: str, why: str) -> None:
    with pytest.raises(PerdureError, match=why) as error:
        next_ns(schedule, 0)
    assert error.value.kind == Kind.INVALID
    assert schedule in str(error.value)
