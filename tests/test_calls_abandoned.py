"""Who is called hears of it when its caller has ended, whatever it is and wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.process_lab import PATIENCE, NodeClock, eventually, failure, function, process, running

#: Says that it runs, and what it hears; then it has something left to do.
LISTENS = """
    local events = process.events()
    process.send("log", "runs")
    local event = events:receive()
    process.send("log", "heard", event.kind, type(event.reason))
    time.sleep("1ms")
    process.send("log", "did")
"""
LOG = process("""
    process.registry.register("log")
    local all = {}
    while true do
      local msg = process.inbox():receive()
      if msg:topic() == "reset" then
        all = {}
        process.send(msg:from(), "done")
      elseif msg:topic() == "all" then
        process.send(msg:from(), "all", all)
      else
        all[#all + 1] = msg:topic()
      end
    end
""")
CALLER = """
    local target, options = ...
    local executor = funcs.new()
    if options then executor = executor:with_options(options) end
    local future = executor:async(target)
    while true do
      local topic = process.inbox():receive():topic()
      if topic == "cancel" then future:cancel() end
      if topic == "return" then return end
      if topic == "raise" then error("it broke") end
    end
"""
PYTHON = """
import asyncio, pathlib, time
from hosts.api import Process
from runtime.api import PerdureError, heartbeat

FOLDER = pathlib.Path(__file__).parent

def say(text):
    with open(FOLDER / "said", "a") as file: file.write(text + " ")

def plain():
    say("runs")
    try:
        while True:
            heartbeat()
            time.sleep(0.001)
    except PerdureError:
        say("heard")
        raise

async def waits():
    say("runs")
    try:
        await asyncio.sleep(60)
    finally:
        say("heard")

def spins():
    say("runs")
    time.sleep(60)
    say("slept")

class Actor(Process):
    def on_start(self): self.send("log", "runs")
    def on_message(self, topic, payload, sender): ...
    def on_cancel(self, reason):
        self.send("log", "heard")
        self.send("log", "did")
        self.exit()

class Deaf(Process):
    def on_start(self): self.send("log", "runs")
    def on_message(self, topic, payload, sender): ...
    def on_cancel(self, reason): self.send("log", "heard")
"""
HOSTED = {"meta": {"default_host": "app:one"}}
ENTRIES: dict[str, dict[str, Any]] = {
    "journal": {"kind": "journal.lmdb", "path": "./journal"},
    "workflows": {"kind": "workflow.host", "journal": "app:journal", "workers": 1},
    "alone": {"kind": "process.host", "isolation": "vm"},
    "log": LOG,
    "caller": process(CALLER),
    "workflow": {**process(CALLER), "kind": "workflow.lua"},
    "inline": function(LISTENS),
    "static": function(LISTENS, pool={"type": "static", "workers": 1}),
    "lazy": function(LISTENS, pool={"type": "lazy", "max_size": 1}),
    "nested": function("return funcs.call('app:inline')"),
    "hosted": process(LISTENS, **HOSTED),
    "hosted_alone": process(LISTENS, meta={"default_host": "app:alone"}),
    "actor": {"kind": "process.python", "target": "calls:Actor", **HOSTED},
    "deaf_actor": {"kind": "process.python", "target": "calls:Deaf", **HOSTED},
    "deaf": function(LISTENS.replace("time.sleep", "events:receive() time.sleep")),
    "ignores": function('process.send("log", "runs") process.inbox():receive()'),
    "plain": {"kind": "function.python", "target": "calls:plain"},
    "waits": {"kind": "function.python", "target": "calls:waits"},
    "spins": {"kind": "function.python", "target": "calls:spins", "pool": {"type": "process"}},
}
LISTENING = ["inline", "static", "lazy", "nested", "hosted", "hosted_alone", "actor"]


class Setting:
    def __init__(self, node: Node, clock: NodeClock, folder: Path) -> None:
        self.node = node
        self.clock = clock
        self.folder = folder
        node.spawn("app:log", "app:other")
        eventually(lambda: node.router.lookup("log") is not None)

    def reset(self) -> None:
        self.node.actor("log").ask(("reset",), timeout=PATIENCE)
        (self.folder / "said").unlink(missing_ok=True)

    def said(self) -> list[str]:
        told = self.node.actor("log").ask(("all",), timeout=PATIENCE)
        file = self.folder / "said"
        return [*told, *(file.read_text().split() if file.exists() else ())]

    def until(self, *said: str) -> None:
        def is_so() -> bool:
            # Timers of the functions run on the node's clock.
            self.clock.advance(self.node.timers, 2_000_000)
            return self.said() == list(said)

        eventually(is_so)

    def start(self, host: str, target: str, *args: Any) -> str:
        entry = "app:workflow" if host == "app:workflows" else "app:caller"
        pid = self.node.spawn(entry, host, f"app:{target}", *args)
        self.until("runs")
        return pid

    def end(self, pid: str, how: str) -> None:
        if how == "terminate":
            self.node.terminate(pid)
        else:
            self.node.send(pid, how)
        if how == "return":
            self.node.result(pid, PATIENCE)
        elif how != "cancel":
            failure(self.node, pid)

    def nothing_is_left(self) -> bool:
        return {row["entry"] for row in self.node.processes()} <= {"app:log", "app:caller"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    clock, folder = NodeClock(), tmp_path_factory.mktemp("app")
    with running(folder, ENTRIES, {"calls": PYTHON}, clock=clock) as node:
        yield Setting(node, clock, folder)


@pytest.fixture
def setting(node: Setting) -> Setting:
    node.reset()
    return node


@pytest.mark.parametrize("host", ["app:one", "app:alone", "app:workflows"])
@pytest.mark.parametrize("target", LISTENING)
def test_what_listens_hears_cancel_and_has_time(setting: Setting, target: str, host: str) -> None:
    pid = setting.start(host, target)
    setting.end(pid, "terminate")
    setting.until("runs", "heard", "did")
    eventually(setting.nothing_is_left)


@pytest.mark.parametrize("how", ["return", "raise", "cancel"])
@pytest.mark.parametrize("target", ["inline", "static", "actor"])
def test_however_its_caller_leaves_it(setting: Setting, target: str, how: str) -> None:
    pid = setting.start("app:one", target)
    setting.end(pid, how)
    setting.until("runs", "heard", "did")
    if how == "cancel":
        setting.end(pid, "return")


@pytest.mark.parametrize("target", ["inline", "hosted", "actor"])
def test_a_timeout_is_told_too(setting: Setting, target: str) -> None:
    pid = setting.start("app:one", target, {"timeout": "10s"})
    setting.clock.advance(setting.node.timers, 10_000_000_000)
    setting.until("runs", "heard", "did")
    setting.end(pid, "return")


@pytest.mark.parametrize("host", ["app:one", "app:workflows"])
@pytest.mark.parametrize("target", ["deaf", "deaf_actor"])
def test_its_time_is_limited(setting: Setting, target: str, host: str) -> None:
    pid = setting.start(host, target)
    setting.end(pid, "terminate")
    setting.until("runs", "heard")
    setting.clock.advance(setting.node.timers, 10_000_000_000)
    eventually(setting.nothing_is_left)
    assert setting.said() == ["runs", "heard"]


@pytest.mark.parametrize("host", ["app:one", "app:alone", "app:workflows"])
def test_what_does_not_listen_ends_at_once(setting: Setting, host: str) -> None:
    pid = setting.start(host, "ignores")
    setting.end(pid, "terminate")
    eventually(setting.nothing_is_left)
    assert setting.said() == ["runs"]


@pytest.mark.parametrize("host", ["app:one", "app:alone", "app:workflows"])
@pytest.mark.parametrize(
    ("target", "said"),
    [("plain", ("runs", "heard")), ("waits", ("runs", "heard")), ("spins", ("runs",))],
)
def test_python_functions_are_cancelled(
    setting: Setting, target: str, said: tuple[str, ...], host: str
) -> None:
    setting.end(setting.start(host, target), "terminate")
    setting.until(*said)
    eventually(lambda: not setting.node._python.busy)


def test_a_call_from_python_that_is_given_up(setting: Setting) -> None:
    with pytest.raises(PerdureError) as caught:
        setting.node.call("app:static", timeout=0)
    assert caught.value.kind == Kind.TIMEOUT
