"""The warehouse: puts goods aside."""

from __future__ import annotations

from typing import Any

from shop.activity import activity_key, turn_down
from shop.database import books


def reserve(order: dict[str, Any]) -> None:
    """Put the goods of an order aside, once for each activity."""
    quantity = order.get("quantity", 1)
    stock = order.get("stock", quantity)
    if quantity > stock:
        raise turn_down("out of stock", f"{quantity} wanted, {stock} in stock")
    with books.transaction() as db:
        db.execute(
            "INSERT OR IGNORE INTO reservations VALUES (?, ?, ?)",
            (activity_key(), order["id"], quantity),
        )


def release(order: dict[str, Any]) -> None:
    """Put back whatever was put aside for an order."""
    with books.transaction() as db:
        db.execute("DELETE FROM reservations WHERE order_id = ?", (order["id"],))
