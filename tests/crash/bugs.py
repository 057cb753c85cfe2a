"""Bugs that a durable engine could have, each planted by one patch, with a test that must catch it.

`PERDURE_TEST_BUG=name` plants one in every process that the tests start: in pytest itself (see
conftest.py) and in the nodes that they kill.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

VARIABLE: Final = "PERDURE_TEST_BUG"


class Bug(NamedTuple):
    """A bug.

    Attributes:
        does: what it amounts to, for the table in the documentation.
        plant: makes the engine have it.
        caught_by: node id of a test that passes without it and fails with it.
    """

    does: str
    plant: Callable[[], None]
    caught_by: str


def _replace(owner: Any, name: str, planted: Any) -> None:
    setattr(owner, name, planted)


def _acknowledge_before_sync() -> None:
    from hosts.durable.shard import Shard

    sound = Shard._write

    def write(self: Any, execution: Any, commands: Any) -> None:
        for reply, value in execution.acks:
            self.parts.router.answer(reply, value)
        execution.acks = []
        sound(self, execution, commands)

    _replace(Shard, "_write", write)


def _effect_before_commit() -> None:
    from hosts.durable.flights import Flights

    sound = Flights.add

    def add(self: Any, unit: Any, flight: Any) -> None:
        self._settle(flight, None)
        sound(self, unit, flight._replace(acks=(), commands=(), effects=()))

    _replace(Flights, "add", add)


def _sync_skipped() -> None:
    import lmdb

    sound = lmdb.open

    def unsynced(*args: Any, **options: Any) -> Any:
        return sound(*args, **{**options, "sync": False})

    _replace(lmdb, "open", unsynced)


def _sequence_reused() -> None:
    from journal import batch

    sound = batch.last_seq

    def last_seq(txn: Any, handles: Any, run: int) -> int:
        return max(sound(txn, handles, run) - 1, 0)

    _replace(batch, "last_seq", last_seq)


def _commit_torn() -> None:
    from journal.batch import Batches

    sound = Batches.apply

    def apply(self: Any, txn: Any, handles: Any, units: Sequence[Any]) -> None:
        from journal.unit import APPEND

        for unit in units:
            if len(unit.ops) > 1:
                unit.ops = [op for op in unit.ops if op[0] == APPEND] or unit.ops
        sound(self, txn, handles, units)

    _replace(Batches, "apply", apply)


def _timer_dropped() -> None:
    from journal.unit import Unit

    _replace(Unit, "put_timer", lambda self, run, seq, due_ns: None)


def _first_result_wins_dropped() -> None:
    from hosts.durable.activities import Activities
    from hosts.durable.execution import Execution

    sound = Activities._result

    def result(self: Any, key: tuple[int, int], ok: bool, value: bytes) -> None:
        sound(self, key, ok, value)
        execution = self._shard.runs.find_run(key[0])
        if execution is not None:
            self._shard.touch(execution, ["activity_completed", key[1], value])

    _replace(Activities, "_result", result)
    _replace(Execution, "expects", lambda self, record: True)


def _outbox_not_resumed() -> None:
    from hosts.durable.resumption import Resumption

    _replace(Resumption, "open", lambda self, run: None)
    _replace(Resumption, "ended", lambda self, run, row, seqs: None)


def _attempt_not_counted() -> None:
    from hosts.durable.activities import Activities

    sound = Activities.journal_attempt

    def journal_attempt(self: Any, execution: Any, activity: Any, *, alone: bool) -> None:
        sound(self, execution, activity, alone=False)

    _replace(Activities, "journal_attempt", journal_attempt)


def _dedupe_off() -> None:
    from journal.unit import Unit

    _replace(Unit, "put_dedupe", lambda self, key, value: None)


def _checksum_ignored() -> None:
    from journal import encoding

    def crc32(data: bytes, start: int = 0) -> int:
        return 0

    _replace(encoding, "crc32", crc32)


def _replay_with_effects() -> None:
    from hosts.durable.runs import Runs

    sound = Runs.load

    def load(self: Any, run: int, row: Any) -> Any:
        execution = sound(self, run, row)
        for seq in list(execution.activities):
            self._shard.activities._run_alone(execution, seq)
        return execution

    _replace(Runs, "load", load)


_PROMISE: Final = "tests/test_promise_"

BUGS: Final[dict[str, Bug]] = {
    "acknowledge-before-sync": Bug(
        "callers are told before the commit",
        _acknowledge_before_sync,
        f"{_PROMISE}13_full_disk.py::test_what_could_not_be_written_is_not_acknowledged",
    ),
    "effect-before-commit": Bug(
        "activities, sends and children start before the step is on disk",
        _effect_before_commit,
        f"{_PROMISE}13_full_disk.py::test_what_could_not_be_written_is_not_done",
    ),
    "sync-skipped": Bug(
        "commits are not synced",
        _sync_skipped,
        "tests/test_journal_disk.py::"
        "test_a_failed_commit_writes_nothing_and_the_next_one_goes_on[fsync fails]",
    ),
    "sequence-reused": Bug(
        "the number of a run's last record is given again",
        _sequence_reused,
        "tests/test_journal_crash.py::test_killed_again_and_again_it_still_gets_to_the_end",
    ),
    "step-torn": Bug(
        "a step's records are written without its index rows",
        _commit_torn,
        f"{_PROMISE}14_boot.py",
    ),
    "timer-dropped": Bug(
        "a sleep leaves no row in the timer index",
        _timer_dropped,
        f"{_PROMISE}06_timers.py::"
        "test_what_fell_due_while_the_node_was_down_fires_at_boot_in_due_order[embedded]",
    ),
    "first-result-wins-dropped": Bug(
        "a second result of an activity is recorded too",
        _first_result_wins_dropped,
        f"{_PROMISE}04_results.py::test_every_attempt_is_journaled",
    ),
    "outbox-not-resumed": Bug(
        "what was committed and not yet sent is forgotten at boot",
        _outbox_not_resumed,
        f"{_PROMISE}03_effects_after_commit.py::"
        "test_what_is_asked_of_others_waits_for_the_commit_too[journal.commit.after-send]",
    ),
    "attempt-not-counted": Bug(
        "attempts that took the node down are not counted",
        _attempt_not_counted,
        f"{_PROMISE}04_results.py::test_a_function_that_takes_the_node_down_is_failed_and_shown",
    ),
    "dedupe-off": Bug(
        "idempotency keys are not kept",
        _dedupe_off,
        f"{_PROMISE}01_acknowledged.py::"
        "test_a_message_with_a_known_key_is_acknowledged_and_dropped[embedded-a crash]",
    ),
    "checksum-ignored": Bug(
        "records are read without looking at their checksum",
        _checksum_ignored,
        "tests/test_journal_damage.py::test_a_flipped_bit_in_a_page_hurts_only_reads_of_that_page",
    ),
    "replay-with-effects": Bug(
        "rebuilding a run starts its pending activities again",
        _replay_with_effects,
        f"{_PROMISE}04_results.py::test_what_crashes_do_to_calls_under_way",
    ),
}


def plant() -> None:
    """Plant the bug that the environment names, if any."""
    name = os.environ.get(VARIABLE)
    if name:
        BUGS[name].plant()
