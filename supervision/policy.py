"""What happens to a service that has ended by itself, and to its siblings.

One function a rule; what a rule needs to remember is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from runtime.backoff import Rng, delay_ns
from runtime.errors import PerdureError
from supervision.service import RestartPolicy, Strategy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Restart:
    """Try again `delay_ns` nanoseconds from now; that is attempt `attempt` in a row, from 1."""

    delay_ns: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave it down; `reason` is for a person."""

    reason: str


def decide(
    attempt: int,
    uptime_ns: int,
    reason: PerdureError | None,
    restart: RestartPolicy,
    stable_threshold: int,
    rng: Rng,
) -> Restart | Exit:
    """Restart a service, and when, or let it be.

    Args:
        attempt: the attempt whose run has ended: 0 for the first start, then what `Restart` said.
        uptime_ns: how long it ran; 0 when it failed to start.
        reason: the error it ended with; None for a normal return, which is an exit.
        restart: the limits.
        stable_threshold: a run longer than this makes the next attempt number 1 again.
        rng: for the jitter.
    """
    if reason is None:
        return Exit("returned")
    if reason.retryable is False:
        return Exit("the error is not retryable")
    upcoming = 1 if uptime_ns > stable_threshold else attempt + 1
    if restart.max_attempts and upcoming > restart.max_attempts:
        return Exit(f"gave up after {restart.max_attempts} restarts")
    delay = delay_ns(
        upcoming,
        restart.initial_delay,
        restart.max_delay,
        restart.backoff_factor,
        restart.jitter,
        rng,
    )
    return Restart(delay, upcoming)


def others(strategy: Strategy, children: Sequence[T], crashed: int) -> Sequence[T]:
    """Siblings of `children[crashed]` that are stopped, and started again with it."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return ()
        case Strategy.ONE_FOR_ALL:
            return [*children[:crashed], *children[crashed + 1 :]]
        case Strategy.REST_FOR_ONE:
            return children[crashed + 1 :]


def too_many(crashes: deque[int], now: int, restarts: int, period: int) -> bool:
    """Whether a crash now is one too many for a supervisor's intensity.

    Args:
        crashes: times of those before, the oldest first; what no longer counts is taken out, and
            this one put in.
        restarts, period: more crashes than this within the last `period` are too many.
    """
    while crashes and now - crashes[0] > period:
        crashes.popleft()
    crashes.append(now)
    return len(crashes) > restarts
