"""The order desk's functions: each can be called again, and the audit finds what went wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from runtime.api import CallScope
from runtime.errors import Kind, PerdureError
from tests.orders_lab import copy

ORDER = {"id": 1001, "total": 65, "quantity": 1, "stock": 4}


class Shop:
    """The modules of a copy of the example, and its functions as activities."""

    def __init__(self, app: Path) -> None:
        self.app = app

    def __call__(self, target: str, *args: Any, key: str | None = "run/1", attempt: int = 1) -> Any:
        """Call `module:function` as the activity with this key."""
        module, _, function = target.partition(":")
        context = {} if key is None else {"activity.key": key, "activity.attempt": attempt}

        def call() -> Any:
            CallScope(context).enter()
            return getattr(importlib.import_module(f"shop.{module}"), function)(*args)

        return copy_context().run(call)

    def ledger(self) -> list[tuple[str, int, int]]:
        with importlib.import_module("shop.database").books.transaction() as db:
            rows = db.execute("SELECT key, order_id, amount FROM ledger ORDER BY rowid")
            return [tuple(row) for row in rows]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    app = copy(tmp_path, orders=3)
    monkeypatch.syspath_prepend(app)
    yield Shop(app)
    importlib.import_module("shop.database").books.close()
    for name in [each for each in sys.modules if each.partition(".")[0] == "shop"]:
        del sys.modules[name]


def test_a_charge_that_is_asked_for_again_is_the_same_charge(shop: Shop) -> None:
    receipts = [shop("ledger:charge", ORDER, attempt=attempt) for attempt in (1, 2, 3)]
    assert receipts == ["run/1"] * 3
    assert shop.ledger() == [("run/1", 1001, 65)]


def test_a_refund_pays_back_what_was_paid_once(shop: Shop) -> None:
    shop("ledger:charge", ORDER, key="run/1")
    assert [shop("ledger:refund", ORDER, key="run/2") for _ in range(2)] == [65, 65]
    assert shop("ledger:refund", ORDER, key="run/3") == 0
    assert shop.ledger() == [("run/1", 1001, 65), ("run/2", 1001, -65)]


def test_a_declined_card_is_not_charged(shop: Shop) -> None:
    with pytest.raises(PerdureError, match="declined") as raised:
        shop("ledger:charge", ORDER | {"fault": "card"})
    assert raised.value.details == {"outcome": "card declined"}
    assert raised.value.retryable is False
    assert shop.ledger() == []


@pytest.mark.parametrize("target", ["ledger:charge", "ledger:refund", "carrier:ship"])
def test_what_needs_a_key_says_so_outside_of_a_workflow(shop: Shop, target: str) -> None:
    with pytest.raises(PerdureError, match=r"activity\.key"):
        shop(target, ORDER, key=None)


def test_goods_are_put_aside_once_and_only_those_that_are_there(shop: Shop) -> None:
    for _ in range(2):
        shop("warehouse:reserve", ORDER)
    with importlib.import_module("shop.database").books.transaction() as db:
        assert [tuple(each) for each in db.execute("SELECT * FROM reservations")] == [
            ("run/1", 1001, 1)
        ]
    with pytest.raises(PerdureError, match="5 wanted, 4 in stock"):
        shop("warehouse:reserve", ORDER | {"quantity": 5})
    for _ in range(2):
        shop("warehouse:release", ORDER)
    with importlib.import_module("shop.database").books.transaction() as db:
        assert db.execute("SELECT * FROM reservations").fetchall() == []


def test_a_busy_carrier_takes_the_parcel_at_the_third_attempt(shop: Shop) -> None:
    order = ORDER | {"fault": "carrier"}
    for attempt in (1, 2):
        with pytest.raises(PerdureError, match="busy") as raised:
            shop("carrier:ship", order, attempt=attempt)
        assert raised.value.retryable is True
    shop("carrier:ship", order, attempt=3)


def test_a_decision_is_handed_out_until_it_is_delivered(shop: Shop) -> None:
    pids = {name: f"{{app:orders|{name}}}" for name in ("granted", "refused", "none")}
    for approval, pid in pids.items():
        for _ in range(2):
            shop("approvals:request", ORDER | {"approval": approval}, pid)
    made = [
        {"pid": pids["granted"], "topic": "approve", "by": "ann"},
        {"pid": pids["refused"], "topic": "reject", "by": "ann"},
    ]
    assert shop("approvals:decisions") == made
    assert shop("approvals:decisions") == made
    shop("approvals:delivered", pids["granted"])
    assert shop("approvals:decisions") == made[1:]


def test_a_line_that_is_still_being_written_is_left_for_later(shop: Shop) -> None:
    with (shop.app / "orders.csv").open("a", encoding="utf-8") as file:
        file.write("1004,Moreau,pen s")
    assert [order["id"] for order in shop("orders:read")] == [1001, 1002, 1003]


def test_an_order_that_cannot_be_read_is_named(shop: Shop) -> None:
    with (shop.app / "orders.csv").open("a", encoding="utf-8") as file:
        file.write("1004,Moreau,pen set,3,6,many,100ms,,,\n")
    with pytest.raises(PerdureError, match=r"orders\.csv, line 5: total is 'many'") as raised:
        shop("orders:read")
    assert raised.value.kind == Kind.INVALID


def sound(shop: Shop) -> list[dict[str, Any]]:
    """Charges for all three orders, and results that go with them."""
    orders = shop("orders:read")
    for order in orders:
        shop("ledger:charge", order | {"fault": ""}, key=f"{order['id']}/2")
    return [{"id": order["id"], "outcome": "shipped"} for order in orders]


def audit(shop: Shop, results: list[dict[str, Any]]) -> tuple[bool, list[str]]:
    found = shop("audit:check", results)
    return found["sound"], [line.replace(" ", "") for line in found["lines"][-3:]]


def test_the_audit_is_content_when_all_agree(shop: Shop) -> None:
    assert audit(shop, sound(shop)) == (
        True,
        ["lost:none", "chargedtwice:none", "wrongbalance:none"],
    )


def test_the_audit_finds_an_order_without_a_result_and_one_whose_workflow_failed(
    shop: Shop,
) -> None:
    results = sound(shop)[1:]
    results[0] = {"id": 1002, "outcome": "failed"}
    assert audit(shop, results) == (
        False,
        ["lost:2(1001,1002)", "chargedtwice:none", "wrongbalance:none"],
    )


def test_the_audit_finds_a_double_charge(shop: Shop) -> None:
    results = sound(shop)
    shop("ledger:charge", ORDER, key="1001/again")
    assert audit(shop, results) == (
        False,
        ["lost:none", "chargedtwice:1(1001)", "wrongbalance:1(1001)"],
    )


def test_the_audit_finds_a_customer_who_paid_for_nothing(shop: Shop) -> None:
    results = sound(shop)
    results[2]["outcome"] = "expired"
    assert audit(shop, results) == (
        False,
        ["lost:none", "chargedtwice:none", "wrongbalance:1(1003)"],
    )
