"""Services, restart policy, the supervision tree; the node is its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervision.node import Node

__all__ = ["Node"]


def __getattr__(name: str) -> object:
    # The node is nearly everything; a command that speaks to a live one needs little of it.
    if name != "Node":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from supervision.node import Node

    return Node
