"""The test kit: time that is skipped, stand-ins, and requests at virtual times."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runtime.api import ctx
from runtime.errors import Kind, PerdureError
from supervision.testing import Effect, Kit, Stuck, in_turn
from tests.orders_lab import copy

REMINDERS = """
local funcs, time = require("funcs"), require("time")
local customer, times = ...
for n = 1, times do
  time.sleep("30d")
  funcs.call("app:mail", customer, n)
end
return time.now():format_rfc3339()
"""
APPROVAL = """
local late, inbox = require("time").after("3d"), process.inbox()
local got = channel.select{late:case_receive(), inbox:case_receive()}
if got.channel == late then return "expired" end
local now = require("time").now():format_rfc3339()
return got.value:topic() .. " by " .. got.value.by .. " at " .. now
"""
CALLS = """
local result, err = require("funcs").new():with_options(...):call("app:charge", {id = 7})
return {result = result, kind = err and err:kind(), message = err and err:message()}
"""
RETRIED = {"activity.retry_policy": {"maximum_attempts": 3, "initial_interval": "30s"}}


def test_ninety_days_pass_in_milliseconds(perdure: Kit) -> None:
    perdure.workflow("reminders", REMINDERS)
    times: list[datetime] = []
    perdure.activity("app:mail", lambda customer, n: times.append(perdure.now))
    assert perdure.run("reminders", "ann", 3) == "2025-04-01T00:00:00Z"
    assert perdure.now == datetime(2025, 4, 1, tzinfo=UTC)
    assert times == [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=30 * n) for n in (1, 2, 3)]
    assert perdure.calls("app:mail") == [["ann", 1], ["ann", 2], ["ann", 3]]


def test_many_that_wait_wake_in_the_order_of_their_times(perdure: Kit) -> None:
    sleeps = 'local days = ... require("time").sleep(days .. "d")'
    perdure.workflow("waits", f'{sleeps} require("funcs").call("app:woke", days)')
    perdure.activity("app:woke", None)
    pids = [perdure.start("waits", days) for days in (40, 3, 365, 12, 1, 90)]
    for pid in pids:
        perdure.result(pid)
    assert perdure.calls("app:woke") == [[1], [3], [12], [40], [90], [365]]


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ("2d", "approve by ann at 2025-01-03T00:00:00Z"),
        (timedelta(days=2, hours=1), "approve by ann at 2025-01-03T01:00:00Z"),
        ("0s", "approve by ann at 2025-01-01T00:00:00Z"),
        ("4d", "expired"),
    ],
)
def test_a_signal_comes_at_its_virtual_time(
    perdure: Kit, after: str | timedelta, outcome: str
) -> None:
    perdure.workflow("approval", APPROVAL)
    pid = perdure.start("approval", id="approval-7")
    perdure.send("approval-7", "approve", {"by": "ann"}, after=after)
    assert perdure.result(pid) == outcome


def test_time_stands_still_until_a_test_waits(perdure: Kit) -> None:
    perdure.workflow("approval", APPROVAL)
    pid = perdure.start("approval")
    perdure.advance("71h59m")
    assert perdure.show(pid)["status"] == "open"
    perdure.advance("1m")
    assert perdure.show(pid)["result"] == "expired"
    assert perdure.now == datetime(2025, 1, 4, tzinfo=UTC)
    kinds = [record["type"] for record in perdure.history(pid)]
    assert kinds == ["started", "step", "timer_started", "timer_fired", "step", "completed"]


def test_a_stopped_node_goes_on_at_its_time(perdure: Kit) -> None:
    perdure.workflow("approval", APPROVAL)
    pid = perdure.start("approval")
    perdure.advance("2d")
    perdure.restart()
    assert perdure.now == datetime(2025, 1, 3, tzinfo=UTC)
    assert perdure.result(pid) == "expired"
    assert perdure.now == datetime(2025, 1, 4, tzinfo=UTC)


STAND_INS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "a value": ("r-1", {}, {"result": "r-1"}),
    "a function": (lambda order: order["id"] * 2, {}, {"result": 14}),
    "an error": (
        PerdureError(Kind.CONFLICT, "declined", False),
        RETRIED,
        {"kind": "Conflict", "message": "declined"},
    ),
    "an exception": (ValueError("oh"), {}, {"kind": "Internal", "message": "ValueError: oh"}),
    "one that looks at the attempt": (lambda order: ctx.get("activity.attempt"), {}, {"result": 1}),
    "in turn": (
        in_turn(PerdureError(Kind.UNAVAILABLE, "busy"), ValueError("oh"), lambda order: "third"),
        RETRIED,
        {"result": "third"},
    ),
}


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_answers_for_a_function(perdure: Kit, name: str) -> None:
    stand_in, options, outcome = STAND_INS[name]
    perdure.workflow("calls", CALLS)
    perdure.activity("app:charge", stand_in)
    assert perdure.run("calls", options) == outcome


def test_retries_are_attempts_with_one_key_at_their_times(perdure: Kit) -> None:
    perdure.workflow("calls", CALLS)
    perdure.activity("app:charge", in_turn(PerdureError(Kind.UNAVAILABLE, "busy"), 5))
    assert perdure.run("calls", RETRIED) == {"result": 5}
    first, second = perdure.effects
    assert first == Effect("app:charge", [{"id": 7}], first.key, 1)
    assert second == first._replace(attempt=2)
    assert perdure.now == datetime(2025, 1, 1, 0, 0, 30, tzinfo=UTC)


def test_what_will_not_happen_is_told_at_once(perdure: Kit) -> None:
    perdure.workflow("waits", "return process.inbox():receive()")
    with pytest.raises(Stuck, match="nothing is due; it waits for a message"):
        perdure.run("waits")
    with pytest.raises(PerdureError, match="app:nothing does not exist"):
        perdure.run("nothing")


def test_what_is_never_at_rest_is_told_when_patience_ends(tmp_path: Path) -> None:
    kit = Kit(tmp_path, patience=0.3)
    kit.workflow("ticks", 'while true do require("time").sleep("1s") end')
    try:
        with pytest.raises(Stuck, match=r"within 0.3s of real time"):
            kit.run("ticks")
    finally:
        kit.close()


def test_what_comes_too_late_says_so(perdure: Kit) -> None:
    perdure.workflow("waits", "return 1")
    perdure.run("waits")
    with pytest.raises(PerdureError, match="before the first request"):
        perdure.activity("app:charge", 1)
    with pytest.raises(PerdureError, match="before the first request"):
        perdure.workflow("other", "return 1")


def test_a_workflow_has_no_stand_in(perdure: Kit) -> None:
    perdure.workflow("waits", "return 1")
    perdure.activity("app:waits", 1)
    with pytest.raises(PerdureError, match=r"app:waits is a workflow\.lua"):
        perdure.run("waits")


ORDER = {"id": 1001, "total": 165, "quantity": 1, "stock": 4, "packing": "36h"}


def test_an_application_runs_with_data_of_its_own(perdure: Kit, tmp_path: Path) -> None:
    app = copy(tmp_path, orders=3)
    perdure.app(app)
    pid = perdure.start("app:order", {**ORDER, "approval": "none"})
    perdure.send(pid, "approve", {"by": "ann"}, after="2d")
    result = perdure.result(pid)
    assert (result["outcome"], perdure.now) == ("shipped", datetime(2025, 1, 3, tzinfo=UTC))
    functions = ["reserve", "charge", "request_approval", "ship"]
    assert [each.function for each in perdure.effects] == [f"app:{each}" for each in functions]
    assert sorted(path.name for path in (app / "data").glob("*.db")) == ["shop.db"]
    assert not (app / "data/journal").exists()
    assert not (app / ".perdure").exists()


def test_functions_of_an_application_have_stand_ins(perdure: Kit, tmp_path: Path) -> None:
    perdure.app(copy(tmp_path, orders=3), "app:orders:workers=1")
    perdure.activity("app:charge", PerdureError(Kind.CONFLICT, "no", False, {"outcome": "broke"}))
    assert perdure.run("app:order", ORDER)["outcome"] == "broke"
    functions = ["app:reserve", "app:charge", "app:refund", "app:release"]
    assert [each.function for each in perdure.effects] == functions


def test_functions_and_processes_run_in_the_same_time(perdure: Kit, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.yaml").write_text(
        """version: "1.0"
namespace: app
entries:
- {name: processes, kind: process.host, lifecycle: {auto_start: true}}
- {name: nap, kind: function.lua, modules: [time],
   source: 'require("time").sleep("12h") return "rested"'}
- {name: till, kind: process.lua, modules: [time, funcs],
   source: 'require("time").sleep("12h") return require("funcs").call("app:nap")'}
""",
        encoding="utf-8",
    )
    perdure.app(app)
    assert perdure.call("app:nap") == "rested"
    assert perdure.result(perdure.start("till", host="app:processes")) == "rested"
    assert perdure.now == datetime(2025, 1, 2, 12, tzinfo=UTC)


RACE = """
local funcs, time = require("funcs"), require("time")
local won = {}
for n = 1, ... do
  local call, late = funcs.async("app:slow", n), time.after("1ms")
  local got = channel.select{late:case_receive(), call:channel():case_receive()}
  won[n] = got.channel == late and "late" or got.value:data()
end
return won
"""


def test_no_timer_overtakes_what_takes_real_time(perdure: Kit) -> None:
    perdure.workflow("race", RACE)

    def slow(n: int) -> int:
        time.sleep(0.004 * (n % 3))
        return n

    perdure.activity("app:slow", slow)
    assert perdure.run("race", 60) == list(range(1, 61))
    assert perdure.now == datetime(2025, 1, 1, tzinfo=UTC), "and it took no virtual time"


PYTHON_PROCESS = """
import time
from hosts.api import Process

class Echo(Process):
    def on_start(self):
        self.register("echo")

    def on_message(self, topic, payload, sender):
        time.sleep(0.003)
        self.send(sender, "echo", payload)
"""
ASKS = """
local time, inbox = require("time"), process.inbox()
local heard = {}
for n = 1, 20 do
  assert(process.send("echo", "say", {n = n}))
  local late = time.after("1ms")
  local got = channel.select{late:case_receive(), inbox:case_receive()}
  heard[n] = got.channel == late and "late" or got.value.n
end
return heard
"""


def test_nor_what_a_python_process_does(perdure: Kit, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "echoes.py").write_text(PYTHON_PROCESS, encoding="utf-8")
    (app / "asks.lua").write_text(ASKS, encoding="utf-8")
    (app / "app.yaml").write_text(
        """version: "1.0"
namespace: app
entries:
- {name: processes, kind: process.host, lifecycle: {auto_start: true}}
- {name: journal, kind: journal.lmdb, path: ./data/journal}
- {name: workflows, kind: workflow.host, journal: app:journal, lifecycle: {auto_start: true}}
- {name: echo, kind: process.python, target: "echoes:Echo"}
- {name: asks, kind: workflow.lua, source: "file://asks.lua", modules: [time]}
- {name: asks_too, kind: process.lua, source: "file://asks.lua", modules: [time]}
""",
        encoding="utf-8",
    )
    perdure.app(app)
    perdure.start("echo", host="app:processes")
    perdure.advance("0s")
    assert perdure.run("asks") == list(range(1, 21))
    asked = perdure.start("asks_too", host="app:processes")
    assert perdure.result(asked) == list(range(1, 21))
    assert perdure.now == datetime(2025, 1, 1, tzinfo=UTC)
