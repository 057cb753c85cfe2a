"""A live registry and durable runs: pinned ones keep their code, `latest` ones take the new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.node import Node
from supervision.runs import host_of
from tests.process_lab import PATIENCE, eventually, function, running

HOST = "app:orders"
HOSTS: dict[str, dict[str, Any]] = {
    "journal": {"kind": "journal.lmdb", "path": "./journal"},
    "orders": {"kind": "workflow.host", "journal": "app:journal", "workers": 2},
}
MODULES = ["registry", "funcs", "time", "workflow"]


def workflow(source: str, **fields: Any) -> dict[str, Any]:
    return {**function(source, modules=MODULES), "kind": "workflow.lua", **fields}


def deploy(node: Node, **sources: str) -> None:
    changes = node.registry.changes()
    for name, source in sources.items():
        changes.update({"id": f"app:{name}", "data": {**data(node, name), "source": source}})
    node.registry.apply(changes)


def data(node: Node, name: str) -> dict[str, Any]:
    return node.registry.get(f"app:{name}").written


def start(node: Node, name: str, workflow_id: str) -> str:
    return node.spawn(f"app:{name}", HOST, options={"workflow.id": workflow_id})


def state(node: Node, workflow_id: str) -> str:
    return host_of(node, workflow_id)[0].run(workflow_id)[1].status


def problem(node: Node, workflow_id: str) -> Any:
    return (host_of(node, workflow_id)[0].run(workflow_id)[1].extra or {}).get("problem")


TALKS = """
    local inbox = process.inbox()
    local said = {inbox:receive():topic()}
    said[2] = VERSION
    said[3] = inbox:receive():topic()
    said[4] = VERSION
    return table.concat(said, " ")
"""


def talks(version: int) -> str:
    return TALKS.replace("VERSION", str(version))


def test_a_pinned_run_keeps_its_code_also_over_a_boot(tmp_path: Path) -> None:
    entries = {**HOSTS, "w": workflow(talks(1))}
    with running(tmp_path, entries) as node:
        old = start(node, "w", "old")
        node.send(old, "a")
        deploy(node, w=talks(2))
        new = start(node, "w", "new")
        node.send(old, "b")
        assert node.result(old, PATIENCE) == "a 1 b 1"
        node.send(new, "a")
        third = start(node, "w", "third")
        node.registry.rollback(1)
        node.send(third, "a")
    # What was applied lived in memory; the code of the runs is in the journal.
    with Node.from_path(tmp_path) as node:
        for pid in (new, third):
            node.send(pid, "b")
        assert node.result(new, PATIENCE) == "a 2 b 2"
        assert node.result(third, PATIENCE) == "a 2 b 2"
        assert node.registry.get("app:w").data["source"] == entries["w"]["source"]


def test_a_latest_run_takes_new_code_at_its_next_step(tmp_path: Path) -> None:
    entries = {**HOSTS, "w": workflow(talks(1), versioning="latest")}
    with running(tmp_path, entries) as node:
        pid = start(node, "w", "w")
        node.send(pid, "a")
        deploy(node, w=talks(2))
        node.send(pid, "b")
        # Its history says nothing of the version, so the new code made all of it.
        assert node.result(pid, PATIENCE) == "a 2 b 2"


def test_many_latest_runs_at_work_take_new_code_and_lose_nothing(tmp_path: Path) -> None:
    source = """
        local sum = 0
        for i = 1, 20 do
          sum = sum + funcs.call("app:first")
          time.sleep("2ms")
        end
        return sum .. " VERSION"
    """
    entries = {
        **HOSTS,
        "w": workflow(source.replace("VERSION", "1"), versioning="latest"),
        "first": function("return 1"),
    }
    with running(tmp_path, entries) as node:
        pids = [start(node, "w", f"w{number}") for number in range(20)]
        for version in range(2, 6):
            deploy(node, w=source.replace("VERSION", str(version)))
        results = [node.result(pid, PATIENCE) for pid in pids]
        assert {result.split()[0] for result in results} == {"20"}
        last = start(node, "w", "last")
        assert node.result(last, PATIENCE) == "20 5"


def test_a_library_is_code_of_its_runs_too(tmp_path: Path) -> None:
    source = "process.inbox():receive() return require('lib')"
    imports = {"lib": "app:lib"}
    entries = {
        **HOSTS,
        "pinned": workflow(source, imports=imports),
        "latest": workflow(source, imports=imports, versioning="latest"),
        "lib": {"kind": "library.lua", "source": "return 1"},
    }
    with running(tmp_path, entries) as node:
        pids = [start(node, name, name) for name in ("pinned", "latest")]
        deploy(node, lib="return 2")
        for pid in pids:
            node.send(pid, "go")
        assert [node.result(pid, PATIENCE) for pid in pids] == [1, 2]


def test_a_parked_run_goes_on_when_code_that_does_better_is_applied(tmp_path: Path) -> None:
    source = "process.inbox():receive() %s return 'done'"
    bad = source % "error('bug')"
    entries = {
        **HOSTS,
        "pinned": workflow(bad, on_error="suspend"),
        "latest": workflow(bad, versioning="latest", on_error="suspend"),
    }
    with running(tmp_path, entries) as node:
        parked = [start(node, name, f"{name} parked") for name in ("pinned", "latest")]
        other = [start(node, name, f"{name} not parked yet") for name in ("pinned", "latest")]
        for pid in parked:
            node.send(pid, "go")
        eventually(lambda: len(node.workflows('status = "suspended"')) == 2)
        deploy(node, pinned=source % "", latest=source % "")
        for pid in other:
            node.send(pid, "go")
        assert [node.result(pid, PATIENCE) for pid in parked + other] == ["done"] * 4


def test_a_run_whose_code_and_that_of_now_fail_stays_parked(tmp_path: Path) -> None:
    source = "process.inbox():receive() %s return process.inbox():receive():topic()"
    entries = {**HOSTS, "w": workflow(source % "error('bug')", on_error="suspend")}
    with running(tmp_path, entries) as node:
        pid = start(node, "w", "w")
        deploy(node, w="funcs.call('app:none')" + source % "")  # does not fit
        node.send(pid, "go")
        node.send(pid, "on")
        eventually(lambda: "bug" in str(problem(node, "w")))
        deploy(node, w=source % "error('another')")
        eventually(lambda: "another" in str(problem(node, "w")))
        deploy(node, w=source % "")
        assert node.result(pid, PATIENCE) == "on"


def test_code_that_does_not_fit_parks_the_run_and_a_rollback_lets_it_go_on(tmp_path: Path) -> None:
    source = "local n = funcs.call('app:%s') process.inbox():receive() return n"
    entries = {
        **HOSTS,
        "w": workflow(source % "first", versioning="latest"),
        "first": function("return 1"),
        "second": function("return 2"),
    }
    with running(tmp_path, entries) as node:
        pid = start(node, "w", "w")
        eventually(lambda: len(host_of(node, "w")[0].history(1)) >= 5)
        deploy(node, w=source % "second")
        node.send(pid, "go")
        eventually(lambda: state(node, "w") == "suspended")
        node.registry.rollback(1)
        assert node.result(pid, PATIENCE) == 1


def test_activities_run_as_deployed_now(tmp_path: Path) -> None:
    source = """
        local seen = {funcs.call("app:first")}
        process.inbox():receive()
        seen[2] = funcs.call("app:first")
        return seen
    """
    entries = {**HOSTS, "w": workflow(source), "first": function("return 1")}
    with running(tmp_path, entries) as node:
        pid = start(node, "w", "w")
        eventually(lambda: len(host_of(node, "w")[0].history(1)) >= 5)
        deploy(node, first="return 'new'")
        node.send(pid, "go")
        assert node.result(pid, PATIENCE) == [1, "new"]


def test_reads_are_recorded_and_changes_refused(tmp_path: Path) -> None:
    source = """
        local version = registry.current_version():id()
        local text = registry.get("app:first").data.source
        local refused = {
          select(2, registry.changes():delete("app:first"):apply()),
          select(2, registry.apply_version(1)),
        }
        process.inbox():receive()
        return {version, text, refused[1]:kind(), tostring(refused[2])}
    """
    entries = {**HOSTS, "w": workflow(source), "first": function("return 1")}
    with running(tmp_path, entries) as node:
        pid = start(node, "w", "w")
        eventually(lambda: len(host_of(node, "w")[0].history(1)) >= 9)
        deploy(node, first="return 2")
    with Node.from_path(tmp_path) as node:
        node.send(pid, "go")
        version, text, kind, refused = node.result(pid, PATIENCE)
    assert (version, text, kind) == (1, "return 1", "Invalid")
    assert "call a function that does it" in refused


def test_a_workflow_that_is_gone_starts_no_more_and_its_runs_end(tmp_path: Path) -> None:
    with running(tmp_path, {**HOSTS, "w": workflow(talks(1))}) as node:
        pid = start(node, "w", "w")
        node.registry.apply(node.registry.changes().delete("app:w"))
        with pytest.raises(PerdureError, match="app:w does not exist"):
            start(node, "w", "another")
        node.send(pid, "a")
        node.send(pid, "b")
        assert node.result(pid, PATIENCE) == "a 1 b 1"


def test_a_workflow_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, {**HOSTS, "w": workflow(talks(1))}) as node:
        with pytest.raises(ConfigurationError, match="app:w does not compile"):
            deploy(node, w="=")
        pid = start(node, "w", "w")
        node.send(pid, "a")
        node.send(pid, "b")
        assert node.result(pid, PATIENCE) == "a 1 b 1"
