"""Attempt n waits min(initial * factor^(n-1), maximum), less its jitter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import delay_ns

S = 1_000_000_000


@pytest.mark.parametrize(
    ("attempt", "initial", "maximum", "factor", "expected"),
    [
        (1, 1 * S, 90 * S, 2.0, 1 * S),
        (2, 1 * S, 90 * S, 2.0, 2 * S),
        (3, 1 * S, 90 * S, 2.0, 4 * S),
        (7, 1 * S, 90 * S, 2.0, 64 * S),
        (8, 1 * S, 90 * S, 2.0, 90 * S),
        (5, 1 * S, 90 * S, 1.0, 1 * S),
        (3, 100, 90 * S, 1.5, 225),
        (1, 100 * S, 90 * S, 2.0, 90 * S),
        (100_000, 1 * S, 90 * S, 2.0, 90 * S),  # the power is past any float
        (100_000, 0, 90 * S, 2.0, 0),
        (1, 0, 0, 2.0, 0),
    ],
)
def test_without_jitter(
    attempt: int, initial: int, maximum: int, factor: float, expected: int
) -> None:
    assert delay_ns(attempt, initial, maximum, factor, 0.0, random.random) == expected


@pytest.mark.parametrize(
    ("drawn", "jitter", "expected"),
    [(0.0, 0.1, 4 * S), (0.5, 0.1, 3_800_000_000), (0.5, 1.0, 2 * S)],
)
def test_jitter_takes_a_share_off(drawn: float, jitter: float, expected: int) -> None:
    assert delay_ns(3, 1 * S, 90 * S, 2.0, jitter, lambda: drawn) == expected


@given(
    attempt=st.integers(1, 10_000),
    initial=st.integers(0, 1000 * S),
    maximum=st.integers(0, 1000 * S),
    factor=st.floats(1.0, 100.0),
    jitter=st.floats(0.0, 1.0),
    seed=st.integers(),
)
def test_never_negative_nor_above_the_maximum(
    attempt: int, initial: int, maximum: int, factor: float, jitter: float, seed: int
) -> None:
    delay = delay_ns(attempt, initial, maximum, factor, jitter, random.Random(seed).random)
    assert 0 <= delay <= maximum


def test_the_same_seed_waits_the_same() -> None:
    def delays() -> list[int]:
        rng = random.Random(7).random
        return [delay_ns(n, S, 90 * S, 2.0, 0.5, rng) for n in range(1, 6)]

    assert delays() == delays()
