"""Journals as versions of Perdure leave them when they are killed.

Run as a program, it makes one with the Perdure that is on the import path. It uses nothing of the
tests, so that any version can run it:

    PYTHONPATH=/somewhere/old python tests/old_journals.py tests/data/journals/format-1.mdb.gz
"""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: What a node is to have beside its hosts; "end" is what a later version does with it.
APP_YAML = """version: "1.0"
namespace: app
entries:
- {name: journal, kind: journal.lmdb, path: ./data/journal, retention: 36500d}
- {name: orders, kind: workflow.host, journal: app:journal, workers: 1,
   lifecycle: {auto_start: true}}
- {name: effect, kind: function.python, target: "functions:effect"}
- {name: fails, kind: function.lua,
   source: 'return nil, require("errors").new({message = "declined", kind = "Conflict"})'}
"""
FUNCTIONS = """
import pathlib, time
from runtime.api import ctx

FOLDER = pathlib.Path(__file__).parent

def effect(name, *args):
    with open(FOLDER / "effects", "a") as file:
        file.write(f"{name} {ctx.get('activity.attempt')}\\n")
    while (FOLDER / f"hang-{name}").exists():
        time.sleep(0.005)
    return {"did": name, "args": list(args), "number": 1, "part": 0.5}
"""
#: What every run has behind it: two calls, one of which fails, a timer, random values, a child.
_PAST = """
local funcs, time, uuid = require("funcs"), require("time"), require("uuid")
local seen = {...}
seen[#seen + 1] = funcs.call("app:effect", "first", {nested = {1, 2.5, "x", true}})
local _, err = funcs.call("app:fails")
seen[#seen + 1] = err:kind() .. ": " .. err:message()
time.sleep("2ms")
seen[#seen + 1] = #uuid.v4() + #tostring(math.random(1000, 9999))
for key, value in pairs({b = 2, a = 1, [1] = 0}) do seen[#seen + 1] = key .. "=" .. value end
"""
WORKFLOWS = {
    "child": 'return process.inbox():receive().n * 2',
    "ended": _PAST + "return seen",
    "failed": _PAST + 'error("it was too much")',
    "waiting": _PAST + """
        local got = channel.select{
          time.after("8000h"):case_receive(), process.inbox():case_receive()}
        seen[#seen + 1] = got.value.n
        return seen""",
    "asleep": _PAST + 'time.sleep("5s") seen[#seen + 1] = "awake" return seen',
    "busy": _PAST + 'seen[#seen + 1] = funcs.call("app:effect", "busy").did return seen',
    "parent": _PAST + """
        local pid = assert(process.spawn("app:child", "app:orders"))
        assert(process.send(pid, "n", {n = 21}))
        local exit = process.events():receive()
        seen[#seen + 1] = exit.result.value
        seen[#seen + 1] = process.inbox():receive().n
        return seen""",
}  # fmt: skip
#: What _PAST has seen; and what each workflow sees behind it, once it has its signal.
PAST = [
    7,
    {"did": "first", "args": [{"nested": [1, 2.5, "x", True]}], "number": 1, "part": 0.5},
    "Conflict: declined",
    40,
    "1=0",
    "a=1",
    "b=2",
]
REST: dict[str, list[object]] = {
    "ended": [],
    "waiting": [5],
    "asleep": ["awake"],
    "busy": ["busy"],
    "parent": [42, 5],
}
#: The last record of each when the node is killed.
LAST = {
    "ended": "completed",
    "failed": "failed",
    "waiting": "timer_started",
    "asleep": "timer_started",
    "busy": "activity_scheduled",
    "parent": "step",
}


def write_app(folder: Path, workflows: dict[str, str]) -> Path:
    """The application, with these sources of its workflows."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [APP_YAML]
    for name, source in workflows.items():
        (folder / f"{name}.lua").write_text(source, encoding="utf-8")
        entries.append(
            f'- {{name: {name}, kind: workflow.lua, source: "file://{name}.lua", '
            "modules: [funcs, time, uuid]}\n"
        )
    (folder / "app.yaml").write_text("".join(entries), encoding="utf-8")
    (folder / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
    return folder


def live_and_die(app: Path) -> None:
    """Start one of each, and die when each is where LAST says."""
    from supervision import Node

    (app / "hang-busy").touch()
    node = Node.from_path(app)
    node.start()
    host = node.workflow_hosts()[0]
    for name in LAST:
        node.spawn(f"app:{name}", "app:orders", 7, options={"workflow.id": name}, key=name)
    waiting = set(LAST)
    while waiting:
        for name in list(waiting):
            kinds = [record[0] for _, record in host.history(host.run(name)[0])]
            if len(kinds) >= (18 if name == "parent" else 13) and kinds[-1] == LAST[name]:
                waiting.discard(name)
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def make(file: Path) -> None:
    """Make a journal and compress its data file."""
    with tempfile.TemporaryDirectory() as folder:
        app = write_app(Path(folder) / "app", WORKFLOWS)
        done = subprocess.run([sys.executable, __file__, "live", str(app)], check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, done
        data = (app / "data/journal/data.mdb").read_bytes()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    if sys.argv[1] == "live":
        live_and_die(Path(sys.argv[2]))
    else:
        make(Path(sys.argv[1]))
