"""Time zones, from the package `tzdata`: the same on every machine with the same packages.

What the operating system knows is not asked, except for which zone is its own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo


def offset(name: bytes, seconds: int) -> tuple[int, bytes] | None:
    """Seconds east of UTC, and abbreviation, of a zone at a Unix time; None for an unknown zone.

    "Local" is the zone of the node.
    """
    try:
        if name == b"Local":
            local = time.localtime(seconds)
            return local.tm_gmtoff, local.tm_zone.encode()
        zone = _zone(name.decode())
        if zone is None:
            return None
        moment = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return None
    east = moment.utcoffset()
    assert east is not None
    return int(east.total_seconds()), (moment.tzname() or "").encode()


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo | None:
    parts = name.split("/")
    if not all(part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        return None
    file = resources.files("tzdata.zoneinfo").joinpath(*parts)
    if not file.is_file():
        return None
    try:
        with file.open("rb") as data:
            return ZoneInfo.from_file(data, name)
    except ValueError:  # a file that is no zone
        return None
