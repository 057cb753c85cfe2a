"""The orders: `orders.csv` in the application's folder.

id               the order number
customer, item   for people
quantity, stock  pieces wanted, pieces there are
total            EUR
packing          how long it takes to pack: "300ms"
approval         decision on a large order: granted, refused, or none for ever
approval_within  how long the workflow waits for it: "1h"
fault            what goes wrong on purpose: card (declined), address (unknown), carrier (busy at
                 first), or nothing
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from runtime.api import Kind, PerdureError

FILE = Path(__file__).parent.parent / "orders.csv"

_NUMBERS = ("id", "quantity", "stock", "total")


def read() -> list[dict[str, Any]]:
    """All orders.

    A last line that is still being written is left for the next time. Raises PerdureError:
    NOT_FOUND without the file, INVALID with the line of an order that cannot be read.
    """
    try:
        text = FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PerdureError(Kind.NOT_FOUND, f"there is no {FILE}") from None
    lines = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    orders = []
    for row in lines:
        order: dict[str, Any] = dict(row)
        for name in _NUMBERS:
            try:
                order[name] = int(row[name])
            except (KeyError, TypeError, ValueError):
                where = f"{FILE.name}, line {lines.line_num}"
                text = f"{where}: {name} is {row.get(name)!r}: write a whole number"
                raise PerdureError(Kind.INVALID, text) from None
        orders.append(order)
    return orders
