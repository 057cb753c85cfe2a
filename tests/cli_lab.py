"""The command `perdure` in child processes, on applications that a test writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

#: Seconds until a child that says nothing has failed its test.
PATIENCE = 60.0

HEAD = "version: '1.0'\nnamespace: app\nentries:\n"

ECHO = """
local function main(...)
  local inbox, events = process.inbox(), process.events()
  process.registry.register("echo")
  while true do
    local case = channel.select{inbox:case_receive(), events:case_receive()}
    if case.channel == events then return case.value.reason end
    if case.value:topic() == "boom" then error("it broke") end
    print("heard", case.value:topic(), case.value:payload():data())
  end
end
return { main = main }
"""

#: A journal, both hosts, a process that is kept running, and a workflow that waits for approval.
APP = {
    "app.yaml": HEAD
    + """
  - name: journal
    kind: journal.lmdb
    path: ./journal
  - name: orders
    kind: workflow.host
    journal: journal
    lifecycle: {auto_start: true}
  - name: processes
    kind: process.host
    host: {workers: 1}
    lifecycle: {auto_start: true}
  - name: echo
    kind: process.lua
    source: file://echo.lua
    method: main
  - name: keeper
    kind: process.service
    process: echo
    host: processes
    lifecycle: {auto_start: true}
  - name: add
    kind: function.lua
    source: "local a, b = ...; return a + b"
  - name: order
    kind: workflow.lua
    source: file://order.lua
    method: main
    modules: [funcs, time]
""",
    "echo.lua": ECHO,
    "order.lua": """
local funcs, time = require("funcs"), require("time")
local function main(order)
  local total, err = funcs.call("app:add", order.price, 1)
  if err then return nil, err end
  time.sleep("1ms")
  local message = process.inbox():receive()
  if message:topic() == "reject" then error("rejected by " .. message.by) end
  return { total = total, by = message.by }
end
return { main = main }
""",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files of an application; gives its folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def _command(args: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-m", "supervision.cli", *map(str, args)]


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": root, "NO_COLOR": "1", "PYTHONWARNINGS": "error"}


def perdure(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    done = subprocess.run(
        _command(args), cwd=cwd, env=_environment(), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Running:
    """A `perdure run` that goes on; what it logs is read line by line."""

    def __init__(self, *args: str | Path) -> None:
        self._process = subprocess.Popen(
            _command(("run", *args)), env=_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.log: list[str] = []
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, text: str) -> str:
        """The next line of the log that contains `text`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                line = None
            if line is None:
                raise AssertionError(f'no line with "{text}" in:\n' + "\n".join(self.log))
            self.log.append(line)
            if text in line:
                return line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def hang_up(self) -> None:
        """Read no more of its output."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ended(self) -> int:
        """Wait for its end; the exit code. The log is complete then."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._lines.get_nowait()) is not None:
            self.log.append(line)
        return code

    def close(self) -> None:
        """End it, in whatever state it is."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def running(*args: str | Path, until: str = " up: ") -> Iterator[Running]:
    """A `perdure run` that has logged `until`, killed at the end when it still runs."""
    process = Running(*args)
    try:
        process.wait_for(until)
        yield process
    finally:
        process.close()
