"""A live registry and durable runs: pinned ones keep their code, `latest` ones take the new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.control import workflows
from supervision.node import Node
from tests.both_hosts import (
    EMBEDDED,
    WORKER,
    Host,
    application,
    only_on,
    start,
    until_found,
    until_runs,
    until_told,
)
from tests.process_lab import PATIENCE, eventually, function

TALKS = """
    local inbox = process.inbox()
    local said = {inbox:receive():topic()}
    said[2] = VERSION
    said[3] = inbox:receive():topic()
    said[4] = VERSION
    return table.concat(said, " ")
"""
ADDS = """
    local sum = 0
    for i = 1, ... do
      sum = sum + funcs.call("app:first")
      time.sleep("2ms")
    end
    return sum .. " VERSION"
"""
IMPORTS = "process.inbox():receive() return require('lib')"
CALLS = "local n = funcs.call('app:%s') process.inbox():receive() return n"
PARKS = "process.inbox():receive() %s return 'done'"
PARKS_TWICE = "process.inbox():receive() %s return process.inbox():receive():topic()"
BUG = "error('bug')"


def at(version: int, source: str = TALKS) -> str:
    return source.replace("VERSION", str(version))


def workflow(source: str, **fields: Any) -> dict[str, Any]:
    modules = ["registry", "funcs", "time", "workflow"]
    return {**function(source, modules=modules), "kind": "workflow.lua", **fields}


LATEST: Final[dict[str, Any]] = {"versioning": "latest"}
SUSPEND: Final[dict[str, Any]] = {"on_error": "suspend"}
ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "first": function("return 1"),
    "second": function("return 2"),
    "changing": function("return 1"),
    "lib": {"kind": "library.lua", "source": "return 1"},
    "talks": workflow(at(1), **LATEST),
    "adds": workflow(at(1, ADDS), **LATEST),
    "imports": workflow(IMPORTS, imports={"lib": "app:lib"}),
    "imports_latest": workflow(IMPORTS, imports={"lib": "app:lib"}, **LATEST),
    "parks": workflow(PARKS % BUG, **SUSPEND),
    "parks_latest": workflow(PARKS % BUG, **SUSPEND, **LATEST),
    "parks_twice": workflow(PARKS_TWICE % BUG, **SUSPEND),
    "calls": workflow(CALLS % "first", **LATEST),
    "calls_changing": workflow("""
        local seen = {funcs.call("app:changing")}
        process.inbox():receive()
        seen[2] = funcs.call("app:changing")
        return seen
    """),
    "goes": workflow(at(1)),
    "compiles": workflow(at(1)),
}
KEPT: Final[dict[str, dict[str, Any]]] = {
    "first": function("return 1"),
    "talks": workflow(at(1)),
    "reads": workflow("""
        local version = registry.current_version():id()
        local text = registry.get("app:first").data.source
        local refused = {
          select(2, registry.changes():delete("app:first"):apply()),
          select(2, registry.apply_version(1)),
        }
        process.inbox():receive()
        return {version, text, refused[1]:kind(), tostring(refused[2])}
    """),
}


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with host.node(application(tmp_path_factory.mktemp("app"), ENTRIES)) as running:
        yield running


def deploy(node: Node, **entries: str | dict[str, Any]) -> None:
    """Change the source of entries, or several fields of each."""
    changes = node.registry.changes()
    for name, changed in entries.items():
        written = node.registry.get(f"app:{name}").written
        fields = {"source": changed} if isinstance(changed, str) else changed
        changes.update({"id": f"app:{name}", "data": {**written, **fields}})
    node.registry.apply(changes)


def test_runs_keep_their_code_also_over_a_boot(host: Host, tmp_path: Path) -> None:
    app, overrides = application(tmp_path, KEPT), host.overrides_to_kill(WORKER)
    with Node.from_path(app, overrides) as node:
        old = start(node, "talks")
        reads = start(node, "reads")
        node.send(old, "a")
        until_told(node, reads, "step")
        deploy(node, talks=at(2), first="return 2")
        new = start(node, "talks")
        node.send(old, "b")
        assert node.result(old, PATIENCE) == "a 1 b 1"
        node.send(new, "a")
        third = start(node, "talks")
        node.registry.rollback(1)
        node.send(third, "a")
    # What was applied lived in memory; the code of the runs is in the journal, or in their headers.
    with Node.from_path(app, overrides) as node:
        for pid in (new, third, reads):
            node.send(pid, "b")
        assert node.result(new, PATIENCE) == "a 2 b 2"
        assert node.result(third, PATIENCE) == "a 2 b 2"
        assert node.registry.get("app:talks").data["source"] == KEPT["talks"]["source"]
        # What a run has read of the registry is in its history; it changes nothing there.
        version, text, kind, refused = node.result(reads, PATIENCE)
    assert (version, text, kind) == (1, "return 1", "Invalid")
    assert "call a function that does it" in refused


def test_a_latest_run_takes_new_code_at_its_next_step(node: Node) -> None:
    pid = start(node, "talks")
    node.send(pid, "a")
    deploy(node, talks=at(2))
    node.send(pid, "b")
    # Its history says nothing of the version, so the new code made all of it.
    assert node.result(pid, PATIENCE) == "a 2 b 2"


def test_many_latest_runs_at_work_take_new_code_and_lose_nothing(node: Node, host: Host) -> None:
    count, calls = (6, 4) if host.server else (20, 20)
    pids = [start(node, "adds", calls) for _ in range(count)]
    for version in range(2, 6):
        deploy(node, adds=at(version, ADDS))
    results = [node.result(pid, PATIENCE) for pid in pids]
    assert {result.split()[0] for result in results} == {str(calls)}
    assert node.result(start(node, "adds", calls), PATIENCE) == f"{calls} 5"


def test_a_library_is_code_of_its_runs_too(node: Node) -> None:
    pids = [start(node, name) for name in ("imports", "imports_latest")]
    for pid in pids:
        until_told(node, pid, "step")
    deploy(node, lib="return 2")
    for pid in pids:
        node.send(pid, "go")
    assert [node.result(pid, PATIENCE) for pid in pids] == [1, 2]


def test_a_parked_run_goes_on_when_code_that_does_better_is_applied(node: Node, host: Host) -> None:
    """On a server a pinned one does when its entry is not pinned any more."""
    names = ("parks", "parks_latest")
    parked = [start(node, name, id=f"{name}, parked", task_timeout="1s") for name in names]
    other = [start(node, name, id=f"{name}, not parked yet") for name in names]
    for pid in parked:
        node.send(pid, "go")
    until_found(
        node, 'status = "suspended"', "parks_latest, parked suspended", "parks, parked suspended"
    )
    fixed = {"source": PARKS % ""}
    deploy(node, parks={**fixed, **(LATEST if host.server else {})}, parks_latest=fixed)
    for pid in other:
        node.send(pid, "go")
    assert [node.result(pid, PATIENCE) for pid in parked + other] == ["done"] * 4


@only_on(EMBEDDED, "a pinned run of a server tries no other code than its own")
def test_a_run_whose_code_and_that_of_now_fail_stays_parked(node: Node) -> None:
    pid = start(node, "parks_twice")
    deploy(node, parks_twice="funcs.call('app:none')" + PARKS_TWICE % "")  # does not fit
    node.send(pid, "go")
    node.send(pid, "on")
    eventually(lambda: "bug" in str(workflows.show(node, pid)["problem"]))
    deploy(node, parks_twice=PARKS_TWICE % "error('another')")
    eventually(lambda: "another" in str(workflows.show(node, pid)["problem"]))
    deploy(node, parks_twice=PARKS_TWICE % "")
    assert node.result(pid, PATIENCE) == "on"


def test_code_that_does_not_fit_parks_the_run_and_a_rollback_lets_it_go_on(node: Node) -> None:
    pid = start(node, "calls", id="rolled back", task_timeout="1s")
    until_told(node, pid, "activity_completed")
    before = node.registry.version().id
    deploy(node, calls=CALLS % "second")
    node.send(pid, "go")
    until_runs(node, "rolled back", "suspended")
    node.registry.rollback(before)
    assert node.result(pid, PATIENCE) == 1


def test_activities_run_as_deployed_now(node: Node) -> None:
    pid = start(node, "calls_changing")
    until_told(node, pid, "activity_completed")
    deploy(node, changing="return 'new'")
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == [1, "new"]


def test_a_workflow_that_is_gone_starts_no_more_and_its_runs_end(node: Node) -> None:
    pid = start(node, "goes")
    node.registry.apply(node.registry.changes().delete("app:goes"))
    with pytest.raises(PerdureError, match="app:goes does not exist"):
        start(node, "goes")
    node.send(pid, "a")
    node.send(pid, "b")
    assert node.result(pid, PATIENCE) == "a 1 b 1"


def test_a_workflow_that_does_not_compile_is_refused(node: Node) -> None:
    with pytest.raises(ConfigurationError, match="app:compiles does not compile"):
        deploy(node, compiles="=")
    pid = start(node, "compiles")
    node.send(pid, "a")
    node.send(pid, "b")
    assert node.result(pid, PATIENCE) == "a 1 b 1"
