"""The audit: orders, what the workflows say became of them, and the ledger must agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shop.database import books
from shop.orders import read

#: Outcomes in the order of the table, and whether the customer keeps having paid.
OUTCOMES = {
    "shipped": True,
    "out of stock": False,
    "card declined": False,
    "refused": False,
    "expired": False,
    "undeliverable": False,
}


def check(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the orders with the results of their workflows and with the ledger.

    Returns {sound: bool, lines: the table and the findings, as text}.
    """
    orders = {order["id"]: order for order in read()}
    ended = {result["id"]: result for result in results}
    with books.transaction() as db:
        ledger = db.execute("SELECT order_id, amount FROM ledger").fetchall()
    charges: dict[int, list[int]] = {}
    refunds: dict[int, list[int]] = {}
    for order_id, amount in ledger:
        (charges if amount > 0 else refunds).setdefault(order_id, []).append(amount)

    lost = [each for each in orders if ended.get(each, {}).get("outcome") not in OUTCOMES]
    twice = [each for each, amounts in charges.items() if len(amounts) > 1]
    wrong = [
        each
        for each, order in orders.items()
        if each not in lost
        and sum(charges.get(each, []) + refunds.get(each, []))
        != (order["total"] if OUTCOMES[ended[each]["outcome"]] else 0)
    ]
    lines = [_row("outcome", "orders", "total", "charged", "refunded", "kept"), "-" * 62]
    for outcome in OUTCOMES:
        ids = [each for each in orders if ended.get(each, {}).get("outcome") == outcome]
        lines.append(_sums(outcome, ids, orders, charges, refunds))
    if lost:
        lines.append(_sums("lost", lost, orders, charges, refunds))
    lines += ["-" * 62, _sums("all", list(orders), orders, charges, refunds), ""]
    lines += [
        _finding("lost", lost),
        _finding("charged twice", twice),
        _finding("wrong balance", wrong),
    ]
    return {"sound": not (lost or twice or wrong), "lines": lines}


def _sums(
    name: str,
    ids: Iterable[int],
    orders: dict[int, dict[str, Any]],
    charges: dict[int, list[int]],
    refunds: dict[int, list[int]],
) -> str:
    ids = list(ids)
    charged = sum(sum(charges.get(each, [])) for each in ids)
    refunded = -sum(sum(refunds.get(each, [])) for each in ids)
    total = sum(orders[each]["total"] for each in ids)
    return _row(name, len(ids), total, charged, refunded, charged - refunded)


def _row(name: str, *columns: Any) -> str:
    return f"{name:14}" + "".join(f"{column:>9}" for column in columns)


def _finding(what: str, ids: list[int]) -> str:
    if not ids:
        return f"{what + ':':15}none"
    shown = ", ".join(map(str, sorted(ids)[:10])) + (", …" if len(ids) > 10 else "")
    return f"{what + ':':15}{len(ids)} ({shown})"
