"""The weather stations: a workflow in Lua, an actor and a library in Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from supervision import Node
from tests.cli_lab import perdure
from tests.temporal_lab import on_server

EXAMPLE = Path(__file__).parent.parent / "examples" / "weather"
REPORT = """\
+-----------------------------------+
| Sensor  | Values | Mean | Highest |
|---------+--------+------+---------|
| harbour | 3      | 12.6 | 14.2    |
| hill    | 2      | 6.8  | 7.0     |
| tower   | 1      | 9.0  | 9.0     |
+-----------------------------------+"""


def test_the_demo_prints_the_report(tmp_path: Path) -> None:
    app = Path(shutil.copytree(EXAMPLE, tmp_path / "weather"))
    for _ in range(2):
        done = perdure("run", app, "demo")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip() == REPORT


@pytest.mark.parametrize("where", ["journal", "temporal"])
def test_the_almanac_answers_python_and_workflows(
    tmp_path: Path, request: pytest.FixtureRequest, where: str
) -> None:
    app = Path(shutil.copytree(EXAMPLE, tmp_path / "weather"))
    overrides = []
    if where == "temporal":
        overrides = on_server(request.getfixturevalue("temporal_server"), "app:journal")
        overrides += ["app:workflows:kind=temporal.worker", "app:workflows:client=app:journal"]
    with Node.from_path(app, overrides) as node:
        almanac = node.actor(node.spawn("app:almanac", "app:processes", name="almanac"))
        node.send("almanac", "measured", {"sensor": "hill", "celsius": 7.5})
        assert almanac.ask(("summary?",), timeout=30) == [
            {"sensor": "hill", "values": 1, "mean": 7.5, "highest": 7.5}
        ]
        assert node.result(node.spawn("app:report", "app:workflows"), 30).splitlines()[3] == (
            "| hill   | 1      | 7.5  | 7.5     |"
        )
