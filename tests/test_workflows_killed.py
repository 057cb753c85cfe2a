"""Runs that are open when their node is killed go on with all that they waited for, on both hosts:
one node, one `kill -9`, one restart. An hour of a journal's clock is a second of a server's."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from tests import both_hosts
from tests.both_hosts import Host
from tests.crash_lab import NodeProcess, effects, effects_by_key, until
from tests.durable_lab import HOST, durable_app

HOUR = 3600
WORKFLOWS = {
    "wait": "return process.inbox():receive().answer",
    "hears_two": """
        local inbox = process.inbox()
        return {inbox:receive().answer, inbox:receive().answer}
    """,
    "sleeps": 'time.sleep((...)) return "slept"',
    "tick": """
        funcs.call("app:effect", "tick")
        local got = channel.select{process.events():case_receive(), default = true}
        if got.channel then return nil, errors.new{message = "enough", kind = errors.CANCELED} end
    """,
    "flaky": """
        local attempt = workflow.info().attempt
        funcs.call("app:effect", "attempt " .. attempt)
        if attempt == 3 then return attempt end
        error("attempt " .. attempt)
    """,
    "leaves_unread": """
        if workflow.info().attempt == 1 then
          time.sleep((...))
          error("it has read nothing")
        end
        return process.inbox():receive().answer
    """,
    "parent": """
        local with = process.with_options({["workflow.id"] = "awaited"})
        return with:exec("app:wait", "app:orders")
    """,
    "limited_parent": """
        process.with_options({["workflow.id"] = "left"}):spawn("app:wait", "app:orders")
        process.inbox():receive()
    """,
    "calls": 'return funcs.call("app:effect", "held")',
}
start = partial(both_hosts.start, worker=HOST)


def took(node: NodeProcess, pid: str, end: str) -> float:
    """Seconds from the start of a run to the first moment of a kind."""
    at = {each["type"]: datetime.fromisoformat(each["at"]) for each in reversed(node.told(pid))}
    return (at[end] - at["started"]).total_seconds()


def statuses(node: NodeProcess, workflow_id: str) -> list[str]:
    """How the runs of a workflow stand, the oldest first."""
    rows = node.do("workflows", where=f'workflow_id = "{workflow_id}"')
    return [row["status"] for row in reversed(rows)]


def pid_of(workflow_id: str) -> str:
    return f"{{{HOST}|{workflow_id}}}"


def test_what_was_open_when_its_node_was_killed_goes_on(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    hour, longer, seconds = ("1h", "2h", HOUR) if host.server is None else ("1s", "3s", 1)
    again = {"initial_interval": hour, "backoff_coefficient": 1}
    (app / "hang-held").touch()
    with NodeProcess(app) as node:
        delayed = start(node, "wait", start_delay=hour)
        node.send(delayed, "early", {"answer": "early"})
        limited = {
            option: start(node, "wait", **{option: hour})
            for option in ("run_timeout", "execution_timeout")
        }
        cron = start(node, "tick", id="cron", cron_schedule=f"@every {hour}")
        flaky = start(node, "flaky", id="flaky", retry_policy=again)
        unread = start(node, "leaves_unread", hour, retry_policy={"initial_interval": 1})
        node.send(unread, "unread", {"answer": "kept"})
        asleep = start(node, "sleeps", hour)
        parent = start(node, "parent")
        start(node, "limited_parent", run_timeout=longer)
        hears = start(node, "hears_two")
        node.send(hears, "first", {"answer": 1})
        calls = start(node, "calls")
        until(lambda: {"attempt 1", "held"} <= {each.function for each in effects(app)})
        until(lambda: {"awaited", "left"} <= {row["workflow_id"] for row in node.rows()})

        node.crash(wall=HOUR - 100)
        if host.server is None:
            assert node.kinds(delayed) == ["started", "message"]
            assert {node.shown(pid)["status"] for pid in limited.values()} == {"open"}
        node.send(hears, "second", {"answer": 2})
        assert node.result(hears) == [1, 2]
        node.send(pid_of("awaited"), "go", {"answer": "to its parent"})
        assert node.result(parent) == "to its parent"
        (app / "hang-held").unlink()
        assert node.result(calls) == "held"

        node.advance(200)
        assert node.result(delayed) == "early"
        assert took(node, delayed, "step") >= seconds
        for option, pid in limited.items():
            with pytest.raises(PerdureError, match=option) as error:
                node.result(pid)
            assert error.value.kind == Kind.TIMEOUT
            assert took(node, pid, "timed_out") >= seconds
        assert node.result(asleep) == "slept"
        assert took(node, asleep, "timer_fired") >= seconds
        assert node.result(unread) == "kept"

        until(lambda: len(statuses(node, "flaky")) == 3)
        node.advance(HOUR + 100)
        assert node.result(flaky) == 3
        with pytest.raises(PerdureError, match="process terminated"):
            node.result(pid_of("left"))
        until(lambda: statuses(node, "cron")[:2] == ["completed", "completed"])
        node.do("cancel", pid=cron, reason="enough")
        until(lambda: statuses(node, "cron")[-1] == "cancelled")
        node.kill()
    done = effects_by_key(app)
    assert [name for name, _ in done if name.startswith("attempt")] == [
        f"attempt {n}" for n in (1, 2, 3)
    ]
    assert [name for name, _ in done].count("held") == 1
    host.check(app)
