"""Functions in child processes: they can be killed, they come back, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from hosts.function_call import FunctionCall
from hosts.functions import PythonFunctions
from hosts.limits import Limits
from hosts.outcomes import Result
from runtime.errors import Kind, PerdureError
from tests.clock import FakeClock, S
from tests.process_lab import process, run, running
from tests.services import eventually

SHOP = """
import asyncio, dataclasses, os, sys, time
from runtime.api import PerdureError, ctx, heartbeat

@dataclasses.dataclass
class Receipt:
    total: int

def add(a, b): return a + b
async def add_async(a, b):
    await asyncio.sleep(0)
    return a + b
def echo(*args): return list(args)
def receipt(total): return Receipt(total)
def pid(): return os.getpid()
def context(): return [ctx.get("user"), ctx.all()]
def raises(): raise ValueError("no such card")
def declines(): raise PerdureError("Conflict", "declined", retryable=False, details={"n": 1})
def pair(): return None, "sold out"
def leaves(): sys.exit(3)
def dies(code): os._exit(code)
def is_killed(): os.kill(os.getpid(), 9)
def unsendable(): return object()
def prints(): print("from the child", flush=True)

def beats():
    for n in range(3): heartbeat({"n": n, "pid": os.getpid()})
    return "done"

def spins(path):
    with open(path, "w") as file: file.write(str(os.getpid()))
    while True: pass

counter = 0
def counts():
    global counter
    counter += 1
    return counter
"""


class Shop:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.functions = PythonFunctions(folder, self.clock.timers)

    def install(self, *names: str, workers: int = 1) -> None:
        pool = {"type": "process", "workers": workers}
        self.functions.install(
            {f"app:{n}": self.functions.prepare(f"app:{n}", f"shop:{n}", pool) for n in names}
        )

    def submit(self, name: str, *args: Any, **options: Any) -> tuple[FunctionCall, Future[Result]]:
        done: Future[Result] = Future()
        context = options.pop("context", {})
        call = self.functions.submit(f"app:{name}", args, context, done.set_result, **options)
        return call, done

    def call(self, name: str, *args: Any, **options: Any) -> Result:
        return self.submit(name, *args, **options)[1].result(30)

    def spinning(self, **options: Any) -> tuple[FunctionCall, Future[Result], int]:
        """A call that never comes back, and the PID of its process."""
        path = self.folder / "pid"
        path.write_text("")
        call, done = self.submit("spins", str(path), **options)
        eventually(lambda: path.read_text() != "")
        return call, done, int(path.read_text())


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has taken off the system's list does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "shop.py").write_text(SHOP)
    made = Shop(tmp_path)
    yield made
    made.functions.close()


def test_calls_run_elsewhere_and_behave_as_in_threads(shop: Shop) -> None:
    names = ["add", "add_async", "receipt", "pid", "context", "raises", "declines", "pair"]
    shop.install(*names, "leaves", "unsendable", "echo")
    assert shop.call("pid").value not in (None, os.getpid())
    assert shop.call("add", 2, 3) == Result(5)
    assert shop.call("add_async", 2, 3) == Result(5)
    assert shop.call("receipt", 7) == Result({"total": 7})
    odd = [None, 1, 2.5, "text", b"\xff", [1, None, 2], {"a": [], "b": {"c": True}}, 2**62]
    assert shop.call("echo", *odd) == Result(odd)
    assert shop.call("context", context={"user": "ann"}).value == ["ann", {"user": "ann"}]
    assert shop.call("context").value == [None, []]
    raised = shop.call("raises").error
    assert raised == PerdureError(Kind.INTERNAL, "ValueError: no such card")
    assert raised is not None
    assert "in raises" in raised.trace
    assert "hosts" not in raised.trace
    declined = PerdureError(Kind.CONFLICT, "declined", False, {"n": 1})
    assert shop.call("declines").error == declined
    assert shop.call("pair").error == PerdureError(Kind.UNKNOWN, "sold out")
    assert shop.call("leaves").error == PerdureError(Kind.INTERNAL, "SystemExit: 3")
    unsendable = shop.call("unsendable").error
    assert unsendable is not None
    assert "app:unsendable returned what cannot be passed on" in unsendable.message


def test_a_child_is_kept_for_the_next_call(shop: Shop) -> None:
    shop.install("counts", "pid")
    assert [shop.call("counts").value for _ in range(3)] == [1, 2, 3]


def test_arguments_that_cannot_be_passed_on_are_an_error(shop: Shop) -> None:
    shop.install("echo")
    error = shop.call("echo", object()).error
    assert error is not None
    assert error.kind == Kind.INVALID
    assert shop.call("echo", 1) == Result([1])


def test_heartbeats_come_from_the_child(shop: Shop) -> None:
    shop.install("beats")
    beats: list[Any] = []
    assert shop.call("beats", on_heartbeat=beats.append) == Result("done")
    assert [each["n"] for each in beats] == [0, 1, 2]
    assert beats[0]["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [("dies", [7], "exited with 7"), ("is_killed", [], "was ended by SIGKILL")],
)
def test_a_child_that_dies_is_an_error_and_is_replaced(
    shop: Shop, name: str, args: list[Any], text: str
) -> None:
    shop.install(name, "pid")
    error = shop.call(name, *args).error
    assert error is not None
    assert error.kind == Kind.INTERNAL
    assert error.message == f"app:{name}: its worker process {text} while it ran this call"
    assert shop.call(name, *args).error == error
    first = shop.call("pid").value
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_running(first))
    assert shop.call("pid").value != first


@pytest.mark.parametrize("way", ["cancel", "timeout"])
def test_a_call_that_is_given_up_takes_its_child_along(shop: Shop, way: str) -> None:
    shop.install("spins", "pid")
    call, done, pid = shop.spinning(limits=Limits(total=60 * S))
    waiting = shop.submit("spins", str(shop.folder / "never"))
    waiting[0].cancel()
    assert is_running(pid)
    if way == "cancel":
        call.cancel()
    else:
        shop.clock.advance(60 * S)
    error = done.result(30).error
    assert error is not None
    assert error.kind == (Kind.CANCELED if way == "cancel" else Kind.TIMEOUT)
    eventually(lambda: not is_running(pid))
    _, _, other = shop.spinning()
    assert other != pid
    assert not (shop.folder / "never").exists()


def test_calls_wait_for_a_child_in_turn(shop: Shop) -> None:
    shop.install("echo", workers=2)
    calls = [shop.submit("echo", n)[1] for n in range(20)]
    assert [each.result(30).value for each in calls] == [[n] for n in range(20)]


def test_new_code_gets_new_children(shop: Shop) -> None:
    shop.install("counts")
    assert shop.call("counts").value == 1
    old = shop.functions._functions
    shop.install("counts")
    assert shop.functions._functions is not old
    assert shop.call("counts").value == 1


def test_closing_leaves_nothing_behind(shop: Shop) -> None:
    shop.install("spins", "pid", workers=2)
    idle = shop.call("pid").value
    _, done, busy = shop.spinning()
    shop.functions.close()
    eventually(lambda: not is_running(idle) and not is_running(busy))
    assert not done.done()


def test_a_node_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    # No guard around the main module: a child must not import it.
    script = tmp_path / "main.py"
    script.write_text(
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from hosts.functions import PythonFunctions\n"
        "from tests.clock import FakeClock\n"
        "functions = PythonFunctions(Path(sys.argv[1]), FakeClock().timers)\n"
        "pool = {'type': 'process', 'workers': 2}\n"
        "functions.install({n: functions.prepare(n, f'shop:{n}', pool)\n"
        "    for n in ('pid', 'spins')})\n"
        "idle = threading.Event()\n"
        "def said(result):\n"
        "    Path(sys.argv[1], 'idle').write_text(str(result.value))\n"
        "functions.submit('pid', [], {}, said)\n"
        "functions.submit('spins', [sys.argv[1] + '/busy'], {}, print)\n"
        "threading.Event().wait()\n"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    node = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    try:
        files = [tmp_path / "idle", tmp_path / "busy"]
        eventually(lambda: all(each.exists() and each.read_text() for each in files))
        pids = [int(each.read_text()) for each in files]
        assert all(map(is_running, pids))
    finally:
        node.kill()
        node.wait()
    eventually(lambda: not any(map(is_running, pids)))


def test_from_lua_in_an_application(tmp_path: Path) -> None:
    pool = {"type": "process", "workers": 1}
    entries = {
        name: {"kind": "function.python", "target": f"shop:{name}", "pool": pool}
        for name in ("add", "pid", "spins", "is_killed")
    }
    main = process("""
        local file = ...
        local pid = funcs.call("app:pid")
        local killed, err = funcs.call("app:is_killed")
        local future = funcs.async("app:spins", file)
        future:cancel()
        local late = funcs.new():with_options({timeout = 200})
        local none, timeout = late:call("app:spins", file)
        return {pid, tostring(killed), err:kind(), timeout:kind(), funcs.call("app:add", 1, 2)}
    """)
    with running(tmp_path, {**entries, "main": main}, {"shop": SHOP}) as node:
        pid, *rest = run(node, "app:main", "app:one", str(tmp_path / "pid"))
        assert pid != os.getpid()
        assert rest == ["nil", Kind.INTERNAL, Kind.TIMEOUT, 3]
        assert is_running(pid)
    eventually(lambda: not is_running(pid))
