"""The carrier: takes parcels."""

from __future__ import annotations

from typing import Any

from runtime.api import Kind, PerdureError, ctx
from shop.activity import activity_key, turn_down
from shop.database import books

#: The attempt at which a busy carrier finds the time.
_FREE_AT = 3


def ship(order: dict[str, Any]) -> None:
    """Hand the parcel of an order over, once for each activity."""
    fault = order.get("fault")
    if fault == "address":
        raise turn_down("undeliverable", "the carrier does not know the address")
    if fault == "carrier" and ctx.get("activity.attempt") < _FREE_AT:
        raise PerdureError(Kind.UNAVAILABLE, "the carrier is busy", retryable=True)
    with books.transaction() as db:
        db.execute("INSERT OR IGNORE INTO parcels VALUES (?, ?)", (activity_key(), order["id"]))
