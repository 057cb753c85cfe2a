"""Generated hostile Lua crashes nothing, hangs nothing and gets hold of nothing.

It runs in a child process (hostile_node.py); what it died or hangs of is a program's number, and
`python -m tests.hostile_node NUMBER 1` runs that program again.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.hostile_lua import Generator

ROOT = Path(__file__).parent.parent
#: Seconds in which a child has to be done with a program, on a machine that is busy.
PATIENCE = 60.0


def withstand(first: int, count: int) -> None:
    """Run programs `first` … `first + count - 1`; AssertionError names the one that did harm."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile_node", str(first), str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    lines: queue.Queue[str] = queue.Queue()

    def read(stream: object) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, args=[child.stdout], daemon=True).start()
    last = "nothing"
    try:
        while line := lines.get(timeout=PATIENCE):
            last = line.strip()
    except queue.Empty:
        raise AssertionError(f"it hangs; last it said: {last}") from None
    finally:
        if child.poll() is None and not last.startswith("done"):
            child.kill()
        errors = child.communicate()[1]
    assert child.returncode == 0, f"exit code {child.returncode}; last it said: {last}\n{errors}"
    assert last.startswith(f"done {first + count - 1} "), last


def test_programs_are_the_same_again() -> None:
    names = ["process.send", "string.rep"]
    assert Generator(7, names).program() == Generator(7, names).program()


def test_a_hundred_programs() -> None:
    withstand(1, 120)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_programs() -> None:
    withstand(10_000, 20_000)
