"""Durations and sizes mean what they say, exactly, and nothing without a unit is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config.units import DURATION_UNITS, SIZE_UNITS, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("10s", 10_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("24h", 86_400_000_000_000),
        ("500ms", 500_000_000),
        ("7d", 604_800_000_000_000),
        ("2w", 1_209_600_000_000_000),
        ("0.1s", 100_000_000),
        ("1.5ns", 1),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_as_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", '"" is not a duration'),
        ("10", '"10" is not a duration'),
        ("ten seconds", '"ten seconds" is not a duration'),
        ("10s5", '"10s5" is not a duration'),
        ("-1s", '"-1s" is not a duration'),
        ("1 s", '"1 s" is not a duration'),
        ("10sec", '"sec" is not a unit of time'),
        ("400000d", '"400000d" is too large'),
    ],
)
def test_what_is_no_duration_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_duration(text)
    assert str(caught.value) == reason


PARTS = st.tuples(st.integers(0, 1000), st.sampled_from(sorted(DURATION_UNITS)))


@given(st.lists(PARTS, max_size=8))
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{count}{unit}" for count, unit in parts) or "0s"
    assert parse_duration(text) == sum(count * DURATION_UNITS[unit] for count, unit in parts)


@given(st.integers(0, 2**62))
def test_a_number_of_nanoseconds_comes_back_whole(nanoseconds: int) -> None:
    seconds, rest = divmod(nanoseconds, 10**9)
    assert parse_duration(f"{nanoseconds}ns") == nanoseconds
    assert parse_duration(f"{seconds}.{rest:09}s") == nanoseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256_000_000),
        ("64KB", 64_000),
        ("1GiB", 2**30),
        ("1.5GB", 1_500_000_000),
        ("10 MiB", 10 * 2**20),
        ("0B", 0),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", '"" is not a size'),
        ("256", '"256" is not a size'),
        ("-1KB", '"-1KB" is not a size'),
        ("256M", '"M" is not a unit of size'),
        ("1kb", '"kb" is not a unit of size'),
        ("99999999TB", '"99999999TB" is too large'),
    ],
)
def test_what_is_no_size_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_size(text)
    assert str(caught.value) == reason


@given(st.integers(0, 10_000), st.sampled_from(sorted(SIZE_UNITS)))
def test_a_size_comes_back_whole(count: int, unit: str) -> None:
    assert parse_size(f"{count}{unit}") == count * SIZE_UNITS[unit]
