"""What a workflow may ask of an activity: attempts, time limits, heartbeats, ids, places, ends."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hosts.activity_options import ONCE, activity_options
from runtime.errors import Kind, PerdureError
from tests.crash_lab import NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "call": """
        local target, options, name = ...
        return funcs.new():with_options(options):call(target, name)
    """,
    "both": """
        local options = ...
        local caller = funcs.new():with_options(options)
        local first = caller:async("app:effect", "first")
        local second = caller:async("app:effect", "second")
        local told = {}
        for _, future in ipairs({first, second}) do
          local got = future:response():receive()
          table.insert(told, errors.is(got, got.kind and got:kind()) and got:kind() or got:data())
        end
        return told
    """,
    "cancels": """
        local target, options = ...
        local future = funcs.new():with_options(options):async(target, "c")
        process.inbox():receive()
        local was_running = future:cancel()
        local open = not future:is_complete()
        local got = future:response():receive()
        local told = errors.is(got, "Canceled") and got:message() or got:data()
        return {was_running, open, future:is_canceled(), told}
    """,
}
FUNCTIONS = """
def fails(name):
    record(name)
    raise {"key": KeyError("k"), "conflict": PerdureError("Conflict", "c")}[name]

def beats(name):
    from runtime.api import heartbeat
    done = ctx.get("activity.heartbeat") or 0
    record(name, done)
    heartbeat(done + 1)
    while done < 2:
        time.sleep(0.005)
    return done

def hurries(name):
    from runtime.api import heartbeat
    if ctx.get("activity.attempt") > 1:
        return ctx.get("activity.heartbeat")
    for beat in range(1, 51):
        heartbeat(beat)
    raise PerdureError("Unavailable", "again")

def ticks(name):
    from runtime.api import heartbeat
    beats = 0
    while not (FOLDER / "silence").exists():
        beats += 1
        heartbeat(beats)
        time.sleep(0.005)
    record("silent")
    while True:
        time.sleep(0.005)

def knows(name):
    return [ctx.get("activity.id", "none"), ctx.get("activity.key").endswith("/1")]

def tidies(name):
    from runtime.api import heartbeat
    record(name)
    try:
        while True:
            time.sleep(0.005)
            heartbeat()
    except PerdureError as error:
        record("tidied", error.kind)
        while (FOLDER / "hang-tidying").exists():
            time.sleep(0.005)
        return "tidied"
"""
TARGETS = ("fails", "beats", "hurries", "ticks", "knows", "tidies")
ENTRIES = """
- name: narrow
  kind: workflow.host
  journal: app:journal
  task_queue: narrow
  workers: 1
  limits: {activities: 1}
  retry_policy: {initial_interval: 1ms, maximum_attempts: 3}
  lifecycle: {auto_start: true}
- name: often
  kind: function.python
  target: "functions:fails"
  meta: {options: {retry: {initial_delay: 1, max_attempts: 4}}}
- name: listens
  kind: function.lua
  source: |
    local event = process.events():receive()
    return "heard " .. event.kind
"""
FAST = {"initial_interval": 1, "maximum_attempts": 5}
FAST_CALL = {"initial_delay": 1, "max_attempts": 5}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, FUNCTIONS, TARGETS, ENTRIES)


def calls(app: Path, name: str) -> list[list[Any]]:
    return [effect.args for effect in effects(app) if effect.function == name]


def ran(app: Path, name: str, times: int) -> bool:
    return len(calls(app, name)) == times


POLICIES: list[tuple[str, str, dict[str, Any], int]] = [
    ("app:fails", "conflict", {"activity.retry_policy": FAST}, 5),
    ("app:fails", "conflict", {"temporal.activity.retry_policy": FAST}, 5),
    ("app:fails", "conflict", {"retry": {"max_attempts": 2, "initial_delay": 1}}, 2),
    (
        "app:fails",
        "conflict",
        {"activity.retry_policy": {**FAST, "non_retryable_error_types": ["Conflict"]}},
        1,
    ),
    (
        "app:fails",
        "key",
        {"activity.retry_policy": {**FAST, "non_retryable_error_types": ["KeyError"]}},
        1,
    ),
    (
        "app:fails",
        "key",
        {"activity.retry_policy": {**FAST, "non_retryable_error_types": ["Conflict"]}},
        5,
    ),
    ("app:often", "conflict", {}, 4),
    ("app:often", "conflict", {"activity.retry_policy": {"maximum_attempts": 1}}, 1),
]


def test_how_often_an_activity_is_tried(app: Path) -> None:
    with NodeProcess(app) as node:
        for target, name, options, expected in POLICIES:
            before = len(calls(app, name))
            with pytest.raises(PerdureError):
                node.result(node.spawn("app:call", HOST, target, options, name))
            assert len(calls(app, name)) - before == expected, (target, options)
        # The policy of the worker is the default.
        before = len(calls(app, "conflict"))
        with pytest.raises(PerdureError):
            node.result(node.spawn("app:call", "narrow", "app:fails", {}, "conflict"))
        assert len(calls(app, "conflict")) - before == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activity.retry_policy": {"maximum_attempts": "many"}}, "maximum_attempts"),
        ({"activity.retry_policy": {"backoff_coefficient": 0.5}}, "backoff_coefficient"),
        ({"activity.retry_policy": {"non_retryable_error_types": "Conflict"}}, "list of error"),
        ({"activity.retry_policy": {"attempts": 1}}, "attempts"),
        ({"activity.heartbeat_timeout": "soon"}, "soon"),
        ({"activity.heartbeat_timout": "1s"}, "heartbeat_timeout"),
        ({"activity.id": 7}, "activity.id"),
    ],
)
def test_an_option_that_is_wrong_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PerdureError, match=message) as error:
        activity_options(options, None, ONCE)
    assert error.value.kind == Kind.INVALID


def test_an_option_that_is_wrong_fails_the_activity(app: Path) -> None:
    with NodeProcess(app) as node:
        wrong = {"activity.heartbeat_timout": "1s"}
        pid = node.spawn("app:call", HOST, "app:effect", wrong, "e")
        with pytest.raises(PerdureError, match="heartbeat_timeout"):
            node.result(pid)
    assert effects(app) == []


def test_an_activity_that_finds_no_place_in_time_is_not_tried_again(app: Path) -> None:
    (app / "hang-first").touch()
    with NodeProcess(app) as node:
        pid = node.spawn(
            "app:both", "narrow", {"activity.schedule_to_start_timeout": "10s", "retry": FAST_CALL}
        )
        until(partial(ran, app, "first", 1))
        node.do("advance", seconds=11)
        node.until_recorded(pid, "activity_timed_out")
        (app / "hang-first").unlink()
        assert node.result(pid) == ["first", "Timeout"]
    assert not calls(app, "second")


def test_the_wait_for_a_thread_of_its_pool_is_a_wait_to_start(tmp_path: Path) -> None:
    entries = (
        '\n- {name: one, kind: function.python, target: "functions:effect", pool: {workers: 1}}'
    )
    app = durable_app(tmp_path / "app", WORKFLOWS, entries=entries)
    (app / "hang-a").touch()
    with NodeProcess(app) as node:
        first = node.spawn("app:call", HOST, "app:one", {}, "a")
        until(partial(ran, app, "a", 1))
        limited = {"activity.schedule_to_start_timeout": "10s"}
        late = node.spawn("app:call", HOST, "app:one", limited, "b")
        patient = node.spawn(
            "app:call", HOST, "app:one", {"activity.start_to_close_timeout": "10s"}, "c"
        )
        for pid in (late, patient):
            node.until_recorded(pid, "activity_scheduled")
        node.do("advance", seconds=11)
        with pytest.raises(PerdureError, match="no worker was free") as error:
            node.result(late)
        assert error.value.kind == Kind.TIMEOUT
        (app / "hang-a").unlink()
        assert node.result(first) == "a"
        assert node.result(patient) == "c", "start_to_close counts from the start"


def test_activities_of_a_task_queue_take_the_places_of_its_worker(app: Path) -> None:
    (app / "hang-first").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:both", HOST, {"activity.task_queue": "narrow"})
        until(partial(ran, app, "first", 1))
        crowd = node.spawn("app:both", HOST, {"activity.task_queue": "orders"})
        node.do("services")
        assert not calls(app, "second"), "the worker has one place"
        (app / "hang-first").unlink()
        assert node.result(pid) == ["first", "second"]
        node.do("terminate", pid=crowd)


def test_a_task_queue_that_nobody_serves_is_waited_for(app: Path) -> None:
    options = {"activity.task_queue": "nobody", "activity.schedule_to_start_timeout": "5s"}
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:effect", options, "e")
        node.until_recorded(pid, "activity_scheduled")
        node.do("advance", seconds=6)
        with pytest.raises(PerdureError) as error:
            node.result(pid)
        assert error.value.kind == Kind.TIMEOUT
    assert effects(app) == []


@pytest.mark.parametrize("crash", [False, True])
def test_a_silent_attempt_times_out_and_the_next_one_learns_how_far_it_came(
    app: Path, crash: bool
) -> None:
    options = {"activity.heartbeat_timeout": "10s", "activity.retry_policy": FAST}
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:beats", options, "b")
        for attempt in (1, 2):
            until(partial(ran, app, "b", attempt))
            node.do("until_beaten", least=attempt)
            if crash:
                node.crash()
            else:
                node.do("advance", seconds=11)
        assert node.result(pid) == 2
        kinds = node.kinds(pid)
        node.kill()
    check_journal(app)
    assert calls(app, "b") == [[0], [1], [2]]
    assert kinds.count("activity_attempt") == 2


def test_the_last_of_many_heartbeats_counts(app: Path) -> None:
    with NodeProcess(app) as node:
        options = {"activity.retry_policy": FAST}
        assert node.result(node.spawn("app:call", HOST, "app:hurries", options, "h")) == 50


def test_heartbeats_keep_an_attempt_alive(app: Path) -> None:
    options = {"activity.heartbeat_timeout": "10s"}
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:ticks", options, "t")
        beats = node.do("until_beaten", least=1)
        for _ in range(4):
            node.do("advance", seconds=6)
            # The second of them is from after the jump, whatever was under way.
            beats = node.do("until_beaten", least=beats + 2)
        assert node.kinds(pid)[-1] == "activity_scheduled"
        (app / "silence").touch()
        until(partial(ran, app, "silent", 1))  # a beat that was under way is not after the jump
        node.do("advance", seconds=11)
        with pytest.raises(PerdureError, match="no heartbeat for 10s"):
            node.result(pid)


def test_an_activity_has_the_id_it_was_given(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:knows", {"activity.id": "charge-7"}, "k")
        assert node.result(pid) == ["charge-7", True]
        assert node.result(node.spawn("app:call", HOST, "app:knows", {}, "k")) == ["none", True]


def test_two_pending_activities_of_a_run_have_no_id_in_common(app: Path) -> None:
    (app / "hang-first").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:both", HOST, {"activity.id": "same"})
        node.until_recorded(pid, "activity_failed")
        (app / "hang-first").unlink()
        assert node.result(pid) == ["first", "AlreadyExists"]


@pytest.mark.parametrize("crash", [False, True])
def test_a_cancelled_activity_that_is_waited_for_ends_when_its_function_does(
    app: Path, crash: bool
) -> None:
    (app / "hang-tidying").touch()
    options = {"activity.wait_for_cancellation": True}
    with NodeProcess(app) as node:
        pid = node.spawn("app:cancels", HOST, "app:tidies", options)
        until(partial(ran, app, "c", 1))
        node.send(pid, "cancel")
        until(partial(ran, app, "tidied", 1))
        assert node.kinds(pid)[-1] == "activity_cancel_requested"
        if crash:
            node.crash()
            assert node.result(pid) == [True, True, True, "canceled"]
        else:
            (app / "hang-tidying").unlink()
            assert node.result(pid) == [True, True, False, "tidied"]
    assert calls(app, "tidied") == [["Canceled"]]


def test_a_lua_function_that_is_waited_for_gets_a_cancel_event(app: Path) -> None:
    options = {"temporal.activity.wait_for_cancellation": True}
    with NodeProcess(app) as node:
        pid = node.spawn("app:cancels", HOST, "app:listens", options)
        node.until_recorded(pid, "activity_scheduled")
        node.send(pid, "cancel")
        assert node.result(pid) == [True, True, False, "heard pid.cancel"]


def test_without_the_option_a_cancelled_activity_is_over_at_once(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:cancels", HOST, "app:tidies", {})
        until(partial(ran, app, "c", 1))
        node.send(pid, "cancel")
        assert node.result(pid) == [True, False, True, "canceled"]


@pytest.mark.parametrize("crash", [False, True])
def test_schedule_to_close_counts_all_attempts_and_the_time_a_node_was_down(
    app: Path, crash: bool
) -> None:
    (app / "hang-e").touch()
    options = {
        "activity.schedule_to_close_timeout": "60s",
        "activity.start_to_close_timeout": "40s",
        "activity.retry_policy": FAST,
    }
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:effect", options, "e")
        until(partial(ran, app, "e", 1))
        if crash:
            node.crash(wall=41)
        else:
            node.do("advance", seconds=41)
        until(partial(ran, app, "e", 2))
        node.do("advance", seconds=20)
        with pytest.raises(PerdureError) as error:
            node.result(pid)
        assert error.value.kind == Kind.TIMEOUT
    assert len(calls(app, "e")) == 2
