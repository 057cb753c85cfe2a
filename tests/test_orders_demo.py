"""The order desk's demo: its table is what the orders call for, however often it is killed."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from subprocess import Popen

import pytest

from tests.crash_lab import check_journal
from tests.orders_lab import EXAMPLE, copy, counts, demo, expected, run_python, table

SOUND = "lost:          none\ncharged twice: none\nwrong balance: none\n"

#: Enough for every outcome.
FEW = 60


def finish(process: Popen[str], timeout: float = 60) -> str:
    """The output of a demo that must end by itself, and well."""
    output, errors = process.communicate(timeout=timeout)
    assert (process.returncode, errors) == (0, "")
    return output


def kill_at_random(app: Path, times: int, chance: random.Random) -> list[str]:
    """Start the demo and kill it with -9, again and again; what each had printed.

    Every other one is let come to its work first; the others die on their way there, too.
    """
    outputs = []
    for turn in range(times):
        process = demo(app)
        assert process.stdout is not None
        seen = process.stdout.readline() if turn % 2 else ""
        time.sleep(chance.uniform(0.0, 0.4 if turn % 2 else 0.8))
        process.kill()
        output, errors = process.communicate()
        assert errors == ""
        outputs.append(seen + output)
    return outputs


def test_the_demo_ends_by_itself_as_the_orders_call_for_and_again_at_once(tmp_path: Path) -> None:
    app = copy(tmp_path, FEW)
    output = finish(demo(app))
    assert counts(output) == expected(app)
    assert len(expected(app)) == 6, "the first orders no longer show every outcome"
    assert output.endswith(SOUND)
    check_journal(app)

    again = finish(demo(app))
    assert table(again) == table(output)


def test_killed_ten_times_at_random_it_finishes_with_the_same_table(tmp_path: Path) -> None:
    app = copy(tmp_path, FEW)
    killed = kill_at_random(app, 10, random.Random(6))
    assert any("under way" in each for each in killed), "none was killed at work"
    output = finish(demo(app))
    assert counts(output) == expected(app)
    assert output.endswith(SOUND)
    check_journal(app)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_all_orders_killed_ten_times_at_random(tmp_path: Path, seed: int) -> None:
    undisturbed = finish(demo(copy(tmp_path / "undisturbed")))
    app = copy(tmp_path / "killed")
    kill_at_random(app, 10, random.Random(seed))
    assert table(finish(demo(app))) == table(undisturbed)
    check_journal(app)


def test_a_node_that_dies_after_a_charge_and_before_its_record_charges_once(tmp_path: Path) -> None:
    app = copy(tmp_path, FEW)
    ledger = app / "shop/ledger.py"
    fatal = [1003, 1010, 1022]
    ledger.write_text(
        ledger.read_text(encoding="utf-8")
        + f"""

import os, signal
from runtime.api import ctx
_charge = charge

def charge(order):
    receipt = _charge(order)
    if order["id"] in {fatal} and ctx.get("activity.attempt") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt
""",
        encoding="utf-8",
    )
    deaths = 0
    while (process := demo(app)).wait(60) == -9:
        process.communicate()
        deaths += 1
    output = finish(process)
    assert 1 <= deaths <= len(fatal)
    assert counts(output) == expected(app)
    assert output.endswith(SOUND)
    with sqlite3.connect(app / "data/shop.db") as books:
        charges = books.execute(
            "SELECT order_id, count(*) FROM ledger WHERE amount > 0 AND order_id IN (?, ?, ?) "
            "GROUP BY order_id",
            fatal,
        ).fetchall()
    books.close()
    assert charges == [(order, 1) for order in fatal]


def test_python_starts_an_order_by_hand_and_approves_it(tmp_path: Path) -> None:
    app = copy(tmp_path, orders=0)
    script = f"""
from supervision import Node
with Node.from_path({str(app)!r}) as node:
    pid = node.spawn("app:order", "app:orders", {{"id": 7, "total": 120}})
    node.send(pid, "approve", {{"by": "ann"}}, key="approve-7")
    print(node.result(pid, timeout=30))
"""
    done = run_python(script)
    assert (done.stdout, done.stderr) == ("{'id': 7, 'outcome': 'shipped', 'total': 120}\n", "")


def test_the_readme_shows_the_table_of_the_full_file() -> None:
    readme = (EXAMPLE.parent.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.split("```text\n")[1].split("```")[0]
    assert counts(shown) == expected(EXAMPLE)
