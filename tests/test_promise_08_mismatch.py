"""Promise 8: code that no longer gives the recorded commands is found, and its run parked unharmed.

Promise 9, as far as sources go: a run finishes on the source it started on. On a server, the SDK
compares kinds, names and order of what a run asks for, not arguments, and what code asks for behind
the last event passes for the next step's; the line of the source is for the journal only.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import PerdureError
from tests.both_hosts import TEMPORAL, Host, only_on
from tests.crash_lab import NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, as_main, durable_app

OLD = """
  local msg = process.inbox():receive()
  funcs.call("app:effect", "old", msg.n)
  local last = process.inbox():receive()
  return {"old", last.n}
"""
CALL = 'funcs.call("app:effect", "old", msg.n)'
#: What is deployed -> code whose replay differs from OLD once the first message is in.
CHANGES = {
    "another_function": OLD.replace("app:effect", "app:other"),
    "another_kind": OLD.replace(CALL, 'time.sleep("1s")'),
    "nothing": OLD.replace(CALL, ""),
}
#: Those that the SDK does not see, and what the run ends with on a server.
ONLY_A_JOURNAL_FINDS: dict[str, tuple[str, Any]] = {
    "other_arguments": (OLD.replace('"old", msg.n', '"new", msg.n'), ["old", 2]),
    "one_more": (
        OLD.replace("local last", 'coroutine.spawn(function() time.sleep("1s") end) local last'),
        ["old", 2],
    ),
    "an_end": (OLD.replace("local last = process.inbox():receive()", "local last = {}"), ["old"]),
    "a_failure": (OLD.replace("local last", 'error("new bug") local last'), "new bug"),
}
COMPATIBLE = OLD.replace('return {"old", last.n}', 'return {"new", last.n * 10}')
BRIDGED = f"""
  local msg = process.inbox():receive()
  if workflow.version("call", 1, 2) == 1 then {CALL} else {CALL.replace("old", "new")} end
  local last = process.inbox():receive()
  return {{workflow.version("call", 1, 2), last.n}}
"""


def make_app(folder: Path, host: Host, names: Iterable[str] = ("order",), fields: str = "") -> Path:
    """An application with OLD under these names."""
    return durable_app(folder, {f"{name}{fields}": OLD for name in names}, host=host)


def deploy(app: Path, name: str, body: str) -> None:
    (app / f"{name}.lua").write_text(as_main(body), encoding="utf-8")


def begin(app: Path, *names: str) -> tuple[list[str], list[list[dict[str, Any]]]]:
    """Start a run of each, under its name, that has taken its first message and made its call, and
    kill the node; their PIDs and histories."""
    with NodeProcess(app) as node:
        pids = [node.spawn(f"app:{name}", HOST, options={"workflow.id": name}) for name in names]
        for pid in pids:
            node.send(pid, "first", {"n": 1})
        for pid in pids:
            until(lambda: called(node.kinds(pid)))  # noqa: B023
        histories = [node.told(pid) for pid in pids]
        node.kill()
    return pids, histories


def behind(told: list[dict[str, Any]], history: list[dict[str, Any]]) -> list[str]:
    """Types of what a history has grown by. A server tells of steps that failed, or that a node
    which is dead was given; of several in a row, of one."""
    assert told[: len(history)] == history
    kinds = [each["type"] for each in told[len(history) :]]
    return [kind for kind in kinds if kind not in ("step_failed", "step_timed_out")]


def called(kinds: list[str]) -> bool:
    """Whether the call has its result, and the step after it is written."""
    return "activity_completed" in kinds and "step" in kinds[kinds.index("activity_completed") :]


def test_a_change_that_does_not_fit_parks_the_run(tmp_path: Path, host: Host) -> None:
    changes = dict(CHANGES)
    if host.server is None:
        changes |= {name: source for name, (source, _) in ONLY_A_JOURNAL_FINDS.items()}
    app = make_app(tmp_path / "app", host, changes, ", versioning: latest")
    pids, histories = begin(app, *changes)
    for name, source in changes.items():
        deploy(app, name, source)
    with NodeProcess(app) as node:
        for pid in pids:
            node.send(pid, "last", {"n": 2})
        for name, pid, history in zip(changes, pids, histories, strict=True):
            until(lambda: node.shown(name)["status"] == "suspended")  # noqa: B023
            assert behind(node.told(pid), history) == ["message"]
            problem = node.shown(name)["problem"]
            if host.server:
                assert "Nondeterminism error" in problem
            else:
                assert "the history has" in problem
                assert "the code did" in problem
            if name == "another_function":
                assert "app:effect" in problem, "what was recorded"
                assert "app:other" in problem, "what was attempted"
            if name == "another_function" and not host.server:
                lines = as_main(changes[name]).splitlines()
                line = 1 + next(i for i, text in enumerate(lines) if "app:other" in text)
                assert problem.endswith(f"another_function.lua:{line}"), "where the code did it"
        node.kill()
    check_journal(app)
    assert [effect.function for effect in effects(app)] == ["old"] * len(changes)

    for name in changes:
        deploy(app, name, COMPATIBLE)
    with NodeProcess(app) as node:
        for name, pid in zip(changes, pids, strict=True):
            assert node.result(pid) == ["new", 20], "what it was sent while parked is there"
            assert node.shown(name)["status"] == "completed"
        node.kill()
    assert [effect.function for effect in effects(app)] == ["old"] * len(changes)
    host.check(app)


@only_on(TEMPORAL, "a journal finds these")
def test_what_the_sdk_does_not_compare_goes_on(tmp_path: Path, host: Host) -> None:
    app = make_app(tmp_path / "app", host, ONLY_A_JOURNAL_FINDS, ", versioning: latest")
    pids, _ = begin(app, *ONLY_A_JOURNAL_FINDS)
    for name, (source, _) in ONLY_A_JOURNAL_FINDS.items():
        deploy(app, name, source)
    with NodeProcess(app) as node:
        for pid, (_, expected) in zip(pids, ONLY_A_JOURNAL_FINDS.values(), strict=True):
            with suppress(PerdureError):  # it has ended
                node.send(pid, "last", {"n": 2})
            if isinstance(expected, str):
                with pytest.raises(PerdureError, match=expected):
                    node.result(pid)
            else:
                assert node.result(pid) == expected
    host.check(app)


def test_pinned_runs_finish_on_their_source_and_new_ones_start_on_the_new(
    tmp_path: Path, host: Host
) -> None:
    changes = CHANGES | {name: source for name, (source, _) in ONLY_A_JOURNAL_FINDS.items()}
    app = make_app(tmp_path / "app", host, ["order", *changes])
    pids, _ = begin(app, "order", *changes)
    for name, source in {"order": COMPATIBLE, **changes}.items():
        deploy(app, name, source)
    with NodeProcess(app) as node:
        new = node.spawn("app:order", HOST)
        node.send(new, "first", {"n": 3})
        for pid in [new, *pids]:
            node.send(pid, "last", {"n": 2})
        assert node.result(new) == ["new", 20]
        for pid in pids:
            assert node.result(pid) == ["old", 2]
        node.kill()
    host.check(app)


def test_latest_takes_code_that_fits_and_a_version_bridges_what_does_not(
    tmp_path: Path, host: Host
) -> None:
    app = make_app(tmp_path / "app", host, ["fits", "bridged"], ", versioning: latest")
    (fits, bridged), _ = begin(app, "fits", "bridged")
    deploy(app, "fits", COMPATIBLE)
    deploy(app, "bridged", BRIDGED)
    with NodeProcess(app) as node:
        fresh = node.spawn("app:bridged", HOST)
        node.send(fresh, "first", {"n": 5})
        for pid in (fits, bridged, fresh):
            node.send(pid, "last", {"n": 6})
        assert node.result(fits) == ["new", 60]
        assert node.result(bridged) == [1, 6]
        assert node.result(fresh) == [2, 6]
    assert sorted(effect.args for effect in effects(app)) == [[1], [1], [5]]
    assert [effect.function for effect in effects(app)] == ["old", "old", "new"]
    host.check(app)


def test_a_failure_can_park_a_run_until_code_does_better(tmp_path: Path, host: Host) -> None:
    fields = ", on_error: suspend, versioning: latest"
    app = make_app(tmp_path / "app", host, fields=fields)
    deploy(app, "order", OLD.replace("return", 'error("oh") return'))
    (pid,), (history,) = begin(app, "order")
    with NodeProcess(app) as node:
        node.send(pid, "last", {"n": 4})
        until(lambda: node.shown("order")["status"] == "suspended")
        assert "oh" in node.shown("order")["problem"]
        if host.server is None:  # which tries again by itself, later each time
            node.crash()
            # It is tried again with the code of each boot: this has the same fault.
            until(lambda: (app / "node.log").read_text().count("is suspended") == 2)
            until(lambda: node.shown("order")["status"] == "suspended")
        assert behind(node.told(pid), history) == ["message"]
        node.kill()
    check_journal(app)
    deploy(app, "order", OLD)
    with NodeProcess(app) as node:
        assert node.result(pid) == ["old", 4]
    host.check(app)
