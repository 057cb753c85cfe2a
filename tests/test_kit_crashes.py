"""`crash_everywhere`: it passes workflows that keep their promises, and finds those that do not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from runtime.api import ctx
from runtime.errors import Kind, PerdureError
from supervision.testing import CrashDifference, Kit
from tests.orders_lab import copy

CHARGES = """
local funcs = require("funcs")
local id = require("uuid").v4()
local receipt = assert(funcs.call("app:charge", ..., id))
require("time").sleep("30d")
local got = process.inbox():receive()
return {receipt = receipt, by = got.by, at = require("time").now():unix()}
"""


def test_a_sound_workflow_ends_the_same_at_every_boundary(perdure: Kit) -> None:
    perdure.workflow("charges", CHARGES)
    charged: list[list[str]] = []

    def scenario(kit: Kit) -> Any:
        ledger: dict[str, int] = {}
        charged.append([])

        def charge(amount: int, request: str) -> str:
            charged[-1].append(ctx.get("activity.key"))
            ledger.setdefault(ctx.get("activity.key"), amount)
            return "paid"

        kit.activity("app:charge", charge)
        pid = kit.start("charges", 5)
        kit.send(pid, "approve", {"by": "ann"}, after="10d")
        return kit.result(pid), sorted(ledger.values())

    perdure.activity("app:charge", None)
    crashes = perdure.crash_everywhere(scenario)
    result, ledger = crashes.outcome
    assert result == {"receipt": "paid", "by": "ann", "at": 1738281600}
    assert ledger == [5]
    assert crashes.commits >= 4  # started; charged and asleep; the message; awake, the end
    # At one boundary or at both: two transactions of one run may be one of another.
    assert crashes.commits <= crashes.kills <= 2 * crashes.commits
    twice = [keys for keys in charged if len(keys) == 2]
    assert twice, "some attempts are lost with their node and made again"
    assert all(len(set(keys)) == 1 for keys in charged)


def test_a_charge_that_is_made_twice_is_found(perdure: Kit) -> None:
    perdure.workflow("charges", 'return require("funcs").call("app:charge", 5)')

    def scenario(kit: Kit) -> Any:
        ledger: list[int] = []
        kit.activity("app:charge", ledger.append)
        kit.run("charges")
        return ledger

    perdure.activity("app:charge", None)
    with pytest.raises(CrashDifference) as raised:
        perdure.crash_everywhere(scenario)
    first, *lines = str(raised.value).splitlines()
    assert first == "scenario, killed before commit 2:"
    assert lines[0] == "  its outcome is [5, 5]"
    assert lines[1].split() == ["undisturbed", "[5]"]
    assert lines[2].startswith("  app:charge ran 2 times under the activity.key ")
    assert lines[3] == "  in the journal: charges-1 (app:charges): activity 1: app:charge(5)"


NUMBERED = """version: "1.0"
namespace: app
entries:
- {name: journal, kind: journal.lmdb, path: ./data/journal}
- {name: orders, kind: workflow.host, journal: app:journal, workers: 1,
   lifecycle: {auto_start: true}}
- {name: number, kind: function.python, target: "invoices:number"}
- {name: invoices, kind: workflow.lua, modules: [funcs, time],
   source: 'local funcs = require("funcs")
            local first = funcs.call("app:number")
            require("time").sleep("1d")
            return {first, (funcs.call("app:number"))}'}
"""


def test_a_function_with_state_in_memory_is_found(perdure: Kit, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.yaml").write_text(NUMBERED, encoding="utf-8")
    (app / "invoices.py").write_text(
        "last = 0\ndef number():\n    global last\n    last += 1\n    return last\n",
        encoding="utf-8",
    )
    perdure.app(app)
    with pytest.raises(CrashDifference, match=r"its outcome is \[1, 1\]") as raised:
        perdure.crash_everywhere("app:invoices")
    assert "undisturbed [1, 2]" in str(raised.value)
    assert "in the journal: invoices-1 (app:invoices): timer 2: 1d" in str(raised.value)


def test_a_workflow_that_rests_on_the_memory_of_a_process_is_found(
    perdure: Kit, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.yaml").write_text(
        NUMBERED + "- {name: processes, kind: process.host, lifecycle: {auto_start: true}}\n"
        '- {name: till, kind: process.lua, source: \'process.registry.register("till") '
        "while true do process.inbox():receive() end'}\n"
        '- {name: pays, kind: workflow.lua, source: \'return process.send("till", "add", 5)\'}\n',
        encoding="utf-8",
    )
    (app / "invoices.py").write_text("def number():\n    return 1\n", encoding="utf-8")
    perdure.app(app)

    def pays(kit: Kit) -> Any:
        kit.start("till", host="app:processes")
        return kit.run("pays")

    with pytest.raises(CrashDifference, match=r"^pays, killed before commit 1:\n") as raised:
        perdure.crash_everywhere(pays)
    assert 'it fails: NotFound: no process holds the name "till"' in str(raised.value)


def test_an_undisturbed_failure_is_its_own(perdure: Kit) -> None:
    perdure.workflow("fails", 'error("oh")')
    with pytest.raises(PerdureError, match="oh") as raised:
        perdure.crash_everywhere("fails")
    assert raised.value.kind == Kind.INTERNAL


ORDER = {"id": 1001, "total": 165, "quantity": 1, "stock": 4, "packing": "36h"}


def test_the_order_of_the_example_keeps_its_books_at_every_boundary(
    perdure: Kit, tmp_path: Path
) -> None:
    app = copy(tmp_path, orders=3)
    books = app / "data/shop.db"

    def order(kit: Kit) -> Any:
        for file in books.parent.glob("shop.db*"):
            file.unlink()
        pid = kit.start("app:order", {**ORDER, "approval": "none"})
        kit.send(pid, "approve", {"by": "ann"}, after="2d")
        result = kit.result(pid)
        with sqlite3.connect(books) as db:
            tables = ("ledger", "reservations", "parcels")
            counts = [db.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables]
        db.close()
        return result["outcome"], counts

    perdure.app(app, "app:orders:workers=1")
    crashes = perdure.crash_everywhere(order)
    assert crashes.outcome == ("shipped", [1, 1, 1])
    assert crashes.kills >= 12
