"""`perdure run APP COMMAND` runs a program on the terminal and passes its exit code on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli_lab import HEAD, Running, perdure, write

TOOL = """
local io = require("io")
local function main()
  local args = io.args()
  local what = args[1]
  if what == "number" then return tonumber(args[2]) end
  if what == "true" then return true end
  if what == "false" then return false end
  if what == "error" then error("it broke") end
  if what == "refuse" then
    return nil, errors.new({ kind = errors.NOT_FOUND, message = "no such thing" })
  end
  if what == "cancel" then
    print("waiting")
    local event = process.events():receive()
    io.print("told to end")
    return 7
  end
  io.write("args:", #args, "\\n")
  for i = 1, #args do io.print(i, args[i]) end
end
return { main = main }
"""

APP = {
    "app.yaml": HEAD
    + """
  - name: tool
    kind: process.lua
    source: file://tool.lua
    method: main
    modules: [io]
    meta: {command: {name: tool, short: tries things}}
  - name: other
    kind: process.lua
    source: "return 5"
    meta: {command: {name: other}}
""",
    "tool.lua": TOOL,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write(tmp_path / "app", APP)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("tool number 0", 0),
        ("tool number 3", 3),
        ("tool number 255", 255),
        ("tool number 256", 1),
        ("tool number -1", 1),
        ("tool number 2.0", 2),
        ("tool number 2.5", 1),
        ("tool", 0),
        ("tool true", 0),
        ("tool false", 1),
        ("other", 5),
        ("--exec app:other", 5),
        ("--exec app:tool number 4", 4),
    ],
)
def test_the_result_is_the_exit_code(app: Path, arguments: str, code: int) -> None:
    assert perdure("run", app, *arguments.split()).returncode == code


def test_its_output_is_all_that_stdout_has(app: Path) -> None:
    done = perdure("run", app, "tool", "a b", "--data", "-o", "x")
    assert done.stdout == "args:4\n1\ta b\n2\t--data\n3\t-o\n4\tx\n"
    assert done.stderr == ""
    assert done.returncode == 0


def test_an_error_is_shown_with_its_lua_traceback(app: Path) -> None:
    done = perdure("run", app, "tool", "error")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Internal: ")
    assert "it broke" in done.stderr
    assert done.stderr.count("it broke") == 1
    assert "tool.lua:9" in done.stderr
    refused = perdure("run", app, "tool", "refuse")
    assert refused.returncode == 1
    assert "NotFound: no such thing" in refused.stderr


def test_an_unknown_command_names_those_there_are(app: Path) -> None:
    done = perdure("run", app, "tol")
    assert done.returncode == 2
    assert 'did you mean "tool"?' in done.stderr
    assert "tool  tries things" in done.stderr
    assert "other" in done.stderr
    assert not (app / ".perdure").exists()


def test_two_entries_with_one_command_are_refused(app: Path) -> None:
    done = perdure("run", app, "-o", "app:other:meta.command.name=tool", "tool")
    assert done.returncode == 2
    assert "app:other and app:tool" in done.stderr


def test_a_terminal_host_of_the_application_is_used(app: Path) -> None:
    write(app, {"host.yaml": HEAD + "  - {name: terminal, kind: terminal.host}\n"})
    source = "local io = require('io'); io.print(process.pid())"
    write(
        app,
        {
            "pid.yaml": f"namespace: app\nname: pid\nkind: process.lua\nmodules: [io]\n"
            f'source: "{source}"\n'
        },
    )
    assert perdure("run", app, "--exec", "app:pid").stdout.startswith("{app:terminal|")


def test_a_signal_cancels_the_program_and_its_result_still_counts(app: Path) -> None:
    program = Running(app, "--log-level", "info", "tool", "cancel")
    try:
        program.wait_for("waiting")
        program.signal(signal.SIGTERM)
        assert program.ended() == 7
    finally:
        program.close()


def test_the_log_of_the_node_is_quiet_unless_asked_for(app: Path) -> None:
    assert perdure("run", app, "other").stderr == ""
    asked = perdure("run", app, "--log-level", "info", "other").stderr
    assert "perdure:terminal (terminal.host) is stopped" in asked


def test_a_reader_that_goes_away_ends_the_program(app: Path) -> None:
    source = """
      local io, time = require("io"), require("time")
      while true do io.print("more"); time.sleep("1ms") end
    """
    entry = (
        f"namespace: app\nname: endless\nkind: process.lua\nmodules: [io, time]\nsource: |{source}"
    )
    write(app, {"endless.yaml": entry})
    program = Running(app, "--exec", "app:endless")
    try:
        program.hang_up()
        assert program.ended() == 1
        assert program.log == []
    finally:
        program.close()


def test_what_speaks_to_a_live_node_loads_none_of_its_own() -> None:
    node = {"asyncio", "lmdb", "lupa", "pykka", "rich", "supervision.node", "yaml"}
    source = f"""if True:
        import sys
        from supervision.cli.main import main
        for command in ("ps", "services", "workflows"):
            main.get_command(None, command)
        print({node} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
