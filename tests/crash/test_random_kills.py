"""`kill -9` at random moments under load; the oracle is the process of the test."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from hosts.poison import POISON_BOOTS
from tests.crash_lab import (
    PATIENCE,
    NodeDied,
    NodeProcess,
    check_journal,
    effects,
    until,
)
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    # Reserve, wait for a signal, pay, tell the ledger, have a child ship.
    "order": """
        local number, ledger = ...
        local reserved = funcs.call("app:effect", "reserve", number)
        local said = process.inbox():receive().said
        local pay = funcs.async("app:effect", "pay", number)
        local mail = funcs.async("app:effect", "mail", number)
        pay:response():receive()
        mail:response():receive()
        time.sleep("2ms")
        assert(process.send(ledger, "entry", number))
        local shipped = assert(workflow.exec("app:ship", number))
        return {number, reserved, said, shipped, #uuid.v4()}
    """,
    "ship": 'time.sleep("1ms") return funcs.call("app:effect", "ship", ...)',
    # Counts what each order entered, until it is told how many there are.
    "ledger": """
        local inbox, entries, expected = process.inbox(), {}, nil
        local n = 0
        while n ~= expected do
          local msg = inbox:receive()
          if msg:topic() == "expect" then
            expected = msg:payload():data()
          else
            local number = msg:payload():data()
            entries[number] = (entries[number] or 0) + 1
            n = n + 1
          end
        end
        local list = {}
        for number, times in pairs(entries) do list[#list + 1] = {number, times} end
        return list
    """,
}
#: Orders that are asked for between two kills.
WAVE = 6


class Oracle:
    """Knows what was acknowledged, and asks again for what was not."""

    def __init__(self, app: Path, seed: int) -> None:
        self.app = app
        self.random = random.Random(seed)
        self.asked = 0
        self.started: set[int] = set()
        self.told: set[int] = set()
        self.results: dict[int, Any] = {}

    def pid(self, number: int) -> str:
        return f"{{{HOST}|order-{number}}}"

    def begin(self, node: NodeProcess) -> str:
        return node.spawn("app:ledger", HOST, options={"workflow.id": "ledger"}, key="ledger")

    def ask(self, node: NodeProcess, ledger: str) -> Iterator[Future[Any]]:
        """Ask for everything that was not acknowledged yet, all at once."""
        for number in set(range(self.asked)) - self.started:
            options = {"workflow.id": f"order-{number}"}
            arguments = {"entry": "app:order", "host": HOST, "args": [number, ledger]}
            future = node.ask("spawn", **arguments, options=options, key=f"order-{number}")
            yield self._note(future, lambda pid, n=number: self.started.add(n))
        for number in self.started - self.told:
            message = {"dest": self.pid(number), "topic": "say", "payload": [{"said": number}]}
            future = node.ask("send", **message, key="said")
            yield self._note(future, lambda _, n=number: self.told.add(n))
        for number in self.told - self.results.keys():
            future = node.ask("result", pid=self.pid(number), timeout=PATIENCE)
            yield self._note(future, lambda value, n=number: self.results.update({n: value}))

    def _note(self, future: Future[Any], note: Any) -> Future[Any]:
        def done(future: Future[Any]) -> None:
            if future.exception() is None:
                note(future.result())

        future.add_done_callback(done)
        return future

    def check(self, node: NodeProcess) -> None:
        """Everything that was acknowledged is there, and says what it said."""
        rows = {row["workflow_id"]: row["status"] for row in node.do("runs")}
        for number in self.started:
            assert rows[f"order-{number}"] in ("open", "completed")
        for number in self.results:
            assert rows[f"order-{number}"] == "completed"
        for number in self.random.sample(sorted(self.results), min(3, len(self.results))):
            assert node.result(self.pid(number)) == self.results[number]

    def run(self, kills: int) -> None:
        with NodeProcess(self.app) as node:
            for _ in range(kills):
                self.asked += WAVE
                # Killed here once more, a function would be taken for the cause.
                until(lambda: node.do("alone") < POISON_BOOTS - 1)
                doomed = time.monotonic() + self.random.uniform(0, 0.12)
                try:
                    ledger = self.begin(node)
                    self.check(node)
                    while time.monotonic() < doomed:
                        wait(list(self.ask(node, ledger)), doomed - time.monotonic())
                except NodeDied:
                    pass
                node.crash()
            ledger = self.begin(node)
            while len(self.results) < self.asked:
                before = len(effects(self.app))
                wait(list(self.ask(node, ledger)), PATIENCE)
                moved = len(effects(self.app)) > before or len(self.results) == self.asked
                assert moved, "it stands still"
            self.check(node)
            node.send(ledger, "expect", self.asked, key="expect")
            entries = node.result(ledger)
            node.stop()
        check_journal(self.app)
        self.compare(entries)

    def compare(self, entries: list[list[int]]) -> None:
        """What an undisturbed node would have done, and nothing besides."""
        numbers = range(self.asked)
        assert entries == [[number, 1] for number in numbers], "each order entered itself once"
        for number, result in self.results.items():
            assert result == [number, "reserve", number, "ship", 36]
        keys: dict[tuple[str, int], set[str | None]] = {}
        attempts: dict[str | None, list[int | None]] = {}
        for effect in effects(self.app):
            keys.setdefault((effect.function, effect.args[0]), set()).add(effect.key)
            attempts.setdefault(effect.key, []).append(effect.attempt)
        expected = {(name, n) for name in ("reserve", "pay", "mail", "ship") for n in numbers}
        assert keys.keys() == expected
        assert {len(each) for each in keys.values()} == {1}, "one activity.key for each effect"
        for each in attempts.values():
            assert len(set(each)) == len(each), "no attempt ran twice"


def test_twenty_kills(tmp_path: Path) -> None:
    Oracle(durable_app(tmp_path / "app", WORKFLOWS), seed=20).run(20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    Oracle(durable_app(tmp_path / "app", WORKFLOWS), seed).run(100)
