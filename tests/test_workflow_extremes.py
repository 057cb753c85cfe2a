"""What is large, many, odd or done twice, in workflows on both hosts: results or clear errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from hosts.temporal.pace import Turns, size_of
from runtime import commands as c
from runtime.codec import encode_args
from runtime.errors import Kind
from supervision.node import Node
from tests.both_hosts import WORKER, Host, application, failure, run, start
from tests.conformance_lab import lua
from tests.process_lab import PATIENCE
from tests.services import eventually

#: 1.8 MB, and three times as much where letters are written as \\uXXXX.
LETTERS: Final = "ж" * 900_000

PYTHON: Final = """
from runtime.api import PerdureError, ctx, heartbeat
made = {}

def same(value):
    return value

def count(key):
    made[key] = made.get(key, 0) + 1
    return made[key]

def counted(key):
    return made.get(key, 0)

def fails_at_length(size):
    raise PerdureError("Conflict", "x" * size, None, {"d": "y" * size})

def resumes(key):
    if count(key) == 1:
        heartbeat({"done": 7})
        raise ValueError("once")
    return ctx.get("activity.heartbeat")
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    **{
        name: {"kind": "function.python", "target": f"helpers:{name}"}
        for name in ("same", "count", "counted", "fails_at_length", "resumes")
    },
    "echo": lua("workflow", "return ..."),
    "waits": lua("workflow", "process.inbox():receive() return ..."),
    "calls": lua("workflow", """
        local target, options, arg = ...
        local v, e = funcs.new():with_options(options):call(target, arg)
        return e and {e:kind(), e:message()} or v
    """),
    "grows": lua("workflow", """
        local text, ends = ...
        if ends then
          local m = process.inbox():receive()
          return text == m:payload():data()
        end
        process.send(process.pid(), "unread", text)
        process.upgrade(nil, text, true)
    """),
    "asks_child": lua("workflow", """
        local text = ...
        local pid = process.with_context({}):with_message("text", text)
          :spawn("app:hears_text", "app:workflows", 1)
        local told = process.events():receive().result.value
        return told == text and workflow.exec("app:echo", text) == text
    """),
    "hears_text": lua("workflow", "return process.inbox():receive():payload():data()"),
    "calls_at_once": lua("workflow", """
        local calls = {}
        for i = 1, 4 do calls[i] = funcs.async("app:same", string.rep("x", 1500000)) end
        for i = 1, 4 do
          calls[i]:response():receive()
          calls[i] = #calls[i]:result():data()
        end
        return calls
    """),
    "hears_large_exit": lua("workflow", """
        local pid = process.spawn_monitored("app:makes", "app:one", 2500000)
        local event = process.events():receive()
        return {event.kind, event.from == pid, event.result.error:kind()}
    """),
    "makes": lua("process", "return string.rep('x', ...)"),
    "names_bytes": lua("workflow", r"""
        local odd, own = "\xff", process.pid()
        local tries = {
          function() return process.send(own, odd, 1) end,
          function() return process.send(odd, "topic", 1) end,
          function() return process.cancel(own, odd) end,
          function() return process.spawn("app:" .. odd, "app:workflows") end,
          function() return process.spawn("app:echo", odd) end,
          function() return process.with_context({}):with_name(odd) end,
          function() return process.registry.register(odd) end,
          function() return process.upgrade("app:" .. odd) end,
          function() return funcs.call("app:" .. odd) end,
          function() return workflow.version(odd, 1, 2) end,
        }
        for i, try in ipairs(tries) do
          local value, e = try()
          tries[i] = value == nil and e:kind()
        end
        return tries
    """),
    "hears_two": lua("workflow", """
        local events, told = process.events(), {}
        for i = 1, 2 do
          local event = events:receive()
          told[i] = {event.kind, event.reason}
        end
        return told
    """),
    "goes_on": lua("workflow", """
        local key, again = ...
        local inbox, got = process.inbox(), {}
        if again then funcs.call("app:count", key) end
        while true do
          local m = inbox:receive()
          if m:topic() == "go" then return got end
          if m:topic() == "on" then process.upgrade(nil, key, true) end
          got[#got + 1] = m:payload():data()
        end
    """),
    "fails": lua("workflow", "funcs.call('app:count', (...)) error('no')"),
    "delays_child": lua("workflow", """
        local began = time.now()
        local pid = process.with_options({["workflow.start_delay"] = "1s"})
          :spawn("app:echo", "app:workflows", 1)
        local soon = time.now():sub(began):milliseconds() < 800
        process.events():receive()
        return {soon, time.now():sub(began):milliseconds() >= 1000}
    """),
    "reuses": lua("workflow", """
        local id, policy = ...
        local pid, e = process.with_options({["workflow.id"] = id,
          ["workflow.id_reuse_policy"] = policy}):spawn("app:waits", "app:workflows", 1)
        return e and {e:kind(), e:message()} or pid
    """),
    "child_attribute": lua("workflow", """
        local name, value = ...
        local pid, e = process.with_options({["workflow.search_attributes"] = {[name] = value}})
          :spawn("app:echo", "app:workflows")
        return e and {e:kind(), e:message()} or true
    """),
    "attributes": lua("workflow", """
        local answers, long = {}, string.rep("x", 5000)
        for _, search in ipairs{{odd = 1}, {odd = 2.5}, {odd = "text"}, {odd = long},
          {BuildIds = "mine"}} do
          local done, e = workflow.attrs{search = search}
          answers[#answers + 1] = done or e:kind()
        end
        return answers
    """),
    "many_calls": lua("workflow", """
        local n, calls, good = ..., {}, 0
        for i = 1, n do calls[i] = funcs.async("app:same", i) end
        for i = 1, n do
          calls[i]:response():receive()
          if calls[i]:result():data() == i then good = good + 1 end
        end
        return good
    """),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("app")
    with host.node(application(folder, ENTRIES, {"helpers": PYTHON})) as running:
        yield running


def test_texts_that_json_would_blow_up(node: Node) -> None:
    assert run(node, "echo", LETTERS) == LETTERS
    assert run(node, "calls", "app:same", {}, LETTERS) == LETTERS
    assert run(node, "asks_child", LETTERS) is True
    assert run(node, "grows", LETTERS) is True


def test_a_step_that_sends_more_than_a_request_takes(node: Node) -> None:
    assert run(node, "calls_at_once") == [1_500_000] * 4


def test_what_is_too_large_is_refused_by_name(node: Node) -> None:
    kind, message = run(node, "calls", "app:fails_at_length", {}, 1_500_000)
    assert kind == Kind.INVALID
    assert message.startswith("the result of app:fails_at_length: 4")
    large = "x" * 2_500_000
    error = failure(lambda: node.spawn("app:echo", WORKER, context={"who": large}))
    assert (error.kind, error.message[:24]) == (Kind.INVALID, "the context of app:echo:")
    error = failure(lambda: start(node, "echo", memo={"text": large}))
    assert (error.kind, error.message[:21]) == (Kind.INVALID, "the memo of app:echo:")
    assert run(node, "hears_large_exit") == ["pid.exit", True, Kind.INVALID]
    pid = start(node, "hears_two")
    error = failure(lambda: node.cancel(pid, large))
    assert (error.kind, error.message[:21]) == (Kind.INVALID, "the reason to cancel:")


def test_what_names_something_is_text(node: Node) -> None:
    assert run(node, "names_bytes") == [Kind.INVALID] * 10
    pid = start(node, "waits", 1)
    assert failure(lambda: node.send(pid, "\udcff", 1)).kind == Kind.INVALID
    node.send(pid, "__temporal_is_a_topic_like_others", 1)
    assert node.result(pid, PATIENCE) == 1


def test_each_request_to_cancel_is_heard(node: Node) -> None:
    pid = start(node, "hears_two")
    node.cancel(pid, "one")
    node.cancel(pid, "two")
    assert node.result(pid, PATIENCE) == [["pid.cancel", "one"], ["pid.cancel", "two"]]


def test_one_attempt_of_a_run_is_one(node: Node) -> None:
    policy = {"maximum_attempts": 1, "initial_interval": 1}
    assert failure(lambda: run(node, "fails", "one", retry_policy=policy)).kind == Kind.INTERNAL
    time.sleep(0.3)  # A second one would have begun by now.
    assert node.call("app:count", "one") == 2


def test_the_last_heartbeat_of_an_attempt_that_fails_is_told(node: Node) -> None:
    options = {"activity.retry_policy": {"initial_interval": 1, "maximum_attempts": 2}}
    for more in ({}, {"activity.heartbeat_timeout": "9s"}):
        key = f"resumes-{len(more)}"
        assert run(node, "calls", "app:resumes", {**options, **more}, key) == {"done": 7}


def test_a_child_begins_after_its_start_delay(node: Node) -> None:
    assert run(node, "delays_child") == [True, True]


def test_policies_of_ids_are_those_of_children_too(node: Node) -> None:
    pid = start(node, "waits", id="used")
    for policy in ("reject_duplicate", "allow_duplicate_failed_only"):
        assert run(node, "reuses", "used", policy) == pid  # it runs: it is joined
    node.send(pid, "go")
    node.result(pid, PATIENCE)
    for policy in ("reject_duplicate", "allow_duplicate_failed_only"):
        refused = [Kind.ALREADY_EXISTS, "workflow used has run before (completed)"]
        assert run(node, "reuses", "used", policy) == refused


def test_a_start_by_a_key_is_made_once_under_an_id_of_its_own_too(node: Node) -> None:
    pid = start(node, "echo", 1, id="keyed", key="first")
    assert node.result(pid, PATIENCE) == 1
    assert start(node, "echo", 2, id="keyed", key="first") == pid
    assert node.result(pid, PATIENCE) == 1
    assert run(node, "echo", 3, id="keyed", key="second") == 3
    pid = start(node, "waits", id="held", key="third")
    assert start(node, "waits", id="held", key="third", id_conflict_policy="fail") == pid
    refused = failure(
        lambda: start(node, "waits", id="held", key="fourth", id_conflict_policy="fail")
    )
    assert refused.kind == Kind.ALREADY_EXISTS


def test_a_message_by_a_key_is_got_once_by_all_runs_of_a_workflow(node: Node) -> None:
    pid = start(node, "goes_on", "on")
    node.send(pid, "n", 1, key="one")
    node.send(pid, "on")
    eventually(lambda: node.call("app:counted", "on") == 1)
    for key, value in (("two", 2), ("one", 1), ("two", 2)):
        node.send(pid, "n", value, key=key)
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == [2]


def test_a_search_attribute_of_another_type_hurts_no_run(node: Node, host: Host) -> None:
    refused = Kind.INVALID if host.server else True
    assert run(node, "attributes") == [True, *[refused] * 4]
    assert run(node, "child_attribute", "fresh", "text") is True
    if host.server:
        error = failure(lambda: start(node, "echo", search_attributes={"fresh": 1}))
        said = "search attribute fresh is of type Keyword at the Temporal server, not of Int: "
        assert (error.kind, error.message[: len(said)]) == (Kind.INVALID, said)
        assert run(node, "child_attribute", "fresh", 1)[1].startswith(said)
        assert run(node, "child_attribute", "WorkflowId", "x")[0] == Kind.INVALID


def test_names_that_are_too_long_for_the_server(node: Node, host: Host) -> None:
    long = "x" * 901
    if not host.server:
        start(node, "echo", id=long)
        return
    said = f'workflow id "{long[:20]}…" has more than 900 bytes'
    assert failure(lambda: start(node, "echo", id=long)).message == said
    assert run(node, "reuses", long, "allow_duplicate") == [Kind.INVALID, said]
    for target, options in (
        (f"app:{long}", {}),
        ("app:same", {"activity.id": long}),
        ("app:same", {"activity.task_queue": long}),
    ):
        assert run(node, "calls", target, options)[0] == Kind.INVALID


@pytest.mark.soak
def test_more_calls_at_once_than_the_server_has_under_way(node: Node) -> None:
    assert node.result(start(node, "many_calls", 2_500), 300) == 2_500


def test_so_many_at_a_time() -> None:
    def call(seq: int) -> c.Call:
        return c.Call("{h|1}", seq, "app:f", encode_args([]), None, None)

    turns = Turns(2)
    assert [turns.take(call(seq)) for seq in range(1, 6)] == [True, True, False, False, False]
    assert (turns.drop(4), turns.drop(1)) == (True, False)
    for waiting in (3, 5):
        (released,) = turns.ended()
        assert (released.seq, turns.take(released)) == (waiting, True)
    assert (turns.ended(), turns.ended(), turns.take(call(6))) == ([], [], True)


def test_what_a_command_adds_to_a_request() -> None:
    args = encode_args(["x" * 200_000])
    sizes = [
        size_of(command)
        for command in (
            c.Tell("{h|1}", "log", "tell", args),
            c.StartTimer("{h|1}", 1, 1),
            c.Send("{h|1}", 1, "{h|2}", "t", args),
            c.Call("{h|1}", 1, "app:f", args, None, args),
            c.Spawn("{h|1}", 1, "app:w", "app:h", args, 0, None, None, None, [("t", args)]),
            c.Ask("{h|1}", 1, "store", "get", args),
        )
    ]
    assert sizes == [0, 1_000, 401_012, 801_024, 832_024, 2_000_000]
