"""Variables: where their values come from, who may set them, and what a workflow remembers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.config.problems import ConfigurationError
from supervision.control.workflows import history
from supervision.node import Node
from tests.crash_lab import NodeProcess
from tests.durable_lab import HOST, durable_app, kinds_on_disk
from tests.process_lab import PATIENCE, eventually, process, run, running, write_app

MODULES = ["env"]

VARIABLES: dict[str, dict[str, Any]] = {
    "memory": {"kind": "env.storage.memory"},
    "os": {"kind": "env.storage.os"},
    "both": {"kind": "env.storage.router", "storages": ["memory", "os"]},
    "os_first": {"kind": "env.storage.router", "storages": ["app:os", "app:both"]},
    "port": {
        "kind": "env.variable",
        "storage": "memory",
        "variable": "PORT",
        "default": "8080",
    },
    "home": {"kind": "env.variable", "storage": "os", "variable": "PERDURE_TEST_HOME"},
    "layered": {"kind": "env.variable", "storage": "both", "variable": "PERDURE_TEST_LAYERED"},
    "fixed": {
        "kind": "env.variable",
        "storage": "memory",
        "variable": "FIXED",
        "default": "x",
        "read_only": True,
    },
    "secret": {"kind": "env.variable", "storage": "memory", "default": "hush"},
    "nested": {"kind": "env.variable", "storage": "os_first", "variable": "PERDURE_TEST_NESTED"},
}

ENTRIES = {
    **VARIABLES,
    "does": process(
        """
        local env, results = require("env"), {}
        for i, step in ipairs((...)) do
            local value, err = env[step[1]](step[2], step[3])
            results[i] = err and { err:kind(), err:message() } or { value }
        end
        return results
        """,
        modules=MODULES,
    ),
}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    for name in ("HOME", "LAYERED", "NESTED"):
        monkeypatch.delenv(f"PERDURE_TEST_{name}", raising=False)
    with running(tmp_path, ENTRIES) as node:
        yield node


def does(node: Node, *steps: Any) -> list[Any]:
    return run(node, "app:does", "app:one", [list(step) for step in steps])  # type: ignore[no-any-return]


def test_a_variable_has_the_value_of_its_storage_or_its_default(node: Node) -> None:
    assert does(
        node,
        ("get", "PORT"),
        ("set", "PORT", "9090"),
        ("get", "PORT"),
        ("get", "app:port"),
        ("set", "PORT", ""),
        ("get", "PORT"),
        ("get", "app:secret"),
    ) == [["8080"], [True], ["9090"], ["9090"], [True], [""], ["hush"]]


def test_the_environment_of_the_process_is_read_and_never_written(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    (missing,) = does(node, ("get", "PERDURE_TEST_HOME"))
    assert missing == [
        "NotFound",
        "PERDURE_TEST_HOME has no value in app:os, and app:home no default",
    ]
    monkeypatch.setenv("PERDURE_TEST_HOME", "/home/ann")
    got, refused = does(node, ("get", "PERDURE_TEST_HOME"), ("set", "PERDURE_TEST_HOME", "x"))
    assert got == ["/home/ann"]
    assert refused[0] == "PermissionDenied"
    assert "env.storage.router" in refused[1]
    monkeypatch.setenv("PERDURE_TEST_HOME", "\udcff")
    assert does(node, ("get", "PERDURE_TEST_HOME")) == [[b"\xff"]]


def test_a_router_asks_in_turn_and_writes_to_its_first(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_TEST_LAYERED", "outside")
    name = "PERDURE_TEST_LAYERED"
    assert does(node, ("get", name), ("set", name, "inside"), ("get", name)) == [
        ["outside"], [True], ["inside"]
    ]  # fmt: skip
    (refused,) = does(node, ("set", "PERDURE_TEST_NESTED", "x"))
    assert refused[0] == "PermissionDenied"
    monkeypatch.setenv("PERDURE_TEST_NESTED", "deep")
    assert does(node, ("get", "PERDURE_TEST_NESTED")) == [["deep"]]


def test_get_all_gives_what_has_a_name_and_a_value(node: Node) -> None:
    does(node, ("set", "PORT", "1"))
    assert does(node, ("get_all",)) == [[{"PORT": "1", "FIXED": "x"}]]


def test_what_cannot_be_had_says_why(node: Node) -> None:
    assert does(
        node,
        ("get", ""),
        ("get", 5),
        ("get", "PROT"),
        ("get", "PATH"),
        ("set", "FIXED", "y"),
        ("set", "PORT", 5),
        ("set", "NOTHING", "x"),
        ("set", "", "x"),
    ) == [
        ["Invalid", 'env.get: name must be a text, got ""'],
        ["Invalid", "env.get: name must be a text, got 5"],
        ["NotFound", no_such("PROT").replace("; ", '; did you mean "PORT"? ', 1)],
        ["NotFound", no_such("PATH")],
        ["PermissionDenied", "app:fixed is read_only"],
        ["Invalid", "env.set: value must be a text, got 5"],
        ["NotFound", no_such("NOTHING")],
        ["Invalid", 'env.set: name must be a text, got ""'],
    ]


def no_such(name: str) -> str:
    known = ", ".join(sorted(f"app:{key}" for key, each in VARIABLES.items() if "storage" in each))
    return f'there is no variable "{name}"; the variables are {known}'


WORKFLOW = """
local env = require("env")
local before = env.get("PERDURE_TEST_STAGE")
local missing, err = env.get("nothing")
assert(env.set("COUNT", "1"))
local all = env.get_all()
local signal = process.inbox():receive()
return { before, err:kind(), all.COUNT, env.get("PERDURE_TEST_STAGE") }
"""

WORKFLOW_VARIABLES = """
- {name: os, kind: env.storage.os}
- {name: memory, kind: env.storage.memory}
- {name: stage, kind: env.variable, storage: os, variable: PERDURE_TEST_STAGE}
- {name: count, kind: env.variable, storage: memory, variable: COUNT}
"""


def test_a_workflow_keeps_what_it_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = durable_app(tmp_path / "app", {"main": WORKFLOW}, entries=WORKFLOW_VARIABLES)
    monkeypatch.setenv("PERDURE_TEST_STAGE", "first")
    with Node.from_path(app) as node:
        pid = node.spawn("app:main", "app:orders", options={"workflow.id": "w"})
        eventually(lambda: answers(node) == 4)
    monkeypatch.setenv("PERDURE_TEST_STAGE", "second")
    with Node.from_path(app) as node:
        node.send(pid, "go on")
        assert node.result(pid, PATIENCE) == ["first", "NotFound", "1", "second"]
    assert kinds_on_disk(app, "w").count("asked") == 5


@pytest.mark.parametrize("point", ["journal.commit.after", "host.effect.before"])
def test_what_a_workflow_asked_before_a_crash_is_answered_after_it(
    tmp_path: Path, point: str
) -> None:
    source = """
    local env = require("env")
    return { env.set("COUNT", "1"), (env.get("COUNT")) }
    """
    app = durable_app(tmp_path / "app", {"main": source}, entries=WORKFLOW_VARIABLES)
    with NodeProcess(app) as node:
        node.do("arm", fault=f"{point}:1")
        node.ask("spawn", entry="app:main", host=HOST, args=[], options={"workflow.id": "w"})
        node.wait_dead()
        node.crash()
        assert node.result("{app:orders|w}") == [True, "1"]


def answers(node: Node) -> int:
    return sum(record["type"] == "answered" for record in history(node, "w"))


CONFIGURATIONS: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "no storage": ({"a": {"kind": "env.variable", "variable": "A"}}, 'field "storage" is missing'),
    "a storage that is none": (
        {"a": {"kind": "env.variable", "storage": "one"}},
        "app:one is a process.host",
    ),
    "a name that is none": (
        {
            "m": {"kind": "env.storage.memory"},
            "a": {"kind": "env.variable", "storage": "m", "variable": "A-B"},
        },
        "malformed",
    ),
    "a name twice": (
        {
            "m": {"kind": "env.storage.memory"},
            "a": {"kind": "env.variable", "storage": "m", "variable": "A"},
            "b": {"kind": "env.variable", "storage": "m", "variable": "A"},
        },
        'variable is "A", as that of app:a',
    ),
    "routers in a circle": (
        {
            "a": {"kind": "env.storage.router", "storages": ["b"]},
            "b": {"kind": "env.storage.router", "storages": ["a"]},
        },
        "storages ask each other: app:a -> app:b -> app:a",
    ),
    "a router of none": (
        {"a": {"kind": "env.storage.router", "storages": []}},
        "the list is too short",
    ),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_variable_is_a_configuration_error(tmp_path: Path, case: str) -> None:
    entries, message = CONFIGURATIONS[case]
    with pytest.raises(ConfigurationError, match=message):
        Node.from_path(write_app(tmp_path, entries))
