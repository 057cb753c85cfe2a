"""What becomes of a function that takes its node down (durability.md, promise 4)."""

from __future__ import annotations

from typing import Final

from runtime.errors import Kind, PerdureError

#: Times that an activity may take the node down while it runs alone.
POISON_BOOTS: Final = 3
#: How long an activity is watched alone at most, ns.
ALONE_NS: Final = 2_000_000_000


def poisoned(target: str, times: int) -> PerdureError:
    """The error that it is failed with."""
    text = f"{target} took the node down {times} times while it ran alone: it is not tried again"
    return PerdureError(Kind.INTERNAL, text, False)
