"""When a cron schedule is due, by the library cronsim (the extra `perdure[cron]`).

It was chosen over croniter for the nights on which clocks are changed: a daily job runs once on
each (as in Debian's cron), where croniter runs one at 02:30 twice in October.

    minute hour day-of-month month day-of-week      in UTC
    CRON_TZ=Europe/Berlin 0 9 * * 1-5               in a time zone
    @hourly, @daily, @weekly, @monthly, @yearly     and @every 90m, from one run to the next
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Final, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.config.units import parse_duration
from runtime.errors import Kind, PerdureError

_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)", re.DOTALL)
_ALIASES: Final = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}  # fmt: skip
_SECOND: Final = 1_000_000_000


def check(schedule: str) -> None:
    """Raise PerdureError INVALID when a schedule is none, or cronsim is not there."""
    next_ns(schedule, 0)


def next_ns(schedule: str, after: int) -> int:
    """The first time of a schedule that comes after a time; both wall clock, ns.

    Raises PerdureError INVALID.
    """
    text = schedule.strip()
    found: tzinfo = UTC
    if match := _ZONE.fullmatch(text):
        text = match[2].strip()
        try:
            found = ZoneInfo(match[1])
        except (ZoneInfoNotFoundError, ValueError, OSError):
            _wrong(schedule, f'there is no time zone "{match[1]}"')
    if text.startswith("@every"):
        return after + _period(schedule, text.removeprefix("@every").strip())
    text = _ALIASES.get(text, text)
    if len(text.split()) != 5:
        _wrong(schedule, "write minute, hour, day of month, month and day of week")
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise PerdureError(
            Kind.INVALID,
            "workflow.cron_schedule needs the library cronsim: pip install 'perdure[cron]'",
        ) from error
    try:
        due = next(CronSim(text, datetime.fromtimestamp(after // _SECOND, found)), None)
    except CronSimError as error:
        _wrong(schedule, str(error))
    if due is None:
        _wrong(schedule, "it is never due")
    return int(due.timestamp()) * _SECOND


def _period(schedule: str, text: str) -> int:
    try:
        period = parse_duration(text)
    except ValueError as error:
        _wrong(schedule, str(error))
    if period < _SECOND:
        _wrong(schedule, "a period is a second or more")
    return period


def _wrong(schedule: str, why: str) -> NoReturn:
    raise PerdureError(Kind.INVALID, f'workflow.cron_schedule "{schedule}": {why}')
