"""The module io: what a program writes is out before it goes on, and it reads what is typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hosts.modules.terminal import LINE, Streams
from runtime.errors import PerdureError
from supervision.node import Node
from tests.cli_lab import PATIENCE
from tests.process_lab import process, write_app

MODULES = ["io", "time", "funcs"]

ENTRIES: dict[str, dict[str, Any]] = {
    "terminal": {"kind": "terminal.host", "lifecycle": {"auto_start": True}},
    "burns": process(
        """
        local io = require("io")
        io.write("working", " ", 1.5, " ")
        io.eprint("careful")
        io.print("a", nil, true)
        local sum = 0
        for i = 1, ... do sum = sum + i end
        io.print("done")
        """,
        modules=MODULES,
    ),
    "prints": process(
        """
        local io = require("io")
        for i = 1, tonumber(io.args()[1]) do io.print(i) end
        return true
        """,
        modules=MODULES,
    ),
    "sorts": process(
        """
        local io, list = require("io"), { 3, 1, 2 }
        table.sort(list, function(a, b)
            assert(io.write("."))
            return a < b
        end)
        io.flush()
        ;("ab"):gsub(".", function(c) assert(io.write(c)) end)
        assert(io.flush())
        io.print("end")
        return true
        """,
        modules=MODULES,
    ),
    "reads": process(
        """
        local io, lines = require("io"), {}
        for line in io.readline do lines[#lines + 1] = line end
        local after, err = io.readline()
        return { lines, after == nil and err == nil }
        """,
        modules=MODULES,
    ),
    "chunks": process(
        """
        local io, parts = require("io"), {}
        parts[1] = io.read(2)
        parts[2] = io.readline()
        parts[3] = io.read()
        local bad, err = io.read(0)
        parts[4] = err:message()
        parts[5] = io.read() == nil
        return parts
        """,
        modules=MODULES,
    ),
    "fails": process(
        """
        local io = require("io")
        local written, err = io.write("x")
        local line, why = io.readline()
        return { written == nil, err:kind(), err:message(), line == nil, why:message() }
        """,
        modules=MODULES,
    ),
    "prompts": process(
        """
        local io = require("io")
        io.write("name? ")
        io.print("hello " .. tostring(io.readline()))
        """,
        modules=MODULES,
        meta={"command": {"name": "prompts"}},
    ),
}


class Screen:
    """A terminal whose keys a test presses."""

    def __init__(self, keys: bytes = b"", fault: OSError | None = None) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self.changed = threading.Condition()
        self._keys = keys
        self._fault = fault
        self.gate = threading.Event()
        self.gate.set()

    def streams(self) -> Streams:
        return Streams(self._write, self.err.extend, self._read)

    def _write(self, data: bytes) -> None:
        if self._fault:
            raise self._fault
        assert self.gate.wait(PATIENCE)
        with self.changed:
            self.out += data
            self.changed.notify_all()

    def _read(self, size: int) -> bytes:
        if self._fault:
            raise self._fault
        taken, self._keys = self._keys[:size], self._keys[size:]
        return taken

    def until(self, text: bytes) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.out, PATIENCE), self.out


@contextmanager
def node_on(folder: Path, screen: Screen) -> Iterator[Node]:
    with Node.from_path(write_app(folder, ENTRIES), terminal=screen.streams()) as node:
        yield node


def run(folder: Path, screen: Screen, entry: str, *args: str) -> Any:
    with node_on(folder, screen) as node:
        pid = node.spawn(entry, "app:terminal", terminal=list(args))
        return node.result(pid, PATIENCE)


def test_what_is_written_is_out_before_a_long_computation(tmp_path: Path) -> None:
    screen = Screen()
    with node_on(tmp_path, screen) as node:
        pid = node.spawn("app:burns", "app:terminal", 10**12, terminal=[])
        screen.until(b"working 1.5 a\tnil\ttrue\n")
        assert screen.err == b"careful\n"
        assert b"done" not in screen.out
        with pytest.raises(PerdureError, match="out of fuel"):
            node.result(pid, PATIENCE)


def test_a_reader_that_is_slow_holds_the_program_up(tmp_path: Path) -> None:
    screen = Screen()
    with node_on(tmp_path, screen) as node:
        screen.gate.clear()
        pid = node.spawn("app:prints", "app:terminal", terminal=["5000"])
        with pytest.raises(PerdureError):
            node.result(pid, 0.05)
        assert screen.out == b""
        screen.gate.set()
        assert node.result(pid, PATIENCE) is True
    assert screen.out == b"".join(b"%d\n" % n for n in range(1, 5001))


def test_where_a_program_cannot_wait_its_output_keeps_its_order(tmp_path: Path) -> None:
    screen = Screen()
    assert run(tmp_path, screen, "app:sorts") is True
    assert screen.out.lstrip(b".") == b"abend\n"


READS = {
    "lines": (b"one\n\ntwo\r\n", ["one", "", "two\r"]),
    "a last line without an end": (b"one\ntwo", ["one", "two"]),
    "nothing": (b"", []),
    "bytes that are no text": (b"\xff\n", [b"\xff"]),
    "a long line": (b"x" * 300_000 + b"\ny", ["x" * 300_000, "y"]),
}


@pytest.mark.parametrize("case", READS)
def test_lines_are_read_until_the_end(tmp_path: Path, case: str) -> None:
    keys, lines = READS[case]
    assert run(tmp_path, Screen(keys), "app:reads") == [lines, True]


def test_bytes_and_lines_can_be_read_in_turn(tmp_path: Path) -> None:
    parts = run(tmp_path, Screen(b"abcd\nrest"), "app:chunks")
    wrong = "io.read: size must be an integer from 1 to 1048576, got 0"
    assert parts == ["ab", "cd", "rest", wrong, True]


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    with node_on(tmp_path, Screen(b"x" * (LINE + 2))) as node:
        pid = node.spawn("app:prompts", "app:terminal", terminal=[])
        node.result(pid, PATIENCE)


def test_a_terminal_that_fails_is_an_error(tmp_path: Path) -> None:
    fault = OSError(5, "Input/output error")
    assert run(tmp_path, Screen(fault=fault), "app:fails") == [
        True,
        "Unavailable",
        "io: the terminal cannot be written to: Input/output error",
        True,
        "io: the terminal cannot be read: Input/output error",
    ]


def test_the_command_reads_stdin(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ENTRIES)
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "supervision.cli", "run", str(app), "prompts"],
        input="ann\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("name? hello ann\n", "", 0)


def test_a_program_that_waits_for_a_line_ends_at_once_when_told(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ENTRIES)
    reader, writer = os.pipe()
    root = str(Path(__file__).parent.parent)
    program = subprocess.Popen(
        [sys.executable, "-m", "supervision.cli", "run", str(app), "prompts"],
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        assert program.stdout is not None
        assert program.stdout.read(6) == b"name? "
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=PATIENCE)
        assert program.returncode == 1
        assert b"did not end within" not in errors  # nobody waited for a stop timeout
    finally:
        program.kill()
        program.communicate()
        os.close(reader)
        os.close(writer)
