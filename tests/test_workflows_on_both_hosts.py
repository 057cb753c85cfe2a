"""What workflows promise on the embedded journal and on a Temporal server: one suite for both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from hosts.temporal.worker import TemporalWorker
from runtime.errors import Kind
from supervision.control import workflows as operations
from supervision.node import Node
from tests.both_hosts import WORKER, Host, application, failure, run, start, until_runs, until_told
from tests.conformance_lab import lua
from tests.process_lab import PATIENCE, eventually

PYTHON: Final = """
import pathlib, time
from runtime.api import PerdureError, ctx, heartbeat
here = pathlib.Path(__file__).parent
made = {}

def count(key):
    made[key] = made.get(key, 0) + 1
    return made[key]

def refuses(key, kind="Conflict", retryable=None):
    count(key)
    raise PerdureError(kind, "no", retryable, {"key": key})

def raises(key):
    count(key)
    raise ValueError("not this one")

def counted(key):
    return made.get(key, 0)

def told():
    keys = ("activity.key", "activity.attempt", "activity.id", "who")
    return {key.replace(".", "_"): ctx.get(key) for key in keys}

def patient(key):
    try:
        while True:
            heartbeat()
            time.sleep(0.01)
    finally:
        made[key] = "told"

def silent():
    time.sleep(3)

def resumes(key):
    if count(key) == 1:
        heartbeat({"done": 7})
        time.sleep(3)
    return ctx.get("activity.heartbeat")

def large():
    return "x" * 3_000_000
"""

#: Until a message "go" comes.
WAIT: Final = """
    local function wait()
      while process.inbox():receive():topic() ~= "go" do end
    end
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    **{
        name: {"kind": "function.python", "target": f"helpers:{name}"}
        for name in ("count", "counted", "refuses", "raises", "told", "patient", "silent",
                     "resumes", "large")
    },
    "tried": {"kind": "function.python", "target": "helpers:refuses",
              "meta": {"options": {"retry": {"max_attempts": 3, "initial_delay": 10}}}},
    "echo": lua("workflow", "return ..."),
    "takes_a_name": lua("workflow", """
        local registry = process.registry
        local taken = registry.register("till")
        if not ... then time.sleep("1h") end
        return {taken, registry.lookup("till") == process.pid()}
    """),
    "waits": lua("workflow", WAIT + "wait() return ..."),
    "fails": lua("workflow", "error(errors.new{message = 'no', kind = errors.CONFLICT, "
                 "retryable = false, details = {a = 1}}, 0)"),
    "collects": lua("workflow", """
        local got, inbox = {}, process.inbox()
        repeat
          local m = inbox:receive()
          got[#got + 1] = {m:topic(), m:payload() and m:payload():data() or false, m:from()}
        until m:topic() == "go"
        return got
    """),
    "attempts": lua("workflow", """
        if workflow.info().attempt < 3 then error("not yet") end
        return workflow.info().attempt
    """),
    "hears": lua("workflow", """
        local event = process.events():receive()
        return {event.kind, event.reason}
    """),
    "cancelled": lua("workflow", """
        process.events():receive()
        return nil, errors.new{message = "as asked", kind = errors.CANCELED}
    """),
    "ends_how": lua("workflow", """
        local kind, asked = ...
        if workflow.info().attempt > 1 then return "again" end
        if asked then process.events():receive() end
        if not kind then return "well" end
        return nil, errors.new{message = "as told", kind = kind}
    """),
    "cancels_child": lua("workflow", """
        local pid = process.spawn("app:cancelled", "app:workflows")
        process.cancel(pid)
        local event = process.events():receive()
        local _, err = workflow.exec("app:cancels_itself")
        return {event.kind, event.from == pid, event.result.error:kind(),
          event.result.error:message(), err:details()}
    """),
    "cancels_itself": lua("workflow", """
        process.cancel(process.pid())
        process.events():receive()
        return nil, errors.new{message = "mine", kind = errors.CANCELED, details = {n = 1}}
    """),
    "too_large": lua("workflow", """
        local _, err = process.send(process.pid(), "topic", string.rep("x", 3000000))
        return err:message()
    """),
    "calls": lua("workflow", """
        local target, options, args = ...
        local v, e = funcs.new():with_options(options):call(target, table.unpack(args))
        if e then return {e:kind(), e:message(), e:details() or false, e:retryable()} end
        return v
    """),
    "context": lua("workflow", """
        local v, e = funcs.new():with_context({who = "me"}):call("app:told")
        return {ctx.get("who"), v, tostring(e)}
    """),
    "cancels_call": lua("workflow", """
        local key, options = ...
        local call = funcs.new():with_options(options):async("app:patient", key)
        time.sleep("300ms")
        call:cancel()
        return {tostring(select(2, call:result()))}
    """),
    "upgrades": lua("workflow", """
        local n = ...
        if n == 0 then
          local inbox = process.inbox()
          return {workflow.info().workflow_id, inbox:receive():payload():data(),
            inbox:receive():payload():data(), ctx.get("who")}
        end
        if n == 2 then process.listen("go"):receive() end
        process.upgrade(nil, n - 1)
    """),
    "leaves": lua("workflow", """
        coroutine.spawn(function() process.exec("app:stays", "app:one") end)
        if ... then process.inbox():receive() end
        return "ended"
    """),
    "stays": lua("process", "process.inbox():receive()"),
    "hands_on": lua("workflow", """
        local peer, seen = ...
        local inbox = process.inbox()
        while true do
          seen = seen + 1
          local n = inbox:receive():payload():data()
          if n ~= seen then return {"expected", seen, "got", n} end
          if n == 5 then return n end
          -- The run ends while this is still on its way.
          coroutine.spawn(function() process.send(peer, "seen", n) end)
          process.upgrade(nil, peer, seen)
        end
    """),
    "child_of": lua("workflow", """
        local case = channel.select{process.inbox():case_receive(), process.events():case_receive()}
        return case.channel == process.inbox() and case.value:payload():data() or case.value.kind
    """),
    **{
        f"says_{name}": lua("workflow", """
            local said, inbox = "old", process.inbox()
            local first = inbox:receive():payload():data()
            funcs.call("app:count", ...)
            return {said, first, inbox:receive():payload():data(), ...}
        """, versioning="latest" if name == "latest" else "pinned")
        for name in ("pinned", "latest", "turned")
    },
    "goes_on": lua("workflow", """
        local n, policy, id = ...
        if n == 0 then
          process.with_options({["workflow.id"] = id, ["workflow.parent_close_policy"] = policy})
            :spawn("app:child_of", "app:workflows")
        end
        if n < 2 then process.upgrade(nil, n + 1, policy, id) end
        local ended = process.events():receive()
        local result = ended.result
        return {ended.kind, ended.from, result.value or result.error:message()}
    """),
    "parent": lua("workflow", """
        local how, id = ...
        local pid = process.with_options({["workflow.id"] = id,
          ["workflow.parent_close_policy"] = how}):spawn("app:hears", "app:workflows")
        return pid
    """),
    "family": lua("workflow", """
        local good, bad = workflow.exec("app:echo", {1, "two"}), {workflow.exec("app:fails")}
        local pid = process.spawn("app:echo", "flows", "three")
        local event = process.events():receive()
        return {good, bad[2]:kind(), bad[2]:details().a, event.kind, event.from == pid,
          event.result.value}
    """),
    "tells_child": lua("workflow", """
        local pid = process.with_context({}):with_message("one", 1):with_message("two", 2)
          :spawn("app:collects", "app:workflows")
        process.send(pid, "three", 3)
        process.send(pid, "go")
        local got = process.events():receive().result.value
        for _, each in ipairs(got) do each[3] = each[3] == process.pid() end
        return got
    """),
    "joins": lua("workflow", """
        local same = process.with_options({["workflow.id"] = "there"})
        local pid = same:with_message("one", 1):spawn_monitored("app:collects", "app:workflows")
        process.send(pid, "go")
        local event = process.events():receive()
        return {pid, event.kind, event.from == pid, event.result.value[1][2]}
    """),
    "refused": lua("workflow", """
        local _, e = process.with_options({["workflow.id"] = "there",
          ["workflow.id_conflict_policy"] = "fail"}):spawn("app:collects", "app:workflows")
        return {e:kind(), e:details().pid}
    """),
    "draws": lua("workflow", """
        local drawn = {uuid.v4(), crypto.random.bytes(40), math.random(1000000), uuid.v7()}
        time.sleep("50ms")
        return {drawn[1] ~= uuid.v4(), #drawn[2], drawn[3], time.now():unix() > 0}
    """),
    "attributes": lua("workflow", """
        workflow.attrs{search = {customer = "c-7", total = 12, vip = true}, memo = {note = "x"}}
        return workflow.attrs{search = {total = 13}}
    """),
    "monitors": lua("process", """
        local pid, how = ...
        process.set_options{trap_links = true}
        process[how](pid)
        process.send(pid, "go")
        local event = process.events():receive()
        local result = event.result or {}
        return {event.kind, event.from == pid, result.value or result.error and result.error:kind()}
    """),
    "in_order": lua("process", """
        local pid = process.spawn("app:collects", "app:workflows")
        for i = 1, 20 do process.send(pid, "n", i) end
        process.send(pid, "go")
        return pid
    """),
    "by_name": lua("process", """
        local pid = process.with_context({}):with_name("desk"):with_message("one", 1)
          :spawn("app:collects", "app:workflows")
        local same = process.with_context({}):with_name("desk"):with_message("two", 2)
          :spawn("app:collects", "app:workflows")
        process.send("desk", "go")
        local event
        process.monitor(pid)
        repeat event = process.events():receive() until event.from == pid
        local _, e = process.send("desk", "late")
        return {pid == same, #event.result.value, e:kind()}
    """),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("app")
    # So few that runs of a server leave memory all the time, and come back by a replay.
    worker = {"task_queue": "flows", "worker_options": {"max_cached_workflows": 3}}
    with host.node(application(folder, ENTRIES, {"helpers": PYTHON}, worker)) as running:
        yield running


def process(node: Node, entry: str, *args: Any) -> Any:
    return node.result(node.spawn(f"app:{entry}", "app:one", *args), PATIENCE)


def test_what_goes_in_comes_out(node: Node) -> None:
    value = {"i": 1, "f": 1.5, "t": "x", "l": [1, {"deep": True}], "b": b"\xff"}
    assert run(node, "echo", value) == value
    error = failure(lambda: run(node, "fails"))
    said = (error.kind, error.message, error.retryable, error.details)
    assert said == ("Conflict", "no", False, {"a": 1})


def test_a_workflow_id_is_used_once_at_a_time(node: Node) -> None:
    pid = start(node, "waits", 1, id="one")
    assert start(node, "waits", 2, id="one") == pid
    for policy in ({"id_conflict_policy": "fail"}, {"execution_error_when_already_started": True}):
        refused = failure(lambda policy=policy: start(node, "waits", id="one", **policy))  # type: ignore[misc]
        assert (refused.kind, refused.details) == (Kind.ALREADY_EXISTS, {"pid": pid})
    start(node, "waits", 3, id="one", id_conflict_policy="terminate_existing")
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == 3
    refused = failure(lambda: start(node, "waits", id="one", id_reuse_policy="reject_duplicate"))
    assert (refused.kind, refused.details) == (Kind.ALREADY_EXISTS, {"pid": pid})
    only_failed = {"id": "one", "id_reuse_policy": "allow_duplicate_failed_only"}
    assert failure(lambda: start(node, "waits", **only_failed)).kind == Kind.ALREADY_EXISTS
    assert failure(lambda: run(node, "fails", id="two")).kind == "Conflict"
    assert run(node, "echo", 4, id="two", id_reuse_policy="allow_duplicate_failed_only") == 4
    assert failure(lambda: start(node, "echo", id="a|b")).kind == Kind.INVALID


def test_a_name_is_a_workflow_id_and_free_after_the_end(node: Node) -> None:
    assert process(node, "by_name") == [True, 3, Kind.NOT_FOUND]


def test_a_name_that_a_run_takes_is_free_after_its_end(node: Node) -> None:
    assert [run(node, "takes_a_name", True) for _ in range(2)] == [[True, True]] * 2
    pid = start(node, "takes_a_name")
    until_told(node, pid, "timer_started")
    node.terminate(pid)
    assert failure(lambda: node.result(pid, PATIENCE)).kind == Kind.CANCELED
    assert run(node, "takes_a_name", True) == [True, True]


def test_keys_make_requests_that_are_repeated_harmless(node: Node) -> None:
    pids = {node.spawn("app:collects", WORKER, key="start-1") for _ in range(3)}
    assert len(pids) == 1
    (pid,) = pids
    for _ in range(3):
        node.send(pid, "n", 1, key="n-1")
    node.send(pid, "go")
    assert [each[0] for each in node.result(pid, PATIENCE)] == ["n", "go"]
    assert node.spawn("app:collects", WORKER, key="start-1") == pid


def test_messages_of_a_sender_keep_their_order(node: Node) -> None:
    got = node.result(process(node, "in_order"), PATIENCE)
    assert [each[1] for each in got[:-1]] == list(range(1, 21))
    assert len({each[2] for each in got}) == 1
    assert got[0][2].startswith("{app:one|")


def test_cancel_terminate_and_those_who_are_gone(node: Node) -> None:
    pid = start(node, "hears")
    node.cancel(pid, "why not")
    assert node.result(pid, PATIENCE) == ["pid.cancel", "why not"]
    pid = start(node, "cancelled")
    node.cancel(pid)
    error = failure(lambda: node.result(pid, PATIENCE))
    assert (error.kind, error.message) == (Kind.CANCELED, "as asked")
    pid = start(node, "waits")
    node.terminate(pid)
    error = failure(lambda: node.result(pid, PATIENCE))
    assert (error.kind, error.message) == (Kind.CANCELED, "process terminated")
    for request in (node.cancel, node.terminate, lambda pid: node.send(pid, "late")):
        assert failure(lambda request=request: request(pid)).kind == Kind.NOT_FOUND  # type: ignore[misc]


@pytest.mark.parametrize(
    ("entry", "how", "event"),
    [
        ("waits", "monitor", ["pid.exit", True]),
        ("echo", "monitor", ["pid.exit", True]),
        ("fails", "monitor", ["pid.exit", True, "Conflict"]),
        ("waits", "link", ["pid.exit", True]),
        ("fails", "link", ["pid.link.down", True, "Conflict"]),
    ],
)
def test_a_process_hears_of_the_end(node: Node, entry: str, how: str, event: list[Any]) -> None:
    assert process(node, "monitors", start(node, entry), how) == event


def test_the_error_of_a_large_payload_says_whose_limit_it_is(node: Node, host: Host) -> None:
    of, advice = "payload_limit of the journal, ", "pass on where, or raise the limit"
    if host.server:
        of = "payload limit of the Temporal server, "
        advice = "keep it elsewhere and pass on where"
    told = run(node, "too_large")
    assert f"bytes are more than the {of}" in told
    assert told.endswith(advice)


def test_what_the_command_line_asks_for(node: Node) -> None:
    made = operations.start(node, "app:collects", WORKER, id="by-hand")
    assert made == {"pid": f"{{{WORKER}|by-hand}}", "workflow_id": "by-hand"}
    operations.send(node, "by-hand", "n", [1])
    operations.send(node, made["pid"], "go")
    assert node.result(made["pid"], PATIENCE)[0] == ["n", 1, ""]
    pid = start(node, "hears", id="by-hand-2")
    operations.cancel(node, "by-hand-2", "enough")
    assert node.result(pid, PATIENCE) == ["pid.cancel", "enough"]
    pid = start(node, "waits", id="by-hand-3")
    operations.terminate(node, "by-hand-3")
    assert failure(lambda: node.result(pid, PATIENCE)).kind == Kind.CANCELED
    assert failure(lambda: operations.send(node, "nobody", "n")).kind == Kind.NOT_FOUND


def test_rules_of_a_run(node: Node) -> None:
    began = time.monotonic()
    assert run(node, "echo", 1, start_delay="1s") == 1
    assert time.monotonic() - began >= 1
    assert failure(lambda: run(node, "waits", run_timeout="1s")).kind == Kind.TIMEOUT
    policy = {"initial_interval": 10, "maximum_attempts": 5}
    assert run(node, "attempts", retry_policy=policy) == 3
    wrong = failure(lambda: start(node, "echo", run_timeout="soon"))
    assert wrong.kind == Kind.INVALID


RULES: Final[dict[str, dict[str, Any]]] = {
    "retry": {"retry_policy": {"initial_interval": 10, "maximum_attempts": 3}},
    "cron": {"cron_schedule": "@every 1s"},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_was_cancelled_is_the_last(node: Node, rule: str) -> None:
    """It has been when it ends with an error of kind CANCELED, whether it was asked to or not;
    however else it ends, what its rules say follows."""
    follows = {"retry": [], "cron": ["open"]}[rule]
    ends: dict[str, tuple[str | None, bool, list[str]]] = {
        "asked": (Kind.CANCELED, True, ["cancelled"]),
        "unasked": (Kind.CANCELED, False, ["cancelled"]),
        "well": (None, True, ["completed", *follows]),
        "badly": (Kind.CONFLICT, True, ["failed", *(follows or ["completed"])]),
    }
    pids = {
        name: start(node, "ends_how", kind, asked, id=f"{rule}-{name}", **RULES[rule])
        for name, (kind, asked, _) in ends.items()
    }
    for name, (_, asked, expected) in ends.items():
        if rule == "cron":  # its time to begin has come
            until_told(node, pids[name], "step")
        if asked:
            node.cancel(pids[name])
        until_runs(node, f"{rule}-{name}", *expected)
        if expected[-1] == "cancelled":
            error = failure(lambda: node.result(pids[name], PATIENCE))  # noqa: B023
            assert (error.kind, error.message) == (Kind.CANCELED, "as told")
        elif expected[-1] == "open":
            node.terminate(pids[name])


def test_children(node: Node) -> None:
    assert run(node, "family") == [[1, "two"], "Conflict", 1, "pid.exit", True, "three"]
    assert run(node, "cancels_child") == [
        "pid.exit", True, Kind.CANCELED, "as asked", {"n": 1}
    ]  # fmt: skip
    told = [["one", 1, True], ["two", 2, True], ["three", 3, True], ["go", False, True]]
    assert run(node, "tells_child") == told


def test_a_child_that_is_there_already_is_joined(node: Node) -> None:
    there = start(node, "collects", id="there")
    assert run(node, "refused") == [Kind.ALREADY_EXISTS, there]
    assert run(node, "joins") == [there, "pid.exit", True, 1]


@pytest.mark.parametrize("policy", ["terminate", "request_cancel", "abandon"])
def test_what_becomes_of_a_child_whose_parent_has_ended(node: Node, policy: str) -> None:
    child = run(node, "parent", policy, f"child-{policy}")
    if policy == "terminate":
        assert failure(lambda: node.result(child, PATIENCE)).kind == Kind.CANCELED
        return
    if policy == "abandon":
        node.cancel(child, "by hand")
    assert node.result(child, PATIENCE)[0] == "pid.cancel"


def test_a_run_goes_on_as_new_with_what_it_has_not_read(node: Node) -> None:
    pid = node.spawn(
        "app:upgrades", WORKER, 2, context={"who": "me"}, options={"workflow.id": "up"}
    )
    node.send(pid, "x", 1)
    node.send(pid, "x", 2)
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == ["up", 1, 2, "me"]


def test_what_comes_while_a_run_goes_on_as_new_is_not_lost(node: Node) -> None:
    peer = start(node, "collects")
    pid = start(node, "hands_on", peer, 0)
    for number in range(1, 6):
        node.send(pid, "n", number)
    assert node.result(pid, PATIENCE) == 5
    node.terminate(peer)


@pytest.mark.parametrize("policy", ["terminate", "request_cancel", "abandon"])
def test_a_run_that_goes_on_as_new_hears_of_its_children(
    node: Node, host: Host, policy: str
) -> None:
    child = f"{{{WORKER}|of-{policy}}}"
    pid = start(node, "goes_on", 0, policy, f"of-{policy}", id=f"goes-on-{policy}")
    # The server closes children by their policy whenever a run of their parent ends.
    closed = {"terminate": "process terminated", "request_cancel": "pid.cancel"}
    expected = closed.get(policy) if host.server else None
    if expected is None:
        until_runs(node, f"goes-on-{policy}", "continued", "continued", "open")
        node.send(child, "end", "well")
    assert node.result(pid, PATIENCE) == ["pid.exit", child, expected or "well"]


@pytest.mark.parametrize("waits", [False, True])
def test_a_run_ends_while_a_process_that_it_has_started_goes_on(node: Node, waits: bool) -> None:
    pid = start(node, "leaves", waits)
    if waits:
        eventually(lambda: any(each["entry"] == "app:stays" for each in node.processes()))
        node.send(pid, "go")
    assert node.result(pid, PATIENCE) == "ended"
    for each in node.processes():
        if each["entry"] == "app:stays":
            assert waits
            node.terminate(each["pid"])


def test_what_is_deployed_is_taken_up_by_runs_that_want_it(node: Node) -> None:
    """At their next step, by a replay; the others end on the code that they began with."""
    names = ("pinned", "latest", "turned")
    pids = {name: start(node, f"says_{name}", name) for name in names}
    for pid in pids.values():
        node.send(pid, "n", 1)
        # It is in memory, and has called what it calls before it waits again.
        until_told(node, pid, "activity_completed")
    changes = node.registry.changes()
    for name in names:
        written = node.registry.get(f"app:says_{name}").written
        source = written["source"].replace('"old"', '"new"')
        versioning = "pinned" if name == "pinned" else "latest"
        data = {**written, "source": source, "versioning": versioning}
        changes.update({"id": f"app:says_{name}", "data": data})
    node.registry.apply(changes)
    for name, pid in pids.items():
        node.send(pid, "n", 2)
        said = "old" if name == "pinned" else "new"
        assert node.result(pid, PATIENCE) == [said, 1, 2, name], name


def called(node: Node, target: str, *args: Any, **options: Any) -> Any:
    settings = {f"activity.{name}": value for name, value in options.items()}
    return run(node, "calls", f"app:{target}", settings, list(args))


def test_how_often_a_function_is_tried(node: Node) -> None:
    assert called(node, "refuses", "once")[:2] == ["Conflict", "no"]
    assert node.call("app:counted", "once") == 1
    called(node, "tried", "meta")
    assert node.call("app:counted", "meta") == 3
    fast = {"initial_interval": 1, "maximum_attempts": 4}
    called(node, "refuses", "option", retry_policy=fast)
    assert node.call("app:counted", "option") == 4
    called(node, "refuses", "final", "Conflict", False, retry_policy=fast)
    assert node.call("app:counted", "final") == 1
    for name, kind in (("refuses", "Conflict"), ("raises", "ValueError")):
        policy = {**fast, "non_retryable_error_types": [kind]}
        called(node, name, f"{name}-type", retry_policy=policy)
        assert node.call("app:counted", f"{name}-type") == 1


def test_errors_of_functions_and_of_what_is_none(node: Node) -> None:
    assert called(node, "refuses", "k", "RateLimited", True) == [
        "RateLimited", "no", {"key": "k"}, True
    ]  # fmt: skip
    assert called(node, "raises", "k")[:2] == ["Internal", "ValueError: not this one"]
    assert called(node, "nobody")[0] == Kind.NOT_FOUND
    assert called(node, "large")[0] == Kind.INVALID
    assert called(node, "silent", start_to_close_timeout="200ms")[0] == Kind.TIMEOUT
    assert called(node, "silent", heartbeat_timeout="200ms")[0] == Kind.TIMEOUT
    assert called(node, "count", "k", heartbeat_timout="1s")[0] == Kind.INVALID


def test_an_attempt_learns_how_far_the_last_one_came(node: Node) -> None:
    policy = {"initial_interval": 1, "maximum_attempts": 2}
    came = called(node, "resumes", "far", heartbeat_timeout="400ms", retry_policy=policy)
    assert came == {"done": 7}


def test_what_an_activity_is_told(node: Node) -> None:
    pid = node.spawn("app:context", WORKER, context={"who": "all"})
    context, told, wrong = node.result(pid, PATIENCE)
    assert (context, wrong) == ("all", "nil")
    assert (told["activity_attempt"], told["who"]) == (1, "me")
    assert told["activity_key"].count("/") == 1
    assert called(node, "told", id="mine")["activity_id"] == "mine"


@pytest.mark.parametrize("waits", [False, True])
def test_a_call_that_is_cancelled_tells_its_function(node: Node, waits: bool) -> None:
    key = f"cancel-{waits}"
    options = {"activity.wait_for_cancellation": waits, "activity.heartbeat_timeout": "600ms"}
    assert run(node, "cancels_call", key, options) == ["nil" if waits else "canceled"]
    deadline = time.monotonic() + PATIENCE
    while node.call("app:counted", key) != "told":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_random_and_attributes(node: Node) -> None:
    one, other = run(node, "draws"), run(node, "draws")
    assert one[:2] == other[:2] == [True, 40]
    assert one[2] != other[2]
    assert run(node, "attributes") is True


def test_the_replayer_of_temporal_passes_over_every_history(node: Node) -> None:
    worker = node.service(WORKER)
    if isinstance(worker, TemporalWorker):
        count, differ = worker.replay()
        assert (count > 40, differ) == (True, {})
