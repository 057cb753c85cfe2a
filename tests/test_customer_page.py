"""The customer's page: every code block of it runs as written, is killed where it waits, restarts,
and ends right.

The blocks are cut out of tests/data/workflows.ko.md. A Lua block is the body of a workflow's (or a
function's) main, whose parameters are the block's free variables; a YAML block is a list of
entries.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from tests.crash_lab import NodeProcess, check_journal, effects, effects_by_key, until, write_app

PAGE = (Path(__file__).parent / "data/workflows.ko.md").read_text(encoding="utf-8")
CHARGE, SAGA, APPROVAL, SPAWN = re.findall(r"```lua\n(.*?)```", PAGE, re.DOTALL)
SERVICES, WORKFLOW, WORKER = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

WORKER_ID = "app:temporal_worker"
HOUR = 3600

APP_YAML = f"""version: "1.0"
namespace: app
entries:
- name: temporal_client
  kind: journal.lmdb
  path: ./data/journal
- name: processes
  kind: process.host
  lifecycle: {{auto_start: true}}
- name: start_order
  kind: function.lua
  source: file://start_order.lua
  method: main
{SERVICES}
{WORKER}
"""

WORKFLOWS_YAML = f"""namespace: app.workflows
entries:
- name: charge
  kind: workflow.lua
  source: file://charge.lua
  method: main
  modules: [funcs, time]
- name: saga
  kind: workflow.lua
  source: file://saga.lua
  method: main
  modules: [funcs]
- name: saga_with_errors
  kind: workflow.lua
  source: file://saga_with_errors.lua
  method: main
  modules: [funcs]
- name: approval
  kind: workflow.lua
  source: file://approval.lua
  method: main
  modules: [funcs]
{WORKFLOW}
"""

SHOP = '''
import pathlib, time
from effects import record
from runtime.api import PerdureError

FOLDER = pathlib.Path(__file__).parent

def _done(function, *args):
    """Note the call, then hang for as long as there is a file of the function's name."""
    record(function, *args)
    while (FOLDER / f"hang-{function}").exists():
        time.sleep(0.005)

def charge_card(payment):
    _done("charge_card", payment)
    return {"id": payment["id"]}

def status_of(id):
    _done("status_of", id)
    return "failed" if id.startswith("bad") else "settled"

def refund(id):
    _done("refund", id)

def reserve(items):
    _done("reserve", items)
    return {"error": "out of stock"} if "unicorn" in items else {"id": "inv-1"}

def charge(amount):
    _done("charge", amount)
    return {"error": "declined"} if amount > 100 else {"id": "pay-1"}

def create(order):
    _done("create", order)
    return {"error": "no such place"} if order["to"] == "nowhere" else {"id": "ship-1"}

def release(id):
    _done("release", id)

def charge_or_raise(amount):
    _done("charge", amount)
    if amount > 100:
        raise PerdureError("Invalid", "declined")
    return {"id": "pay-1"}

def submit(request):
    _done("submit", request)

def fulfill(order_id):
    _done("fulfill", order_id)

def send_rejection(request):
    _done("send_rejection", request)

def note(*args):
    _done("note", *args)
'''

#: Functions of the page and of the tests, in Python: id -> target.
PYTHON = {
    "app.api:charge_card": "charge_card",
    "app.api:status_of": "status_of",
    "app.api:refund": "refund",
    "app.inventory:reserve": "reserve",
    "app.inventory:release": "release",
    "app.payments:charge": "charge",
    "app.payments:charge_or_raise": "charge_or_raise",
    "app.payments:refund": "refund",
    "app.shipping:create": "create",
    "app.approvals:submit": "submit",
    "app.orders:fulfill": "fulfill",
    "app.orders:note": "note",
    "app.notifications:send_rejection": "send_rejection",
}
#: And in Lua: id -> source.
LUA = {
    "app.api:check_status": """
        local funcs = require("funcs")
        return funcs.call("app.api:status_of", (...))
    """,
    "app.shipping:create_or_err": """
        local funcs = require("funcs")
        local shipping, err = funcs.call("app.shipping:create", (...))
        if err then return nil, err end
        if shipping.error then return nil, shipping.error end
        return shipping
    """,
}

SESSION = """
local seen = 0
local function main()
  local inbox, events = process.inbox(), process.events()
  while true do
    local got = channel.select{inbox:case_receive(), events:case_receive()}
    if got.channel == events then return end
    local msg = got.value
    if msg:topic() == "crash" then error("told to crash") end
    seen = seen + 1
    process.send(msg:from(), "seen", seen)
  end
end
return {main = main}
"""

ORDER_PROCESSOR = """
local funcs = require("funcs")
local function main(order_data)
  local msg = process.inbox():receive()
  funcs.call("app.orders:note", order_data.id, msg:topic(), msg.status)
  return {id = order_data.id, topic = msg:topic(), status = msg.status}
end
return {main = main}
"""

SAGA_WITH_ERRORS = """
local funcs = require("funcs")
local function main(items, amount, order)
  local inventory, err = funcs.call("app.inventory:reserve", items)
  if err then return nil, err end
  local payment, err = funcs.call("app.payments:charge_or_raise", amount)
  if err then
    funcs.call("app.inventory:release", inventory.id)
    return nil, err
  end
  local shipping, err = funcs.call("app.shipping:create_or_err", order)
  if err then
    funcs.call("app.payments:refund", payment.id)
    funcs.call("app.inventory:release", inventory.id)
    return nil, err
  end
  return {inventory = inventory, payment = payment, shipping = shipping}
end
return {main = main}
"""


def as_main(parameters: str, block: str, after: str = "") -> str:
    """A block, unchanged, as the body of a main."""
    return f"local function main({parameters})\n{block}\n{after} end\nreturn {{main = main}}\n"


def functions_yaml(namespace: str) -> str:
    lines = [f"namespace: {namespace}", "entries:"]
    for id_, target in PYTHON.items():
        if id_.startswith(f"{namespace}:"):
            name = id_.partition(":")[2]
            lines += [f"- name: {name}", "  kind: function.python", f"  target: shop:{target}"]
    for id_, source in LUA.items():
        if id_.startswith(f"{namespace}:"):
            lines += [f"- name: {id_.partition(':')[2]}", "  kind: function.lua"]
            lines += ["  modules: [funcs]", "  source: |", *source.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    namespaces = {id_.partition(":")[0] for id_ in [*PYTHON, *LUA]}
    return write_app(
        tmp_path / "app",
        {
            "app.yaml": APP_YAML,
            "workflows.yaml": WORKFLOWS_YAML,
            **{f"{space}.yaml": functions_yaml(space) for space in namespaces},
            "shop.py": SHOP,
            "charge.lua": as_main("payment", CHARGE),
            "saga.lua": as_main("items, amount, order", SAGA),
            "saga_with_errors.lua": SAGA_WITH_ERRORS,
            "approval.lua": as_main("request", APPROVAL),
            "order_processor.lua": ORDER_PROCESSOR,
            "start_order.lua": as_main("order_data", SPAWN, "return pid"),
            "session_handler.lua": SESSION,
        },
    )


def did(app: Path) -> list[str]:
    """Names of the functions that were called, repeated attempts left out."""
    return [function for function, _ in effects_by_key(app)]


# The durable day ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("payment", "end"), [("good-1", []), ("bad-1", ["refund"])])
def test_it_sleeps_for_a_day_through_two_crashes(app: Path, payment: str, end: list[str]) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app.workflows:charge", WORKER_ID, {"id": payment})
        node.until_recorded(pid, "timer_started")
        node.kill()
    check_journal(app)

    with NodeProcess(app, wall=23 * HOUR) as node:
        assert node.row(pid[1:-1].partition("|")[2])["status"] == "open"
        assert "timer_fired" not in node.kinds(pid)
        node.kill()

    with NodeProcess(app, wall=24 * HOUR + 1) as node:
        assert node.result(pid) is None
        node.stop()
    check_journal(app)
    assert did(app) == ["charge_card", "status_of", *end]
    assert len(effects(app)) == len(did(app)), "nothing ran twice: it was killed in its sleep"


def test_it_wakes_up_while_the_node_runs(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app.workflows:charge", WORKER_ID, {"id": "bad-2"})
        node.until_recorded(pid, "timer_started")
        node.do("advance", seconds=24 * HOUR - 60)
        assert did(app) == ["charge_card"]
        node.do("advance", seconds=61)
        assert node.result(pid) is None
    assert did(app) == ["charge_card", "status_of", "refund"]


# The saga -----------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"items": ["hat"], "amount": 50, "order": {"to": "Seoul"}}
DONE = {"inventory": {"id": "inv-1"}, "payment": {"id": "pay-1"}, "shipping": {"id": "ship-1"}}
STAGES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "nothing": ({}, "", ["reserve", "charge", "create"]),
    "inventory": ({"items": ["unicorn"]}, "out of stock", ["reserve"]),
    "payment": ({"amount": 500}, "declined", ["reserve", "charge", "release"]),
    "shipping": (
        {"order": {"to": "nowhere"}},
        "no such place",
        ["reserve", "charge", "create", "refund", "release"],
    ),
}


def check_saga(app: Path, node: NodeProcess, pid: str, stage: str) -> None:
    _, message, calls = STAGES[stage]
    if message:
        with pytest.raises(PerdureError, match=message):
            node.result(pid)
    else:
        assert node.result(pid) == DONE
    assert did(app) == calls


def start_saga(node: NodeProcess, workflow: str, stage: str) -> str:
    order = {**GOOD, **STAGES[stage][0]}
    return node.spawn(workflow, WORKER_ID, order["items"], order["amount"], order["order"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_saga_compensates_what_failed(app: Path, stage: str) -> None:
    with NodeProcess(app) as node:
        check_saga(app, node, start_saga(node, "app.workflows:saga", stage), stage)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "inventory"])
def test_the_saga_with_functions_that_return_nil_and_an_error(app: Path, stage: str) -> None:
    with NodeProcess(app) as node:
        check_saga(app, node, start_saga(node, "app.workflows:saga_with_errors", stage), stage)


@pytest.mark.parametrize(
    ("stage", "function"),
    [(stage, function) for stage, (_, _, calls) in STAGES.items() for function in calls],
)
def test_the_saga_killed_in_each_of_its_calls(app: Path, stage: str, function: str) -> None:
    hang = app / f"hang-{function}"
    hang.touch()
    with NodeProcess(app) as node:
        pid = start_saga(node, "app.workflows:saga", stage)
        until(lambda: function in did(app))
        node.kill()
    check_journal(app)
    hang.unlink()
    with NodeProcess(app) as node:
        check_saga(app, node, pid, stage)
        node.stop()
    check_journal(app)
    attempts = [effect.attempt for effect in effects(app) if effect.function == function]
    assert attempts == [1, 2], "the call that hung was made again, with the same activity.key"
    assert len(effects(app)) == len(did(app)) + 1, "and no other"


# The signal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approved", "end"),
    [(True, ("fulfill", ["order-7"])), (False, ("send_rejection", [{"order_id": "order-7"}]))],
)
def test_it_waits_for_a_decision_through_a_crash(
    app: Path, approved: bool, end: tuple[str, list[Any]]
) -> None:
    request = {"order_id": "order-7"}
    with NodeProcess(app) as node:
        pid = node.spawn("app.workflows:approval", WORKER_ID, request)
        node.until_recorded(pid, "activity_completed")
        node.kill()
    check_journal(app)
    with NodeProcess(app) as node:
        node.send(pid, "decision", {"approved": approved})
        assert node.result(pid) is None
    assert effects_by_key(app) == [("submit", [request]), end]
    assert len(effects(app)) == 2


def test_a_decision_that_was_acknowledged_outlives_the_node(app: Path) -> None:
    (app / "hang-fulfill").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app.workflows:approval", WORKER_ID, {"order_id": "order-8"})
        node.send(pid, "decision", {"approved": True})
        node.kill()
    (app / "hang-fulfill").unlink()
    with NodeProcess(app) as node:
        assert node.result(pid) is None
    assert did(app) == ["submit", "fulfill"]


# Starting a workflow, the worker ------------------------------------------------------------------


def test_a_workflow_is_spawned_and_signalled_like_a_process(app: Path) -> None:
    (app / "hang-note").touch()
    with NodeProcess(app) as node:
        pid = node.call("app:start_order", {"id": "order-9"})
        assert pid.startswith("{app:temporal_worker|")
        until(lambda: did(app) == ["note"])
        node.kill()
    check_journal(app)
    (app / "hang-note").unlink()
    with NodeProcess(app) as node:
        result = node.result(pid)
        node.stop()
    assert result == {"id": "order-9", "topic": "update", "status": "approved"}
    assert effects_by_key(app) == [("note", ["order-9", "update", "approved"])]
    check_journal(app)


def test_the_task_queue_of_the_worker_is_a_host_too(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app.workflows:order_processor", "orders", {"id": "order-10"})
        assert pid.startswith("{app:temporal_worker|")
        node.send(pid, "update", {"status": "late"})
        assert node.result(pid)["status"] == "late"


# Services -----------------------------------------------------------------------------------------


def session(node: NodeProcess) -> str:
    """PID of the session process, once there is one."""
    found: list[str] = []

    def there() -> bool:
        rows = node.do("processes")
        found[:] = [row["pid"] for row in rows if row["entry"] == "app:session_handler"]
        return bool(found)

    until(there)
    return found[0]


def state(node: NodeProcess, service: str) -> str:
    return next(str(row["state"]) for row in node.do("services") if row["id"] == service)


def test_the_session_manager_starts_its_process_again(app: Path) -> None:
    with NodeProcess(app) as node:
        assert {row["state"] for row in node.do("services")} == {"running"}
        first = session(node)
        assert [node.do("ask", pid=first, topic="hi", payload=[]) for _ in range(2)] == [1, 2]
        node.send(first, "crash")
        until(lambda: state(node, "app:session_manager") == "failed")
        node.do("advance", seconds=2)
        until(lambda: state(node, "app:session_manager") == "running")
        second = session(node)
        assert second != first
        assert node.do("ask", pid=second, topic="hi", payload=[]) == 1
        with pytest.raises(PerdureError) as dead:
            node.send(first, "hi")
        assert dead.value.kind == Kind.NOT_FOUND
        node.kill()
    with NodeProcess(app) as node:
        third = session(node)
        assert third not in (first, second), "a PID of another boot never names a new process"
        assert node.do("ask", pid=third, topic="hi", payload=[]) == 1
        node.stop()
