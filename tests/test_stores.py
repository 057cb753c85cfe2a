"""Stores: one behaviour in memory and on disk; what is on disk stays, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from journal.errors import BadRecordError, JournalFullError
from journal.files import Handles, Transaction
from journal.kv import MAX_KEY, SWEPT, Change, KeyValues
from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.node import Node
from tests.clock import S
from tests.durable_lab import durable_app
from tests.process_lab import (
    PATIENCE,
    NodeClock,
    eventually,
    function,
    process,
    run,
    running,
    write_app,
)

MODULES = ["store", "funcs", "time"]

ENTRIES: dict[str, dict[str, Any]] = {
    "memory": {"kind": "store.memory", "max_size": 100},
    "disk": {"kind": "store.lmdb", "path": "./data/kv"},
    # Runs the rest of its arguments as a list of {method, …} on one store.
    "does": process(
        """
        local id, steps = ...
        local handle = assert(require("store").get(id))
        local results = {}
        for i, step in ipairs(steps) do
            local value, err = handle[step[1]](handle, step[2], step[3], step[4])
            results[i] = err and { err:kind(), err:message() } or { value }
        end
        return results
        """,
        modules=MODULES,
    ),
    "counts": process(
        """
        local id, n = ...
        local handle = require("store").get(id)
        for i = 1, n do assert(handle:set("key " .. i, i)) end
        return true
        """,
        modules=MODULES,
    ),
    "f": function(
        """
        local handle = assert(require("store").get((...)))
        assert(handle:set("from", "a function"))
        local value = handle:get("from")
        handle:release()
        local late, err = handle:get("from")
        return { value, late == nil and err:kind(), handle:release() }
        """,
        modules=MODULES,
    ),
    "wrong": process(
        """
        local store, wrong = require("store"), {}
        local s = store.get("app:memory")
        for i, call in ipairs({
            function() return store.get() end,
            function() return store.get("") end,
            function() return store.get("memory") end,
            function() return store.get("app:nothing") end,
            function() return store.get("app:one") end,
            function() return s:get() end,
            function() return s:get("") end,
            function() return s:has(5) end,
            function() return s:set("k") end,
            function() return s:set("k", 1, -1) end,
            function() return s:set("k", 1, "soon") end,
            function() return s:set("k", 1, 1e300) end,
            function() return s:set("k", { [{}] = 1 }) end,
            function() return s:set(("k"):rep(504), 1) end,
            function() return s:get("nobody's") end,
        }) do
            local value, err = call()
            wrong[i] = { value == nil, err:kind(), err:message() }
        end
        return wrong
        """,
        modules=MODULES,
    ),
}
STORES = ("app:memory", "app:disk")


@pytest.fixture(scope="module")
def clock() -> NodeClock:
    return NodeClock()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, clock: NodeClock) -> Iterator[Node]:
    with running(tmp_path_factory.mktemp("stores"), ENTRIES, clock=clock) as node:
        yield node


def does(node: Node, store: str, *steps: Any) -> list[Any]:
    return run(node, "app:does", "app:one", store, [list(step) for step in steps])  # type: ignore[no-any-return]


VALUES = [0, 2**53 + 1, 1.0, 2.5, "text", b"\xff\x00", True, False, [1, [2, {"a": "b"}]], {"k": []}]


@pytest.mark.parametrize("store", STORES)
def test_what_is_set_is_there_as_it_was(node: Node, store: str) -> None:
    for value in VALUES:
        assert does(node, store, ("set", "v", value), ("get", "v"), ("has", "v")) == [
            [True], [value], [True]
        ]  # fmt: skip
    gone = does(node, store, ("delete", "v"), ("get", "v"), ("has", "v"), ("delete", "v"))
    assert gone == [
        [True],
        ["NotFound", f'{store} has no value for "v"'],
        [False],
        [False],
    ]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("ttl", [10, 10.0, "10s"])
def test_a_value_is_seen_until_its_ttl_is_over(
    node: Node, clock: NodeClock, store: str, ttl: Any
) -> None:
    assert does(node, store, ("set", "brief", 1, ttl), ("set", "long", 2)) == [[True]] * 2
    clock.advance(node.timers, 10 * S - 1)
    assert does(node, store, ("has", "brief"), ("get", "brief")) == [[True], [1]]
    clock.advance(node.timers, 1)
    assert does(node, store, ("has", "brief"), ("get", "long"), ("delete", "brief")) == [
        [False], [2], [False]
    ]  # fmt: skip
    # A new value has a time of its own: that of the last does not end it.
    does(node, store, ("set", "again", 1, 5), ("set", "again", 2, 60))
    clock.advance(node.timers, 10 * S)
    assert does(node, store, ("set", "other", 1), ("get", "again")) == [[True], [2]]
    does(node, store, ("set", "again", 3))
    clock.advance(node.timers, 100 * S)
    assert does(node, store, ("set", "other", 1), ("get", "again"))[1] == [3]


def test_functions_have_stores_and_a_released_handle_is_of_no_use(node: Node) -> None:
    for store in STORES:
        assert node.call("app:f", store, timeout=PATIENCE) == ["a function", "Invalid", False]


def test_wrong_arguments_say_what_is_wrong(node: Node) -> None:
    wrong = run(node, "app:wrong", "app:one")
    kinds = ["Invalid"] * 3 + ["NotFound"] * 2 + ["Invalid"] * 9 + ["NotFound"]
    assert [each[:2] for each in wrong] == [[True, kind] for kind in kinds]
    texts = [each[2] for each in wrong]
    assert texts[2] == 'store.get: store id must be namespace:name, got "memory"'
    assert texts[3].startswith("there is no app:nothing; ")
    assert texts[4].startswith("app:one is a process.host; ")
    assert texts[8] == "store:set: the value is nil: use store:delete"
    assert "a key of 504 bytes: at most 503" in texts[13]


def test_a_full_store_takes_no_new_key_and_loses_none(node: Node, clock: NodeClock) -> None:
    with pytest.raises(PerdureError) as raised:
        run(node, "app:counts", "app:one", "app:memory", 101)
    assert "app:memory is full: it holds 100 values" in str(raised.value)
    some = does(node, "app:memory", ("set", "key 1", "new"), ("get", "key 1"), ("set", "x", 1, 1))
    assert some[:2] == [[True], ["new"]]
    assert some[2][0] == "Unavailable"
    does(node, "app:memory", ("delete", "key 2"), ("set", "brief", 1, 1))
    clock.advance(node.timers, S)
    assert does(node, "app:memory", ("set", "room", 1)) == [[True]]


def test_values_on_disk_are_there_after_a_restart(tmp_path: Path) -> None:
    app = write_app(tmp_path, ENTRIES)
    with Node.from_path(app) as node:
        does(node, "app:disk", ("set", "k", {"n": 1}))
        does(node, "app:memory", ("set", "k", {"n": 1}))
    with Node.from_path(app) as node:
        assert does(node, "app:disk", ("get", "k")) == [[{"n": 1}]]
        assert does(node, "app:memory", ("has", "k")) == [[False]]


def test_a_store_that_does_not_run_says_so(tmp_path: Path) -> None:
    with running(tmp_path, ENTRIES) as node:
        node.supervisor.stop_child("app:disk")
        (refused,) = does(node, "app:disk", ("set", "k", 1))
        assert refused == ["Unavailable", "app:disk is not running"]
        node.supervisor.start_child("app:disk")
        eventually(lambda: does(node, "app:disk", ("set", "k", 1)) == [[True]])


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ENTRIES)
    code = f"""
    from supervision.node import Node
    node = Node.from_path({str(app)!r})
    node.start()
    n = 0
    while True:
        n += 1
        node.result(node.spawn("app:does", "app:one", "app:disk", [["set", f"k{{n}}", n]]))
        print(n, flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(30)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    child.wait()
    child.stdout.close()
    with Node.from_path(app) as node:
        steps = [("get", f"k{n}") for n in acknowledged]
        assert does(node, "app:disk", *steps) == [[n] for n in acknowledged]


def test_a_workflow_is_told_to_call_a_function(tmp_path: Path) -> None:
    source = 'local s, err = require("store").get("app:kv") return {err:kind(), err:message()}'
    entries = "- {name: kv, kind: store.memory}\n"
    app = durable_app(tmp_path / "app", {"main": source}, entries=entries)
    with Node.from_path(app) as node:
        found = node.result(node.spawn("app:main", "app:orders"), PATIENCE)
    assert found == [
        "Invalid",
        "store.get: not supported in workflow context: call a function that does it",
    ]


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a path is missing": ({"kind": "store.lmdb"}, 'the field "path" is missing'),
    "a size is no number": ({"kind": "store.memory", "max_size": "big"}, "max_size"),
    "a field is unknown": ({"kind": "store.memory", "size": 5}, 'unknown field "size"'),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_store_is_a_configuration_error(tmp_path: Path, case: str) -> None:
    entry, message = CONFIGURATIONS[case]
    with pytest.raises(ConfigurationError, match=message):
        Node.from_path(write_app(tmp_path, {"kv": entry}))


def test_a_store_and_a_journal_cannot_share_a_folder(tmp_path: Path) -> None:
    entries = {
        "journal": {"kind": "journal.lmdb", "path": "./data/x"},
        "kv": {"kind": "store.lmdb", "path": "./data/x"},
    }
    with pytest.raises(ConfigurationError, match="path is that of app:journal"):
        Node.from_path(write_app(tmp_path, entries))


# The environment ----------------------------------------------------------------------------------


def commit(values: KeyValues, *changes: Change) -> None:
    answers: SimpleQueue[Exception | None] = SimpleQueue()
    for change in changes:
        values.submit(change, answers.put)
    for _ in changes:
        if (problem := answers.get(timeout=PATIENCE)) is not None:
            raise problem


@pytest.fixture
def values(tmp_path: Path) -> Iterator[KeyValues]:
    values = KeyValues.open(tmp_path / "kv", 1 << 16)
    yield values
    values.close()


def rows(values: KeyValues) -> tuple[int, int]:
    """Rows of values and of expiry."""
    with values._env.read() as (txn, handles):
        return txn.stat(handles[1])["entries"], txn.stat(handles[2])["entries"]


def test_expired_values_go_with_later_commits(values: KeyValues) -> None:
    count = 3 * SWEPT
    commit(values, *(Change(b"k%d" % n, b"v", 0, expires=10 + n) for n in range(count)))
    assert rows(values) == (count, count)
    assert values.get(b"k0", 10) is None
    for _ in range(3):
        commit(values, Change(b"other", b"v", 10_000))
    assert rows(values) == (1, 0)


def test_a_value_that_was_set_anew_outlives_its_first_time(values: KeyValues) -> None:
    commit(values, Change(b"k", b"1", 0, expires=10), Change(b"k", b"2", 0, expires=100))
    commit(values, Change(b"k2", b"1", 0, expires=10), Change(b"k2", b"2", 0))
    commit(values, Change(b"other", b"", 50))
    assert (values.get(b"k", 50), values.get(b"k2", 50)) == (b"2", b"2")
    assert rows(values) == (3, 1)


def test_the_map_grows_and_the_longest_key_fits(values: KeyValues) -> None:
    keys = [bytes([n]) * MAX_KEY for n in range(1, 200)]
    commit(values, *(Change(key, bytes(4000), 0, expires=5) for key in keys))
    assert all(values.get(key, 0) == bytes(4000) for key in keys)


def test_a_damaged_value_hurts_itself_only_and_can_be_set_anew(values: KeyValues) -> None:
    commit(values, Change(b"a", b"1", 0, expires=9), Change(b"b", b"2", 0))

    def damage(txn: Transaction, handles: Handles) -> None:
        txn.put(b"a", b"\1\1rubbish", db=handles[1])

    values._env.write(damage)
    with pytest.raises(BadRecordError):
        values.get(b"a", 0)
    assert values.get(b"b", 0) == b"2"
    commit(values, Change(b"a", b"3", 0))
    commit(values, Change(b"c", b"", 50))
    assert values.get(b"a", 50) == b"3"


def test_a_full_disk_refuses_and_goes_on(
    values: KeyValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(values, Change(b"a", b"1", 0))
    full = JournalFullError("no space")

    def refuse(apply: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(values._env, "write", refuse)
        with pytest.raises(JournalFullError):
            commit(values, Change(b"a", b"2", 0))
    assert values.get(b"a", 0) == b"1"
    commit(values, Change(b"a", b"3", 0))
    assert values.get(b"a", 0) == b"3"
