"""Promise 2: a step is one transaction: inputs, commands, timers, sends, state; or none of it.

On a server the step is one request to that. Points inside of a transaction, and what it leaves on
disk, are for the journal only.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.both_hosts import EMBEDDED, Host, only_on
from tests.crash_lab import (
    NodeDied,
    NodeProcess,
    check_journal,
    effects,
    effects_by_key,
    survive,
)
from tests.durable_lab import HOST, durable_app, journal_of, pages_on_disk

# Its first step has one command of every kind; it ends when all of them are answered.
WORKFLOW = """
  local peer = ...
  local done = channel.new(8)
  local function start(f)
    coroutine.spawn(function() done:send(f() or "nothing") end)
  end
  start(function() return funcs.call("app:effect", "called") end)
  start(function() time.sleep("1ms") return "slept" end)
  start(function() return process.send(peer, "hello") and "sent" end)
  start(function() return workflow.exec("app:child") end)
  start(function() return #uuid.v4() end)
  local count = 0
  while count < 5 do
    done:receive()
    count = count + 1
  end
  return count
"""
WORKFLOWS = {
    "order": WORKFLOW,
    "child": 'return "child"',
    "peer": "process.inbox():receive() return true",
}
FIRST_STEP = [
    "started",
    "step",
    "activity_scheduled",
    "timer_started",
    "message_sent",
    "child_requested",
    "value",
]


@pytest.fixture
def app(tmp_path: Path, host: Host) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, host=host)


def script(node: NodeProcess) -> object:
    peer = node.spawn("app:peer", HOST, key="peer", options={"workflow.id": "peer"})
    options = {"workflow.id": "order"}
    return node.result(node.spawn("app:order", HOST, peer, key="order", options=options))


def test_a_step_that_was_killed_has_done_nothing_and_is_taken_as_a_whole(
    app: Path, host: Host
) -> None:
    with NodeProcess(app) as node:
        peer = node.spawn("app:peer", HOST, key="peer", options={"workflow.id": "peer"})
        node.until_recorded(peer, "step")
        node.do("arm", fault="host.step.after:1")
        with pytest.raises(NodeDied):
            script(node)
        node.wait_dead()
        assert effects(app) == []
        node.crash()
        assert script(node) == 5
        kinds = node.kinds("{app:orders|order}")
        assert node.result(peer) is True
        assert node.kinds(peer).count("message") == 1
    host.check(app)
    assert effects_by_key(app) == [("called", [])]
    first = kinds[kinds.index("step") :]
    first = first[: first.index("step", 1)]
    drawn = {"value"} if host.server else set()  # there it follows from the seed
    assert {*first} >= {*FIRST_STEP} - {"started"} - drawn


@only_on(EMBEDDED, "it is killed inside of the journal's transaction")
@pytest.mark.parametrize(
    "fault",
    [
        *[f"journal.op.{op}.after:2" for op in ("append", "put_run", "put_id", "put_source")],
        *[f"journal.op.{op}.after:1" for op in ("put_timer", "put_busy", "put_outbox")],
        "journal.commit.before:2",
        "journal.commit.after:2",
        "journal.commit.before:3",
    ],
)
def test_all_of_the_first_step_or_nothing(app: Path, fault: str) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault=fault)
        with pytest.raises(NodeDied):
            script(node)
    check_journal(app)
    pages = pages_on_disk(app, "order")
    if pages:
        assert [record[0] for record in pages[0]] == FIRST_STEP
    for page in pages[1:]:
        kinds = [record[0] for record in page]
        assert "step" in kinds or kinds == ["activity_attempt"], "inputs never come without a step"
    assert_indexes_follow(app)

    result, _ = survive(app, script)
    assert result == 5


def assert_indexes_follow(app: Path) -> None:
    """Marks of busy runs and rows of timers and outbox follow from commands without answer."""
    with journal_of(app) as journal:
        open_runs = [run for run, row in journal.runs() if row.is_open]
        for run in open_runs:
            pending: dict[str, set[int]] = {"activity": set(), "timer": set(), "request": set()}
            for _, record in journal.history(run):
                match record:
                    case ["activity_scheduled", seq, *_]:
                        pending["activity"].add(seq)
                    case ["timer_started", seq, *_]:
                        pending["timer"].add(seq)
                    case ["message_sent" | "child_requested", seq, *_]:
                        pending["request"].add(seq)
                    case ["activity_completed", seq, *_]:
                        pending["activity"].discard(seq)
                    case ["timer_fired", seq]:
                        pending["timer"].discard(seq)
                    case ["message_answered" | "child_ended", seq, *_]:
                        pending["request"].discard(seq)
            assert (run in journal.busy_runs()) == bool(pending["activity"])
            assert {row.seq for row in journal.outbox_of(run)} == pending["request"]
            assert {seq for _, owner, seq in journal.timers_due() if owner == run} == (
                pending["timer"]
            )
