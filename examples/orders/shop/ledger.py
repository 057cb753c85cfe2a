"""The ledger: what customers paid and got back.

A line is an activity's key, the order, and an amount in EUR: positive when paid, negative when
refunded.
The key makes both idempotent: asked again after a crash, they find their line and write nothing.
"""

from __future__ import annotations

from typing import Any

from shop.activity import activity_key, turn_down
from shop.database import books


def charge(order: dict[str, Any]) -> str:
    """Charge the total of an order; the receipt."""
    if order.get("fault") == "card":
        raise turn_down("card declined", "the bank declined the card")
    key = activity_key()
    with books.transaction() as db:
        db.execute(
            "INSERT OR IGNORE INTO ledger VALUES (?, ?, ?)", (key, order["id"], order["total"])
        )
    return key


def refund(order: dict[str, Any]) -> int:
    """Pay back what an order has paid; the amount, 0 when it has paid nothing."""
    key = activity_key()
    with books.transaction() as db:
        (paid,) = db.execute(
            "SELECT coalesce(sum(amount), 0) FROM ledger WHERE order_id = ? AND key != ?",
            (order["id"], key),
        ).fetchone()
        if paid:
            db.execute("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?)", (key, order["id"], -paid))
    return int(paid)
