"""Promise 14: boot finds everything: no open run lacks its timer, activity, message or child.

What is killed at a call of the journal is for the journal only.
"""

from __future__ import annotations

from pathlib import Path

from tests.both_hosts import EMBEDDED, Host, only_on
from tests.crash_lab import NodeProcess, check_journal, effects_by_key, until
from tests.durable_lab import HOST, durable_app

RUNS = 3
WORKFLOWS = {
    "asleep": 'time.sleep((...)) return "slept"',
    "calling": 'return funcs.call("app:effect", "call", ...)',
    "listening": "return process.inbox():receive().n",
    "parent": 'return assert(workflow.exec("app:listening"))',
    "spawner": """
        assert(process.with_context({}):with_name("child of " .. workflow.info().workflow_id)
          :spawn("app:asleep", "app:orders", ...))
        return process.events():receive().result.value
    """,
}


def test_runs_in_every_kind_of_wait_go_on(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    sleep = "1h" if host.server is None else "4s"
    (app / "hang-call").touch()
    with NodeProcess(app) as node:
        pids = {
            (kind, n): node.spawn(
                f"app:{kind}",
                HOST,
                sleep if kind in ("asleep", "spawner") else n,
                options={"workflow.id": f"{kind}-{n}"},
            )
            for n in range(RUNS)
            for kind in WORKFLOWS
        }
        until(lambda: len(effects_by_key(app)) == RUNS)
        for _ in range(2):
            node.kill()
            check_journal(app)
            node.crash()
        (app / "hang-call").unlink()
        until(lambda: len(node.rows()) == (len(WORKFLOWS) + 2) * RUNS)
        children = [row["pid"] for row in node.rows() if row["pid"] not in pids.values()]
        assert len(children) == 2 * RUNS
        for n in range(RUNS):
            node.send(pids["listening", n], "n", {"n": n})
        for child in children:
            if "child of" not in child:
                node.send(child, "n", {"n": 7})
        node.advance(3601)
        expected = {"asleep": "slept", "calling": "call", "spawner": "slept", "parent": 7}
        for (kind, n), pid in pids.items():
            assert node.result(pid) == expected.get(kind, n)
        until(lambda: {row["status"] for row in node.rows()} == {"completed"})
    host.check(app)
    assert sorted(effects_by_key(app)) == [("call", [n]) for n in range(RUNS)]


@only_on(EMBEDDED, "it is killed at a call of the journal")
def test_a_child_that_ended_as_the_node_died_is_heard_of(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    with NodeProcess(app) as node:
        parent = node.spawn("app:parent", HOST)
        until(lambda: len(node.do("runs")) == 2)
        child = next(row for row in node.do("runs") if row["parent"])
        node.do("arm", fault="journal.commit.after:1")
        pid = f"{{app:orders|{child['workflow_id']}}}"
        node.ask("send", dest=pid, topic="n", payload=[{"n": 5}])
        node.wait_dead()
        check_journal(app)
        node.crash()
        assert node.result(parent) == 5


@only_on(EMBEDDED, "it is killed at calls of the journal")
def test_a_spawned_child_that_ended_before_its_start_was_told(tmp_path: Path, host: Host) -> None:
    """The spawn is answered first, then comes the EXIT, though after a crash they race."""
    quick = {
        "parent": """
            local pid = assert(process.spawn("app:quick", "app:orders"))
            local event = process.events():receive()
            return event.from == pid and event.result.value
        """,
        "quick": 'return "quick"',
    }
    for nth in range(1, 4):  # the spawn, and the end of each
        app = durable_app(tmp_path / str(nth), quick, host=host)
        with NodeProcess(app) as node:
            node.do("arm", fault=f"host.effect.before:{nth}")
            node.ask("spawn", entry="app:parent", host=HOST, args=[], key="k")
            node.wait_dead()
            node.crash()
            assert node.result(node.spawn("app:parent", HOST, key="k")) == "quick"
