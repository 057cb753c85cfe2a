"""Options of a function call, as users write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from runtime.config.problems import suggest
from runtime.config.units import LARGEST, parse_duration
from runtime.errors import Kind, PerdureError

_MS: Final = 1_000_000

#: Options that concern activities only; a call from a process or function leaves them aside.
_OF_ACTIVITIES: Final = ("activity.", "temporal.activity.")


class Retry(NamedTuple):
    """How often a call is tried, and how long it waits in between; durations are nanoseconds."""

    max_attempts: int = 3
    initial_delay: int = 100 * _MS
    max_delay: int = 60_000 * _MS
    backoff_factor: float = 2.0

    @classmethod
    def read(cls, raw: Any) -> Retry:
        """The option `retry`. Raises PerdureError INVALID."""
        if not isinstance(raw, Mapping):
            raise PerdureError(Kind.INVALID, f"the option retry is {raw!r}: give a table")
        _check_names("the option retry", raw, cls._fields)
        given: dict[str, Any] = {
            name: duration_ns(value) if name.endswith("_delay") else value
            for name, value in raw.items()
        }
        retry = cls(**given)
        _check_number("retry.max_attempts", retry.max_attempts, whole=True)
        _check_number("retry.backoff_factor", retry.backoff_factor, whole=False)
        return retry


class CallOptions(NamedTuple):
    """What a caller may say about a call."""

    #: nanoseconds of each attempt, or None for no limit
    timeout: int | None = None
    retry: Retry | None = None

    @classmethod
    def read(cls, raw: Any) -> CallOptions:
        """`timeout` and `retry` as lua-api.md has them. Raises PerdureError INVALID."""
        if not isinstance(raw, Mapping):
            if not raw:  # an empty table is also an empty list
                return cls()
            raise PerdureError(Kind.INVALID, f"the options of a call are {raw!r}: give a table")
        own = {name: raw[name] for name in raw if not name.startswith(_OF_ACTIVITIES)}
        _check_names("a function call", own, cls._fields)
        retry = own.get("retry")
        return cls(duration_ns(own.get("timeout")), None if retry is None else Retry.read(retry))


def duration_ns(value: Any) -> int | None:
    """Nanoseconds of an option: a Go duration, or a number of milliseconds; None for none.

    Raises PerdureError INVALID.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            text = f'{error}: write a number with a unit, as in "10s" or "1h30m"'
            raise PerdureError(Kind.INVALID, text) from None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        if value * _MS > LARGEST:
            text = f"{value!r} ms is too long a duration: leave it out for no limit"
            raise PerdureError(Kind.INVALID, text)
        return int(value * _MS)
    raise PerdureError(
        Kind.INVALID, f'{value!r} is not a duration: write "10s", or a number of milliseconds'
    )


def _check_names(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            hint = suggest(str(name), known, "there are {}")
            raise PerdureError(Kind.INVALID, f'{what} has no option "{name}"; {hint}')


def _check_number(name: str, value: Any, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 1 <= value <= LARGEST:
        kind = "a whole number" if whole else "a number"
        raise PerdureError(Kind.INVALID, f"{name} is {value!r}: give {kind} from 1")
