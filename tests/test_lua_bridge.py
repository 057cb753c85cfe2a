"""What Python functions raise and return reaches the prelude without harm."""

from __future__ import annotations

import gc
import weakref

import pytest

from runtime.errors import Kind, PerdureError
from runtime.lua import bridge
from tests.machine_harness import Node, error_of, run


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines made in the test have a source of randomness that refuses."""

    def refuse(size: int) -> bytes:
        raise PerdureError(Kind.UNAVAILABLE, f"no {size} bytes")

    monkeypatch.setitem(bridge.FUNCTIONS, "entropy", refuse)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with one that is broken."""

    def fail(size: int) -> bytes:
        raise ZeroDivisionError("by \udcff")

    monkeypatch.setitem(bridge.FUNCTIONS, "entropy", fail)
    # A report with such a text in it cannot travel between the processes that run the tests.
    monkeypatch.setattr(bridge.logger, "disabled", True)


@pytest.mark.usefixtures("refusing")
def test_an_error_of_ours_keeps_its_kind() -> None:
    error = error_of(lambda: run("return uuid.v4()"))
    assert (error.kind, error.message) == (Kind.UNAVAILABLE, "no 16 bytes")


@pytest.mark.usefixtures("failing")
def test_no_python_exception_gets_into_lua() -> None:
    """One would hand user code the interpreter, by its attributes."""
    source = """
        local ok, e = pcall(uuid.v4)
        return {ok, type(e), errors.is(e, errors.INTERNAL), e:message(), e.__class__ == nil}
    """
    assert run(source) == [False, "userdata", True, "ZeroDivisionError: by ?", True]


@pytest.mark.timeout(20)
def test_a_result_that_does_not_fit_costs_the_process_and_not_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(bridge.FUNCTIONS, "entropy", lambda size: b"x" * (64 << 20))
    node = Node({"main": "for i = 1, 1e6 do pcall(uuid.v4) end"}, memory=20 << 20)
    error = error_of(lambda: node.run("main"))
    assert error.message.startswith("process killed: out of memory")


@pytest.mark.timeout(20)
def test_the_limit_is_back_after_a_call() -> None:
    source = """
        local kept = {}
        uuid.v4()
        pcall(function() for i = 1, 1000 do kept[i] = ("x"):rep(1 << 20) .. i end end)
        print("still here")
    """
    node = Node({"main": source}, memory=20 << 20)
    error = error_of(lambda: node.run("main"))
    assert error.message.startswith("process killed: out of memory")
    assert node.logged() == []


def test_a_machine_that_nobody_holds_is_freed() -> None:
    node = Node({"main": "return #uuid.v4()"})
    assert node.run("main") == 36
    machine = weakref.ref(node.machine)
    del node
    gc.collect()
    assert machine() is None
