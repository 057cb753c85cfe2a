"""Services, restart policy, the supervision tree; the node is its root."""

from supervision.node import Node

__all__ = ["Node"]
