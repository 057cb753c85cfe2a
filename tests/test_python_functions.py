"""Python functions run with plain values, fail in one way, and end only themselves."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from hosts.function_call import FunctionCall
from hosts.functions import PythonFunction, PythonFunctions
from hosts.limits import Limits
from hosts.outcomes import Result
from runtime.api import ctx, heartbeat
from runtime.errors import Kind, PerdureError
from tests.clock import FakeClock, S
from tests.services import eventually

SHOP = """
import asyncio, contextvars, sys, threading
from runtime.api import PerdureError, ctx, heartbeat

class Ledger:
    @staticmethod
    def charge(amount):
        return amount * 2

LIMIT = 5

def add(a, b):
    return a + b

async def add_async(a, b):
    await asyncio.sleep(0)
    return a + b

def returns_awaitable(a, b):
    return add_async(a, b)

def context():
    return [ctx.get("user"), ctx.get("absent", "default"), ctx.all()]

async def context_async():
    await asyncio.sleep(0)
    return [await asyncio.to_thread(ctx.get, "user"), ctx.get("absent", "default"), ctx.all()]

def raises():
    inner()

def inner():
    raise ValueError("no such card")

async def raises_async():
    await asyncio.sleep(0)
    inner()

def chained():
    try:
        inner()
    except ValueError as error:
        raise PerdureError("Conflict", "declined", retryable=False, details={"n": 1}) from error

def leaves(): sys.exit(3)
async def leaves_async(): sys.exit(3)
async def lets_a_task_leave():
    asyncio.ensure_future(leaves_async())
    await asyncio.sleep(0.01)
    return "still here"
def interrupts(): raise KeyboardInterrupt

class Unspeakable(Exception):
    def __str__(self): raise RuntimeError

def unspeakable(): raise Unspeakable

def gives(value): return value
def gives_pair(value, error): return value, error
def gives_bad_pair(value): return value, LookupError("gone")

def thread_name(barrier):
    barrier.wait(30)
    return threading.current_thread().name

def waits(begun, gate):
    begun.set()
    gate.wait(30)
    return "late"

seen = contextvars.ContextVar("seen", default=0)
def counts():
    seen.set(seen.get() + 1)
    return seen.get()

def beats(begun, gate, ended):
    heartbeat({"done": 1})
    begun.set()
    gate.wait(30)
    try:
        heartbeat({"done": 2})
    except PerdureError as error:
        ended.append(error)
        raise
    return "finished"

async def sleeps(begun, ended):
    begun.set()
    try:
        await asyncio.sleep(3600)
    finally:
        ended.set()
"""


class Shop:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.functions = PythonFunctions(folder, self.clock.timers, workers=2)
        self._installed: dict[str, PythonFunction] = {}

    def add(self, entry_id: str, target: str, pool: dict[str, Any] | None = None) -> None:
        self._installed[entry_id] = self.functions.prepare(entry_id, target, pool)
        self.functions.install(self._installed)

    def submit(
        self, name: str, *args: Any, context: dict[str, Any] | None = None, **options: Any
    ) -> tuple[FunctionCall, Future[Result]]:
        entry_id = f"app:{name}"
        try:
            call = self._submit(entry_id, args, context, options)
        except PerdureError:
            self.add(entry_id, f"shop:{name}")
            call = self._submit(entry_id, args, context, options)
        return call

    def _submit(
        self, entry_id: str, args: Any, context: Any, options: Any
    ) -> tuple[FunctionCall, Future[Result]]:
        done: Future[Result] = Future()
        call = self.functions.submit(
            entry_id, list(args), context or {}, done.set_result, **options
        )
        return call, done

    def call(self, name: str, *args: Any, **options: Any) -> Result:
        return self.submit(name, *args, **options)[1].result(30)

    def error(self, name: str, *args: Any) -> PerdureError:
        result = self.call(name, *args)
        assert result.error is not None
        return result.error


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "shop.py").write_text(SHOP)
    made = Shop(tmp_path)
    yield made
    made.functions.close()


@pytest.mark.parametrize("name", ["add", "add_async", "returns_awaitable"])
def test_values_in_and_out(shop: Shop, name: str) -> None:
    assert shop.call(name, 2, 3) == Result(5)


def test_a_target_may_be_dotted(shop: Shop) -> None:
    assert shop.call("Ledger.charge", 21) == Result(42)


@pytest.mark.parametrize("name", ["context", "context_async"])
def test_the_context_is_that_of_the_call(shop: Shop, name: str) -> None:
    assert shop.call(name, context={"user": "ann"}).value == ["ann", "default", {"user": "ann"}]
    assert shop.call(name).value == [None, "default", {}]
    assert (ctx.get("user"), ctx.all()) == (None, {})


def test_contextvars_do_not_leak_into_the_next_call(shop: Shop) -> None:
    assert [shop.call("counts").value for _ in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize("name", ["raises", "raises_async"])
def test_a_raise_is_internal_with_the_users_frames(shop: Shop, name: str) -> None:
    error = shop.error(name)
    assert error == PerdureError(Kind.INTERNAL, "ValueError: no such card")
    assert "in inner" in error.trace
    assert f"in {name}" in error.trace
    assert "hosts" not in error.trace


def test_a_perdure_error_keeps_itself(shop: Shop) -> None:
    error = shop.error("chained")
    assert error == PerdureError(Kind.CONFLICT, "declined", False, {"n": 1})
    assert "ValueError: no such card" in error.trace
    assert "hosts" not in error.trace


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("leaves", "SystemExit: 3"),
        ("leaves_async", "SystemExit: 3"),
        ("interrupts", "KeyboardInterrupt: "),
        ("unspeakable", "Unspeakable: (its text cannot be had)"),
    ],
)
def test_what_would_end_the_interpreter_ends_only_the_call(
    shop: Shop, name: str, text: str
) -> None:
    assert shop.error(name) == PerdureError(Kind.INTERNAL, text)
    assert shop.call("add", 1, 1) == Result(2)
    assert shop.call("add_async", 1, 1) == Result(2)


def test_a_task_of_the_users_cannot_end_the_loop_of_all(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    assert shop.call("lets_a_task_leave") == Result("still here")
    assert "tried to end the event loop" in caplog.text


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((1, None), Result(1)),
        ((1, ""), Result(1)),
        ((None, "sold out"), Result(error=PerdureError(Kind.UNKNOWN, "sold out"))),
        (
            (1, {"message": "sold out", "left": 0}),
            Result(
                error=PerdureError(
                    Kind.UNKNOWN, "sold out", None, {"message": "sold out", "left": 0}
                )
            ),
        ),
        (
            (1, {"a": 1}),
            Result(
                error=PerdureError(
                    Kind.UNKNOWN, "a dict was returned that has no message", None, {"a": 1}
                )
            ),
        ),
        (
            (1, PerdureError(Kind.NOT_FOUND, "no order")),
            Result(error=PerdureError(Kind.NOT_FOUND, "no order")),
        ),
    ],
)
def test_a_tuple_of_two_is_value_and_error(shop: Shop, args: Any, expected: Result) -> None:
    assert shop.call("gives_pair", *args) == expected


@pytest.mark.parametrize("value", [[1, 2], (1, 2, 3), (1,), None, {"error": "x"}])
def test_everything_else_is_a_value(shop: Shop, value: Any) -> None:
    assert shop.call("gives", value) == Result(value)


def test_an_exception_as_second_item_is_as_if_raised(shop: Shop) -> None:
    assert shop.error("gives_bad_pair", 1) == PerdureError(Kind.INTERNAL, "LookupError: gone")


def test_wrong_arguments_are_a_failure_of_the_call(shop: Shop) -> None:
    assert "add() missing 1 required positional argument: 'b'" in shop.error("add", 1).message
    assert "add_async() missing 1 required" in shop.error("add_async", 1).message


def test_calls_run_in_parallel_up_to_the_workers(shop: Shop) -> None:
    barrier = threading.Barrier(2)
    calls = [shop.submit("thread_name", barrier)[1] for _ in range(2)]
    names = {call.result(30).value for call in calls}
    assert len(names) == 2
    assert all(name.startswith("perdure-fn-") for name in names)


def test_a_pool_of_its_own_is_not_held_up_by_the_shared_one(shop: Shop) -> None:
    gate = threading.Event()
    begun = [threading.Event(), threading.Event()]
    blocked = [shop.submit("waits", each, gate)[1] for each in begun]
    for each in begun:
        assert each.wait(30)
    shop.add("app:own", "shop:gives", {"type": "thread", "workers": 1})
    assert shop.call("own", 1) == Result(1)
    queued = shop.submit("gives", 2)[1]
    assert not queued.done()
    gate.set()
    assert queued.result(30) == Result(2)
    assert [each.result(30) for each in blocked] == [Result("late")] * 2


def test_a_timeout_ends_the_call_and_drops_the_late_result(shop: Shop) -> None:
    begun, gate = threading.Event(), threading.Event()
    _, done = shop.submit("waits", begun, gate, limits=Limits(total=2 * S))
    assert begun.wait(30)
    shop.clock.advance(2 * S - 1)
    assert not done.done()
    shop.clock.advance(1)
    expected = PerdureError(Kind.TIMEOUT, "app:waits did not return within 2s")
    assert done.result(30) == Result(error=expected)
    gate.set()
    assert shop.call("add", 1, 1, limits=Limits(total=S)) == Result(2)
    assert shop.clock.timers.next_due() is None


def test_a_heartbeat_is_passed_on_and_raises_once_nobody_waits(shop: Shop) -> None:
    begun, gate = threading.Event(), threading.Event()
    beats: list[Any] = []
    ended: list[PerdureError] = []
    call, done = shop.submit("beats", begun, gate, ended, on_heartbeat=beats.append)
    assert begun.wait(30)
    call.cancel("its caller ended")
    assert done.result(30) == Result(error=PerdureError(Kind.CANCELED, "its caller ended"))
    gate.set()
    eventually(lambda: bool(ended))
    assert ended[0].kind == Kind.CANCELED
    assert "its caller ended" in ended[0].message
    assert beats == [{"done": 1}]


def test_a_heartbeat_does_nothing_where_nobody_listens(shop: Shop) -> None:
    heartbeat("outside of any call")
    gate = threading.Event()
    gate.set()
    assert shop.call("beats", threading.Event(), gate, []) == Result("finished")


@pytest.mark.parametrize("how", ["cancel", "time out", "close"])
def test_an_async_function_is_cancelled(shop: Shop, how: str) -> None:
    begun, ended = threading.Event(), threading.Event()
    call, done = shop.submit("sleeps", begun, ended, limits=Limits(total=S))
    assert begun.wait(30)
    if how == "cancel":
        call.cancel()
    elif how == "time out":
        shop.clock.advance(S)
    else:
        shop.functions.close()
    assert ended.wait(30)
    if how == "close":
        assert not done.done()
    else:
        error = done.result(30).error
        assert error is not None
        assert error.kind == (Kind.CANCELED if how == "cancel" else Kind.TIMEOUT)


def test_a_call_cancelled_in_the_queue_never_begins(shop: Shop) -> None:
    gate = threading.Event()
    begun = [threading.Event() for _ in range(3)]
    for each in begun[:2]:
        shop.submit("waits", each, gate)
        assert each.wait(30)
    call, done = shop.submit("waits", begun[2], gate)
    call.cancel()
    assert done.result(30).error == PerdureError(Kind.CANCELED, "canceled")
    gate.set()
    assert shop.call("add", 1, 1) == Result(2)
    assert not begun[2].is_set()


def test_closing_delivers_nothing_more(shop: Shop) -> None:
    begun, gate = threading.Event(), threading.Event()
    ended: list[PerdureError] = []
    _, done = shop.submit("beats", begun, gate, ended)
    assert begun.wait(30)
    shop.add("app:add_async", "shop:add_async")
    shop.functions.close()
    for name in ("beats", "add_async"):
        late: list[Result] = []
        shop.functions.submit(f"app:{name}", [1, 2], {}, late.append)
        assert late == []
    gate.set()
    assert not done.done()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop", "is not of the form package.module:callable"),
        ("shop:", "is not of the form package.module:callable"),
        ("shpo:add", r'there is no "shpo" in .* did you mean "shop"\?'),
        ("shop.sub:add", r'no "sub" in .*; there is nothing there to name'),
        ("shop:adds", r'shop has no "adds"; did you mean "add"\?'),
        ("shop:Ledger.pay", 'Ledger has no "pay"; there is charge'),
        ("shop:LIMIT", "is of type int: name a function instead"),
        ("broken:f", "cannot be imported: ZeroDivisionError: division by zero"),
        ("needy:f", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("leaver:f", "cannot be imported: SystemExit: 2"),
        ("garbled:f", r"cannot be imported: SyntaxError: .*garbled.py, line 1"),
    ],
)
def test_a_wrong_target_says_what_is_there(
    shop: Shop, tmp_path: Path, target: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "needy.py").write_text("import nowhere")
    (tmp_path / "leaver.py").write_text("raise SystemExit(2)")
    (tmp_path / "garbled.py").write_text("def f(:")
    with pytest.raises(PerdureError, match=message) as raised:
        shop.add("app:charge", target)
    assert raised.value.kind == Kind.INVALID
    assert raised.value.message.startswith(f'app:charge: target "{target}"')


@pytest.mark.parametrize(
    ("name", "pool", "message"),
    [
        ("add", {"type": "lazy"}, 'pool type "lazy" is none of a Python function'),
        ("add", {"workers": 0}, "pool workers is 0: give a whole number from 1"),
        ("add_async", {"workers": 2}, "async functions share one event loop"),
    ],
)
def test_a_wrong_pool_is_refused(shop: Shop, name: str, pool: dict[str, Any], message: str) -> None:
    with pytest.raises(PerdureError, match=message):
        shop.add("app:add", f"shop:{name}", pool)


def test_the_folder_is_last_on_the_path_until_close(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "wares.py").write_text(f"def name(): return {folder.name!r}")
    for folder in folders:
        functions = PythonFunctions(folder, FakeClock().timers)
        assert sys.path[-1] == str(folder)
        functions.install({"app:name": functions.prepare("app:name", "wares:name")})
        done: Future[Result] = Future()
        functions.submit("app:name", [], {}, done.set_result)
        assert done.result(30) == Result(folder.name)
        functions.close()
        assert str(folder) not in sys.path
        assert "wares" not in sys.modules


def test_an_unknown_function_is_not_found(shop: Shop) -> None:
    with pytest.raises(PerdureError, match="no Python function app:nothing"):
        shop.functions.submit("app:nothing", [], {}, lambda result: None)


def test_a_hung_function_does_not_keep_the_interpreter_from_ending(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(
        "import threading\ndef hang(begun):\n    begun.set()\n    threading.Event().wait()\n"
    )
    program = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from hosts.functions import PythonFunctions\n"
        "from tests.clock import FakeClock\n"
        "functions = PythonFunctions(Path(sys.argv[1]), FakeClock().timers)\n"
        "functions.install({'app:hang': functions.prepare('app:hang', 'hangs:hang')})\n"
        "begun = threading.Event()\n"
        "functions.submit('app:hang', [begun], {}, print)\n"
        "begun.wait()\n"
    )
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=True, timeout=60)
