"""The README's code is what it says: its blocks are an application that runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)]
ORDER = {"id": 1, "total": 250, "credit": 500, "pieces": 2, "packing": "1ms"}


def blocks() -> dict[str, str]:
    """Code blocks that are files, by the name in their first line."""
    found = {}
    for language, code in re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL):
        if language in ("yaml", "lua", "python"):
            name = re.match(r"(?:#|--) (\w+\.\w+)", code)
            assert name, f"a block without a file name: {code[:60]}"
            found[name[1]] = code
    return found


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, code in blocks().items():
        place = tmp_path if name == "try.py" else folder
        (place / name).write_text(code, encoding="utf-8")
    return folder


@pytest.fixture
def node(app: Path) -> Iterator[Node]:
    with Node.from_path(app) as node:
        yield node


def test_the_first_shell_block_holds_two_commands_that_each_work_alone() -> None:
    demo, tests = COMMANDS[0]
    for command in (demo, tests):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith("&& .venv/bin/perdure run examples/orders demo")
    assert tests.endswith("&& .venv/bin/python -m pytest -q -n 3 --dist loadfile")


def test_the_application_starts_and_its_functions_answer(node: Node) -> None:
    assert {each.state for each in node.services()} == {"running"}
    assert node.call("app:discount", 250, timeout=30) == 25
    with pytest.raises(PerdureError, match="a total cannot be negative") as raised:
        node.call("app:discount", -1, timeout=30)
    assert raised.value.kind == Kind.INVALID


@pytest.mark.parametrize(
    ("topic", "result"),
    [
        ("approve", {"id": 1, "outcome": "shipped", "paid": 225}),
        ("reject", {"id": 1, "outcome": "not approved"}),
    ],
)
def test_a_signal_decides_on_an_order(node: Node, topic: str, result: dict[str, Any]) -> None:
    pid = node.spawn("app:order", "app:orders", ORDER)
    node.send(pid, topic, {"by": "ann"})
    assert node.result(pid, timeout=30) == result


def test_without_a_signal_an_order_is_not_approved_in_time(node: Node) -> None:
    pid = node.spawn("app:order", "app:orders", ORDER | {"approval_within": "1ms"})
    assert node.result(pid, timeout=30) == {"id": 1, "outcome": "not approved"}


def test_a_declined_card_undoes_the_reservation(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    pid = node.spawn("app:order", "app:orders", ORDER | {"total": 80, "credit": 5})
    with pytest.raises(PerdureError, match="the card is declined") as raised:
        node.result(pid, timeout=30)
    assert raised.value.kind == Kind.CONFLICT
    assert "back on the shelf: 2" in capfd.readouterr().out


def test_the_till_counts(node: Node) -> None:
    pid = node.spawn("app:order", "app:orders", ORDER | {"total": 80})
    assert node.result(pid, timeout=30)["paid"] == 80
    (till,) = (each["pid"] for each in node.processes() if "till" in each["names"])
    assert node.actor(till).ask(("total?", None), timeout=30) == 80


def test_the_worker_of_a_journal_runs_the_same_workflow(node: Node) -> None:
    pid = node.spawn("app:order", "orders", ORDER | {"total": 80})
    assert pid.startswith("{app.later:worker|")
    assert node.result(pid, timeout=30)["outcome"] == "shipped"


def test_the_script_and_then_every_command_for_a_live_node_work(app: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    perdure = [sys.executable, "-c", "from supervision.cli.main import main; main()"]

    def run(command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=app.parent, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        return done.stdout

    said = run([sys.executable, "try.py"])
    assert said == "25\n{'id': 7, 'outcome': 'shipped', 'paid': 108}\n"

    node = subprocess.Popen(
        [*perdure, "run", "shop"], cwd=app.parent, env=environment, stderr=subprocess.PIPE
    )
    assert node.stderr is not None
    try:
        while b"up:" not in (line := node.stderr.readline()):
            assert line, "the node ended before it was up"
        answers = {}
        for line in COMMANDS[-1]:
            name, *arguments = shlex.split(line, comments=True)
            assert name == "perdure"
            answers[" ".join(arguments[:2])] = run([*perdure, *arguments])
        assert "app:till_service" in answers["services --app"]
        assert "till" in answers["ps --app"]
        assert "order-7" in answers["workflows list"]
        assert "completed" in answers["workflows show"]
        assert "app:charge" in answers["workflows history"]
        assert answers["workflows start"].strip() == "{app:orders|order-8}"
    finally:
        node.terminate()
        node.communicate(timeout=30)
    assert node.returncode == 0
