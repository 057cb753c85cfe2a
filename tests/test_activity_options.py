"""What a workflow may ask of an activity: attempts, time limits, heartbeats, ids, places, ends.

On both hosts, one node each, which some tests kill. Where a journal's clock is moved, a server's
time passes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hosts.activity_options import ONCE, activity_options
from runtime.errors import Kind, PerdureError
from tests.both_hosts import EMBEDDED, TEMPORAL, Host, only_on
from tests.crash_lab import NodeProcess, effects, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "call": """
        local target, options, name = ...
        return funcs.new():with_options(options):call(target, name)
    """,
    "both": """
        local options, one, two = ...
        local caller = funcs.new():with_options(options)
        local first = caller:async("app:effect", one)
        local second = caller:async("app:effect", two)
        local told = {}
        for _, future in ipairs({first, second}) do
          local got = future:response():receive()
          table.insert(told, errors.is(got, got.kind and got:kind()) and got:kind() or got:data())
        end
        return told
    """,
    "cancels": """
        local target, options, name = ...
        local future = funcs.new():with_options(options):async(target, name)
        process.inbox():receive()
        local was_running = future:cancel()
        local open = not future:is_complete()
        local got = future:response():receive()
        local told = errors.is(got, "Canceled") and got:message() or got:data()
        return {was_running, open, future:is_canceled(), told}
    """,
    "twice": """
        local target, options = ...
        local caller = funcs.new():with_options(options)
        return {caller:call(target), caller:call(target)}
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
        with (FOLDER / "ticks").open("ab") as begun:
            begun.write(b".")
        heartbeat(beats)
        time.sleep(0.005)
    record("silent")
    while True:
        time.sleep(0.005)

def persists(name):
    from runtime.api import heartbeat
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        heartbeat()
        time.sleep(0.005)
    return "done"

def knows(name=None):
    return [ctx.get("activity.id", "none"), ctx.get("activity.key").endswith("/1")]

def tidies(name):
    from runtime.api import heartbeat
    record(name)
    try:
        while True:
            time.sleep(0.005)
            heartbeat()
    except PerdureError as error:
        record(f"{name}-tidied", error.kind)
        while (FOLDER / "hang-tidying").exists():
            time.sleep(0.005)
        return "tidied"
"""
TARGETS = ("fails", "beats", "hurries", "ticks", "persists", "knows", "tidies")
ENTRIES = """
- name: narrow
  kind: temporal.worker
  client: app:journal
  task_queue: narrow
  workers: 1
  limits: {activities: 1}
  retry_policy: {initial_interval: 1ms, maximum_attempts: 3}
  lifecycle: {auto_start: true}
- {name: one, kind: function.python, target: "functions:effect", pool: {workers: 1}}
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


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Path:
    folder = tmp_path_factory.mktemp("options") / "app"
    return durable_app(folder, WORKFLOWS, FUNCTIONS, TARGETS, ENTRIES, host)


@pytest.fixture(scope="module")
def node(app: Path, host: Host) -> Iterator[NodeProcess]:
    with NodeProcess(app) as running:
        yield running
    host.check(app)


@pytest.fixture
def limit(host: Host) -> str:
    """One that `node.advance(11)` exceeds, or what waits for its end on a server."""
    return "10s" if host.server is None else "1s"


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


def test_how_often_an_activity_is_tried(app: Path, node: NodeProcess) -> None:
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


def test_an_option_that_is_wrong_fails_the_activity(app: Path, node: NodeProcess) -> None:
    wrong = {"activity.heartbeat_timout": "1s"}
    pid = node.spawn("app:call", HOST, "app:effect", wrong, "wrong")
    with pytest.raises(PerdureError, match="heartbeat_timeout"):
        node.result(pid)
    assert not calls(app, "wrong")


def test_an_activity_that_finds_no_place_in_time_is_not_tried_again(
    app: Path, node: NodeProcess, limit: str
) -> None:
    (app / "hang-holds").touch()
    holds = node.spawn("app:call", "narrow", "app:effect", {}, "holds")
    until(partial(ran, app, "holds", 1))
    options = {"activity.schedule_to_start_timeout": limit, "retry": FAST_CALL}
    late = node.spawn("app:call", "narrow", "app:effect", options, "late")
    node.until_recorded(late, "activity_scheduled")
    node.advance(11)
    with pytest.raises(PerdureError) as error:
        node.result(late)
    assert error.value.kind == Kind.TIMEOUT
    (app / "hang-holds").unlink()
    assert node.result(holds) == "holds"
    assert not calls(app, "late")


@only_on(EMBEDDED, "a server's worker has taken an activity that waits for a thread")
def test_the_wait_for_a_thread_of_its_pool_is_a_wait_to_start(app: Path, node: NodeProcess) -> None:
    (app / "hang-a").touch()
    first = node.spawn("app:call", HOST, "app:one", {}, "a")
    until(partial(ran, app, "a", 1))
    limited = {"activity.schedule_to_start_timeout": "10s"}
    late = node.spawn("app:call", HOST, "app:one", limited, "b")
    patient = node.spawn(
        "app:call", HOST, "app:one", {"activity.start_to_close_timeout": "10s"}, "c"
    )
    for pid in (late, patient):
        node.until_recorded(pid, "activity_scheduled")
    node.advance(11)
    with pytest.raises(PerdureError, match="no worker was free") as error:
        node.result(late)
    assert error.value.kind == Kind.TIMEOUT
    (app / "hang-a").unlink()
    assert node.result(first) == "a"
    assert node.result(patient) == "c", "start_to_close counts from the start"


def test_activities_of_a_task_queue_take_the_places_of_its_worker(
    app: Path, node: NodeProcess
) -> None:
    (app / "hang-first").touch()
    options = {"activity.task_queue": "narrow"}
    first = node.spawn("app:call", HOST, "app:effect", options, "first")
    until(partial(ran, app, "first", 1))
    second = node.spawn("app:call", HOST, "app:effect", options, "second")
    other = node.spawn("app:call", HOST, "app:effect", {"activity.task_queue": "orders"}, "other")
    for pid in (second, other):
        node.until_recorded(pid, "activity_scheduled")
    assert not calls(app, "second"), "the worker has one place"
    (app / "hang-first").unlink()
    assert [node.result(pid) for pid in (first, second)] == ["first", "second"]
    node.do("terminate", pid=other)
    assert not calls(app, "other"), "nobody serves that"


def test_a_task_queue_that_nobody_serves_is_waited_for(
    app: Path, node: NodeProcess, limit: str
) -> None:
    options = {"activity.task_queue": "nobody", "activity.schedule_to_start_timeout": limit}
    pid = node.spawn("app:call", HOST, "app:effect", options, "unserved")
    node.until_recorded(pid, "activity_scheduled")
    node.advance(11)
    with pytest.raises(PerdureError) as error:
        node.result(pid)
    assert error.value.kind == Kind.TIMEOUT
    assert not calls(app, "unserved")


@pytest.mark.parametrize("crash", [False, True])
def test_a_silent_attempt_times_out_and_the_next_one_learns_how_far_it_came(
    app: Path, node: NodeProcess, host: Host, limit: str, crash: bool
) -> None:
    name = f"b-{crash}"
    options = {"activity.heartbeat_timeout": limit, "activity.retry_policy": FAST}
    pid = node.spawn("app:call", HOST, "app:beats", options, name)
    for attempt in (1, 2):
        until(partial(ran, app, name, attempt))
        node.do("until_beaten", pid=pid, least=attempt)
        if crash:
            node.crash(wall=node.ahead)
        else:
            node.advance(11)
    assert node.result(pid) == 2
    assert calls(app, name) == [[0], [1], [2]]
    told = [moment for moment in node.told(pid) if moment["type"] == "activity_attempt"]
    # The history of a server has the last one.
    expected = [2, 3] if host.server is None else [3]
    assert [moment["data"]["attempt"] for moment in told] == expected


def test_the_last_of_many_heartbeats_counts(node: NodeProcess) -> None:
    options = {"activity.retry_policy": FAST}
    assert node.result(node.spawn("app:call", HOST, "app:hurries", options, "h")) == 50


@only_on(EMBEDDED, "its clock is moved")
def test_heartbeats_keep_an_attempt_alive(app: Path, node: NodeProcess) -> None:
    options = {"activity.heartbeat_timeout": "60s"}
    pid = node.spawn("app:call", HOST, "app:ticks", options, "t")
    node.do("until_beaten", pid=pid, least=1)
    for _ in range(3):
        node.advance(40)
        begun = (app / "ticks").stat().st_size
        node.do("until_beaten", pid=pid, least=begun + 1)  # that one is from after the jump
    assert node.kinds(pid)[-1] == "activity_scheduled"
    (app / "silence").touch()
    until(partial(ran, app, "silent", 1))  # a beat that was under way is not after the jump
    node.advance(61)
    with pytest.raises(PerdureError, match="no heartbeat for 60s"):
        node.result(pid)


@only_on(TEMPORAL, "its time passes by itself")
def test_heartbeats_keep_an_attempt_alive_on_a_server(node: NodeProcess) -> None:
    """Where the machine stands still for longer than that, another attempt is made."""
    policy = {"initial_interval": 1}
    options = {"activity.heartbeat_timeout": "500ms", "activity.retry_policy": policy}
    assert node.result(node.spawn("app:call", HOST, "app:persists", options, "p")) == "done"


def test_an_activity_has_the_id_and_a_key_of_its_own(app: Path, node: NodeProcess) -> None:
    options = {"activity.id": "charge-7"}
    assert node.result(node.spawn("app:twice", HOST, "app:knows", options)) == [
        ["charge-7", True],
        ["charge-7", False],
    ]
    assert node.result(node.spawn("app:call", HOST, "app:knows", {}, "k")) == ["none", True]


def test_two_pending_activities_of_a_run_have_no_id_in_common(app: Path, node: NodeProcess) -> None:
    (app / "hang-has-it").touch()
    pid = node.spawn("app:both", HOST, {"activity.id": "same"}, "has-it", "wants-it")
    until(partial(ran, app, "has-it", 1))
    (app / "hang-has-it").unlink()
    assert node.result(pid) == ["has-it", "AlreadyExists"]
    assert not calls(app, "wants-it")


@pytest.mark.parametrize("meanwhile", ["nothing", "a crash", "a stop"])
def test_a_cancelled_activity_that_is_waited_for_ends_when_its_function_does(
    app: Path, node: NodeProcess, host: Host, meanwhile: str
) -> None:
    """Its node gives the server signs of life while it tidies up. An orderly stop waits for none
    that was told to end."""
    name = f"c-{meanwhile}"
    (app / "hang-tidying").touch()
    options = {"activity.wait_for_cancellation": True}
    pid = node.spawn("app:cancels", HOST, "app:tidies", options, name)
    until(partial(ran, app, name, 1))
    node.send(pid, "cancel")
    until(partial(ran, app, f"{name}-tidied", 1))
    assert "activity_cancel_requested" in node.kinds(pid)
    if meanwhile == "nothing":
        if host.server is not None:
            time.sleep(1.5)  # the server gives up an activity without any for 1 s
        (app / "hang-tidying").unlink()
        assert node.result(pid) == [True, True, False, "tidied"]
    else:
        if meanwhile == "a stop":
            node.stop()
        node.crash(wall=node.ahead)
        assert node.result(pid) == [True, True, True, "canceled"]
    assert calls(app, f"{name}-tidied") == [["Canceled"]]


def test_a_lua_function_that_is_waited_for_gets_a_cancel_event(node: NodeProcess) -> None:
    options = {"temporal.activity.wait_for_cancellation": True}
    pid = node.spawn("app:cancels", HOST, "app:listens", options, "l")
    node.until_recorded(pid, "activity_scheduled")
    node.send(pid, "cancel")
    assert node.result(pid) == [True, True, False, "heard pid.cancel"]


def test_without_the_option_a_cancelled_activity_is_over_at_once(
    app: Path, node: NodeProcess
) -> None:
    pid = node.spawn("app:cancels", HOST, "app:tidies", {}, "o")
    until(partial(ran, app, "o", 1))
    node.send(pid, "cancel")
    assert node.result(pid) == [True, False, True, "canceled"]


@pytest.mark.parametrize("crash", [False, True])
def test_schedule_to_close_counts_all_attempts_and_the_time_a_node_was_down(
    app: Path, node: NodeProcess, host: Host, crash: bool
) -> None:
    name = f"e-{crash}"
    (app / f"hang-{name}").touch()
    total, each = ("60s", "40s") if host.server is None else ("2500ms", "1s")
    options = {
        "activity.schedule_to_close_timeout": total,
        "activity.start_to_close_timeout": each,
        "activity.retry_policy": {"initial_interval": 1},
    }
    pid = node.spawn("app:call", HOST, "app:effect", options, name)
    until(partial(ran, app, name, 1))
    if crash:
        node.crash(wall=node.ahead + 41)
    else:
        node.advance(41)
    until(lambda: len(calls(app, name)) > 1)
    node.advance(20)
    with pytest.raises(PerdureError) as error:
        node.result(pid)
    assert error.value.kind == Kind.TIMEOUT
