"""Approvals: who asked for one, what was decided, and who has heard of it.

In real life somebody decides on a page; here the column `approval` of the orders does, at once.
"""

from __future__ import annotations

from typing import Any

from shop.database import books

#: What the column says, and the signal that the workflow gets for it.
_TOPICS = {"granted": "approve", "refused": "reject"}


def request(order: dict[str, Any], pid: str) -> None:
    """Ask for a decision on an order, for its workflow; once for each workflow."""
    with books.transaction() as db:
        db.execute(
            "INSERT OR IGNORE INTO approvals VALUES (?, ?, ?, 0)",
            (pid, order["id"], _TOPICS.get(order.get("approval", ""))),
        )


def decisions() -> list[dict[str, Any]]:
    """Decisions to deliver: the workflow's PID, the topic of the signal, who decided."""
    with books.transaction() as db:
        rows = db.execute(
            "SELECT pid, decision FROM approvals WHERE decision IS NOT NULL AND NOT delivered"
        ).fetchall()
    return [{"pid": row["pid"], "topic": row["decision"], "by": "ann"} for row in rows]


def delivered(pid: str) -> None:
    """Note that a workflow has its decision."""
    with books.transaction() as db:
        db.execute("UPDATE approvals SET delivered = 1 WHERE pid = ?", (pid,))
