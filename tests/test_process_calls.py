"""funcs.call and node.call: which function runs, what comes back, and when it is given up."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts.clients import Clients
from runtime.errors import Kind, PerdureError
from runtime.routing.router import Router
from tests.process_lab import (
    PATIENCE,
    NodeClock,
    eventually,
    failure,
    function,
    process,
    run,
    running,
)
from tests.services import in_background

#: Calls the function it is given and tells how that ended.
CALLER = process("""
    local id, options, a, b = ...
    local funcs = require("funcs")
    local executor = funcs.new()
    if options then executor = executor:with_options(options) end
    local value, err = executor:call(id, a, b)
    if not err then return {value = value} end
    return {message = err:message(), kind = err:kind(), retryable = err:retryable(),
            details = err:details()}
""")
ADD = function("local a, b = ... return a + b")
PY = """
import threading
from runtime.api import PerdureError, ctx, heartbeat

attempts = []
begun, cancelled = threading.Event(), threading.Event()

def add(a, b): return a + b
async def async_add(a, b): return a + b
def fails(*_): raise PerdureError("Conflict", "not so", True, {"n": [1, 2.5]})
def raises(*_): raise ValueError("odd")
def leaves(*_): raise SystemExit(3)
def pair(*_): return None, "second"
def tenant(*_): return ctx.get("tenant")
def unsendable(*_): return object()

def until_third(*_):
    attempts.append(1)
    if len(attempts) < 3: raise PerdureError("Unavailable", "not yet")
    return len(attempts)

def never_again(*_):
    attempts.append(1)
    raise PerdureError("Invalid", "hopeless", False)

def endless(*_):
    begun.set()
    try:
        while True:
            heartbeat()
            threading.Event().wait(0.005)
    finally:
        cancelled.set()
"""


def python(name: str) -> dict[str, object]:
    return {"kind": "function.python", "target": f"fns:{name}"}


PYTHON_FUNCTIONS = {
    name: python(name)
    for name in (
        "async_add", "fails", "raises", "leaves", "pair", "tenant", "unsendable", "until_third",
        "never_again", "endless",
    )
}  # fmt: skip


@pytest.mark.parametrize("target", ["app:add", "app:pyadd", "app:async_add", "app:served"])
@pytest.mark.parametrize("options", [None, {"timeout": "30s"}])
def test_functions_of_every_kind_are_called(
    tmp_path: Path, target: str, options: dict[str, object] | None
) -> None:
    entries = {
        "caller": CALLER,
        "add": ADD,
        "pyadd": python("add"),
        "served": process("local a, b = ... return a + b", meta={"default_host": "two"}),
        **PYTHON_FUNCTIONS,
    }
    with running(tmp_path, entries, {"fns": PY}) as node:
        assert run(node, "app:caller", "app:one", target, options, 1, 2) == {"value": 3}
        assert node.call(target, 1, 2, timeout=PATIENCE) == 3


@pytest.mark.parametrize("target", ["app:fails", "app:luafails", "app:served"])
@pytest.mark.parametrize("pool", ["inline", "static"])
def test_an_error_keeps_all_it_is(tmp_path: Path, target: str, pool: str) -> None:
    source = """
        return nil, errors.new({message = "not so", kind = "Conflict", retryable = true,
                                details = {n = {1, 2.5}}})
    """
    entries = {
        "caller": CALLER,
        "luafails": function(source, pool={"type": pool, "workers": 1}),
        "served": process(source, meta={"default_host": "app:other"}),
        **PYTHON_FUNCTIONS,
    }
    with running(tmp_path, entries, {"fns": PY}) as node:
        assert run(node, "app:caller", "app:one", target) == {
            "message": "not so",
            "kind": Kind.CONFLICT,
            "retryable": True,
            "details": {"n": [1, 2.5]},
        }
        with pytest.raises(PerdureError, match="not so") as caught:
            node.call(target, timeout=PATIENCE)
        assert caught.value.kind == Kind.CONFLICT
        assert caught.value.retryable is True
        assert caught.value.details == {"n": [1, 2.5]}


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        ("app:raises", Kind.INTERNAL, "ValueError: odd"),
        ("app:leaves", Kind.INTERNAL, "SystemExit: 3"),
        ("app:pair", Kind.UNKNOWN, "second"),
        ("app:unsendable", Kind.INVALID, "app:unsendable returned"),
        ("app:luaraises", Kind.INTERNAL, "odd"),
        ("app:none", Kind.NOT_FOUND, "app:none"),
        ("", Kind.INVALID, "namespace:name"),
        ("add", Kind.INVALID, "namespace:name"),
        ("app:one", Kind.INVALID, "process.host"),
        ("app:caller", Kind.INVALID, "default_host"),
    ],
)
def test_calls_that_fail(tmp_path: Path, target: str, kind: str, text: str) -> None:
    entries = {"caller": CALLER, "luaraises": function('error("odd")'), **PYTHON_FUNCTIONS}
    with running(tmp_path, entries, {"fns": PY}) as node:
        heard = run(node, "app:caller", "app:one", target)
        assert heard["kind"] == kind
        assert text in heard["message"]
        with pytest.raises(PerdureError) as caught:
            node.call(target, timeout=PATIENCE)
        assert caught.value.kind == kind
        assert text in caught.value.message
        assert node.call("app:async_add", 1, 2, timeout=PATIENCE) == 3


def test_context_reaches_python(tmp_path: Path) -> None:
    with running(tmp_path, {"caller": CALLER, **PYTHON_FUNCTIONS}, {"fns": PY}) as node:
        pid = node.spawn("app:caller", "app:one", "app:tenant", context={"tenant": "t"})
        assert node.result(pid, PATIENCE) == {"value": "t"}
        assert node.call("app:tenant", context={"tenant": "u"}, timeout=PATIENCE) == "u"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": "10"}, "not a duration"),
        ({"timeout": -1}, "not a duration"),
        ({"timout": 10}, 'did you mean "timeout"'),
        ({"retry": 3}, "give a table"),
        ({"retry": {"max_atempts": 3}}, 'did you mean "max_attempts"'),
        ({"retry": {"max_attempts": 0}}, "a whole number from 1"),
        ({"retry": {"backoff_factor": 0.5}}, "a number from 1"),
    ],
)
def test_options_that_are_wrong(tmp_path: Path, options: dict[str, object], text: str) -> None:
    with running(tmp_path, {"caller": CALLER, "add": ADD}) as node:
        heard = run(node, "app:caller", "app:one", "app:add", options, 1, 2)
    assert heard["kind"] == Kind.INVALID
    assert text in heard["message"]


def test_options_of_activities_are_left_aside_elsewhere(tmp_path: Path) -> None:
    options = {"activity.start_to_close_timeout": "1s", "temporal.activity.id": "x"}
    with running(tmp_path, {"caller": CALLER, "add": ADD}) as node:
        assert run(node, "app:caller", "app:one", "app:add", options, 1, 2) == {"value": 3}


@pytest.mark.parametrize("target", ["app:endless", "app:sleeps", "app:served"])
def test_a_timeout_gives_up_on_the_injected_clock(tmp_path: Path, target: str) -> None:
    sleeps = 'require("time").sleep("1h") return 1'
    entries = {
        "caller": CALLER,
        "sleeps": function(sleeps),
        "served": process(sleeps, meta={"default_host": "app:other"}),
        **PYTHON_FUNCTIONS,
    }
    clock = NodeClock()
    with running(tmp_path, entries, {"fns": PY}, clock=clock) as node:
        caller = node.spawn("app:caller", "app:one", target, {"timeout": "10s"})
        eventually(lambda: node.timers.next_due() is not None)
        clock.advance(node.timers, 9_999_999_999)
        with pytest.raises(PerdureError) as caught:
            node.result(caller, 0)
        assert caught.value.kind == Kind.TIMEOUT
        clock.advance(node.timers, 1)
        heard = node.result(caller, PATIENCE)
        assert heard["kind"] == Kind.TIMEOUT
        assert target in heard["message"]
        eventually(lambda: len(node.processes()) == 0)


@pytest.mark.parametrize("target", ["app:sleeps", "app:served"])
def test_a_timeout_that_is_over_while_the_call_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    sleeps = 'require("time").sleep("1h") return 1'
    entries = {
        "caller": CALLER,
        "sleeps": function(sleeps),
        "served": process(sleeps, meta={"default_host": "app:other"}),
    }
    clock = NodeClock()
    with running(tmp_path, entries, clock=clock) as node:

        def late(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                clock.advance(node.timers, 10_000_000_000)
                return method(*args)

            return call

        monkeypatch.setattr(Clients, "expect", late(Clients.expect))
        monkeypatch.setattr(Router, "spawn", late(Router.spawn))
        heard = run(node, "app:caller", "app:one", target, {"timeout": "10s"})
    assert heard["kind"] == Kind.TIMEOUT


def test_retries_wait_on_the_injected_clock(tmp_path: Path) -> None:
    clock = NodeClock()
    entries = {"caller": CALLER, **PYTHON_FUNCTIONS}
    with running(tmp_path, entries, {"fns": PY}, clock=clock) as node:
        retry = {"max_attempts": 5, "initial_delay": "10s", "backoff_factor": 2}
        caller = node.spawn("app:caller", "app:one", "app:until_third", {"retry": retry})
        attempts = sys.modules["fns"].attempts
        for made, delay in ((1, 10), (2, 20)):
            eventually(lambda: node.timers.next_due() is not None)
            assert len(attempts) == made
            due = node.timers.next_due()
            assert due is not None
            assert 0.9 * delay <= (due - clock.monotonic()) / 1e9 <= delay
            clock.advance(node.timers, due - clock.monotonic())
        assert node.result(caller, PATIENCE) == {"value": 3}


@pytest.mark.parametrize(("target", "made"), [("app:never_again", 1), ("app:until_third", 2)])
def test_retries_end(tmp_path: Path, target: str, made: int) -> None:
    retry = {"max_attempts": 2, "initial_delay": 0}
    with running(tmp_path, {"caller": CALLER, **PYTHON_FUNCTIONS}, {"fns": PY}) as node:
        heard = run(node, "app:caller", "app:one", target, {"retry": retry})
        assert "kind" in heard
        assert len(sys.modules["fns"].attempts) == made


@pytest.mark.parametrize("options", [None, {"retry": {"max_attempts": 3}}])
@pytest.mark.parametrize("end", ["terminate", "return"])
def test_a_call_is_cancelled_when_its_caller_ends(
    tmp_path: Path, end: str, options: dict[str, object] | None
) -> None:
    caller = process("""
        local options = ...
        local funcs = require("funcs")
        local executor = options and funcs.new():with_options(options) or funcs
        if options then executor:async("app:endless") else executor.async("app:endless") end
        process.inbox():receive()
    """)
    with running(tmp_path, {"caller": caller, **PYTHON_FUNCTIONS}, {"fns": PY}) as node:
        pid = node.spawn("app:caller", "app:one", options)
        module = sys.modules["fns"]
        assert module.begun.wait(PATIENCE)
        assert not module.cancelled.is_set()
        if end == "terminate":
            node.terminate(pid)
        else:
            node.send(pid, "return")
        assert module.cancelled.wait(PATIENCE)


def test_a_called_process_is_cancelled_when_its_caller_ends(tmp_path: Path) -> None:
    served = process("process.inbox():receive()", meta={"default_host": "app:other"})
    with running(tmp_path, {"caller": CALLER, "served": served}) as node:
        pid = node.spawn("app:caller", "app:one", "app:served")
        eventually(lambda: len(node.processes()) == 2)
        node.terminate(pid)
        eventually(lambda: len(node.processes()) == 0)
        assert failure(node, pid).kind == Kind.CANCELED


@pytest.mark.parametrize("target", ["app:endless", "app:served", "app:sleeps"])
def test_a_call_from_python_ends_with_the_node(tmp_path: Path, target: str) -> None:
    entries = {
        "served": process("process.inbox():receive()", meta={"default_host": "app:other"}),
        "sleeps": function('require("time").sleep("1h")'),
        **PYTHON_FUNCTIONS,
    }
    with running(tmp_path, entries, {"fns": PY}) as node:
        call = in_background(lambda: node.call(target))
        eventually(lambda: bool(node.clients._waiting))
    with pytest.raises(PerdureError) as caught:
        call.result(PATIENCE)
    assert caught.value.kind in (Kind.CANCELED, Kind.UNAVAILABLE)


def test_futures(tmp_path: Path) -> None:
    source = process("""
        local funcs = require("funcs")
        local sum, failing, endless = funcs.async("app:add", 1, 2), funcs.async("app:fails"),
          funcs.async("app:endless")
        local payload = sum:response():receive()
        local err = failing:response():receive()
        local before = {endless:is_complete(), endless:is_canceled(), endless:cancel()}
        local _, canceled = endless:result()
        return {payload:data(), err:kind(), before[1], before[2], before[3],
                endless:is_canceled(), canceled:kind(), canceled:message()}
    """)
    entries = {"source": source, "add": python("add"), **PYTHON_FUNCTIONS}
    with running(tmp_path, entries, {"fns": PY}) as node:
        assert run(node, "app:source", "app:one") == [
            3, Kind.CONFLICT, False, False, True, True, Kind.CANCELED, "canceled",
        ]  # fmt: skip


def test_calls_from_many_threads_at_once(tmp_path: Path) -> None:
    with running(tmp_path, {"add": ADD, "pyadd": python("add")}, {"fns": PY}) as node:
        wrong: list[object] = []

        def calls(number: int) -> None:
            for target in ("app:add", "app:pyadd") * 20:
                if node.call(target, number, 1, timeout=PATIENCE) != number + 1:
                    wrong.append((target, number))

        threads = [threading.Thread(target=calls, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
