"""How long to wait before trying again.

One rule for services, activities and function calls: attempt n (1 is the first try after a
failure) waits ``min(initial * factor ** (n - 1), maximum)``, of which jitter takes a part off.
"""

from __future__ import annotations

from collections.abc import Callable

#: Gives floats in [0, 1): `random.random`, or a seeded `random.Random(n).random`.
Rng = Callable[[], float]


def delay_ns(
    attempt: int, initial: int, maximum: int, factor: float, jitter: float, rng: Rng
) -> int:
    """Nanoseconds that attempt `attempt` waits.

    Args:
        attempt: 1 or more.
        initial: wait of attempt 1, in nanoseconds.
        maximum: longest wait, in nanoseconds; it holds with jitter too.
        factor: growth from one attempt to the next, 1.0 or more.
        jitter: up to this share of the wait, 0.0 to 1.0, is taken off at random, so that what
            failed together does not come back together. Taking off, rather than adding, keeps
            `maximum` the longest wait and still spreads the attempts that have reached it.
        rng: consulted once, also where jitter is 0.
    """
    try:
        grown = initial * factor ** (attempt - 1)
    except OverflowError:
        grown = maximum if initial else 0
    return round(min(grown, maximum) * (1.0 - jitter * rng()))
