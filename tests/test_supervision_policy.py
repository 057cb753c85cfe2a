"""Restart or leave: the policy as a table of cases."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from runtime.errors import Kind, PerdureError
from supervision.policy import Exit, Restart, decide, others, too_many
from supervision.service import RestartPolicy, ServiceSpec, Strategy
from tests.clock import S

CRASH = PerdureError(Kind.INTERNAL, "it crashed")
FATAL = PerdureError(Kind.INVALID, "wrong password", retryable=False)
RETRYABLE = PerdureError(Kind.UNAVAILABLE, "busy", retryable=True)

PLAIN = RestartPolicy(jitter=0.0)
THREE = replace(PLAIN, max_attempts=3)


@pytest.mark.parametrize(
    ("attempt", "uptime", "reason", "policy", "expected"),
    [
        (0, 0, CRASH, PLAIN, Restart(1 * S, 1)),
        (1, 0, CRASH, PLAIN, Restart(2 * S, 2)),
        (2, 5 * S, CRASH, PLAIN, Restart(4 * S, 3)),
        (2, 5 * S + 1, CRASH, PLAIN, Restart(1 * S, 1)),
        (6, 0, CRASH, PLAIN, Restart(64 * S, 7)),
        (7, 0, CRASH, PLAIN, Restart(90 * S, 8)),
        (10_000, 0, CRASH, PLAIN, Restart(90 * S, 10_001)),
        (1, 0, RETRYABLE, PLAIN, Restart(2 * S, 2)),
        (0, 0, FATAL, PLAIN, Exit("the error is not retryable")),
        (0, 60 * S, FATAL, PLAIN, Exit("the error is not retryable")),
        (0, 0, None, PLAIN, Exit("returned")),
        (9, 0, None, THREE, Exit("returned")),
        (2, 0, CRASH, THREE, Restart(4 * S, 3)),
        (3, 0, CRASH, THREE, Exit("gave up after 3 restarts")),
        (3, 6 * S, CRASH, THREE, Restart(1 * S, 1)),
        (0, 0, CRASH, replace(PLAIN, initial_delay=0), Restart(0, 1)),
        (4, 0, CRASH, replace(PLAIN, initial_delay=0), Restart(0, 5)),
        (2, 0, CRASH, replace(PLAIN, backoff_factor=3.0), Restart(9 * S, 3)),
        (1, 0, CRASH, replace(PLAIN, jitter=0.5), Restart(3 * S // 2, 2)),
    ],
)
def test_decide(
    attempt: int,
    uptime: int,
    reason: PerdureError | None,
    policy: RestartPolicy,
    expected: Restart | Exit,
) -> None:
    assert decide(attempt, uptime, reason, policy, 5 * S, lambda: 0.5) == expected


def test_the_documented_defaults() -> None:
    spec = ServiceSpec("app:a")
    assert (spec.auto_start, spec.start_timeout, spec.stop_timeout) == (False, 10 * S, 10 * S)
    assert spec.stable_threshold == 5 * S
    assert spec.restart == RestartPolicy(1 * S, 90 * S, 2.0, 0.1, 0)


@pytest.mark.parametrize(
    ("strategy", "crashed", "expected"),
    [
        (Strategy.ONE_FOR_ONE, 1, ""),
        (Strategy.ONE_FOR_ALL, 1, "acd"),
        (Strategy.ONE_FOR_ALL, 0, "bcd"),
        (Strategy.REST_FOR_ONE, 1, "cd"),
        (Strategy.REST_FOR_ONE, 3, ""),
        (Strategy.REST_FOR_ONE, 0, "bcd"),
    ],
)
def test_others(strategy: Strategy, crashed: int, expected: str) -> None:
    assert "".join(others(strategy, "abcd", crashed)) == expected


@pytest.mark.parametrize(
    ("times", "restarts", "expected"),
    [
        ([0], 0, [True]),
        ([0, 1, 2, 3], 3, [False, False, False, True]),
        ([0, 5, 10], 1, [False, True, True]),  # what is as old as the period counts
        ([0, 6, 12], 1, [False, False, False]),
        ([0, 1, 2, 8, 9], 2, [False, False, True, False, False]),
    ],
)
def test_too_many(times: list[int], restarts: int, expected: list[bool]) -> None:
    crashes: deque[int] = deque()
    assert [too_many(crashes, each, restarts, 5) for each in times] == expected
