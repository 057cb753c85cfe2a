"""`crash_everywhere`: the outcome of a workflow must not depend on where its node was killed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from hosts.durable.moments import moments
from journal.environment import COMMIT_AFTER, COMMIT_BEFORE
from journal.errors import JournalError
from supervision.control.timeline import timeline
from supervision.testing.effects import Effect
from supervision.trial import reading

#: Where a node is killed: when its n-th transaction is about to be committed, and when it has been,
#: before anybody hears of it.
BOUNDARIES: Final = {COMMIT_BEFORE: "before", COMMIT_AFTER: "after"}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class CrashDifference(AssertionError):
    """A workflow did something else after a crash than it does undisturbed."""


class Crashes(NamedTuple):
    """What `crash_everywhere` went through.

    Attributes:
        commits: transactions from the first to the last request of the scenario.
        kills: how often a node was killed.
        outcome: what the scenario returns, undisturbed and every time.
    """

    commits: int
    kills: int
    outcome: Any


class Seen(NamedTuple):
    """One run of a scenario.

    Attributes:
        value: what it returned.
        failure: what it raised instead.
        deaths: for each kill, the last records of the journal's open runs, in words.
    """

    value: Any
    failure: Exception | None
    effects: Sequence[Effect]
    deaths: Sequence[Sequence[str]]


def without_uuids(value: Any) -> Any:
    """A value in which every UUID is the same: a workflow draws others in each run."""
    if isinstance(value, str):
        return _UUID.sub("<uuid>", value)
    if isinstance(value, (list, tuple)):
        return [without_uuids(item) for item in value]
    if isinstance(value, dict):
        return {without_uuids(key): without_uuids(item) for key, item in value.items()}
    return value


def once_each(effects: Sequence[Effect], same: Callable[[Any], Any]) -> Counter[str]:
    """What was done, counting what has the same activity.key once, as text."""
    seen: dict[Any, str] = {}
    for number, effect in enumerate(effects):
        key = number if effect.key is None else effect.key
        args = ", ".join(repr(same(argument)) for argument in effect.args)
        seen.setdefault(key, f"{effect.function}({args})")
    return Counter(seen.values())


def difference(expected: Seen, seen: Seen, same: Callable[[Any], Any]) -> list[str]:
    """How two runs of a scenario differ, in lines; none when they do not."""
    lines = []
    if seen.failure is not None:
        lines.append(f"it fails: {seen.failure}")
    elif same(expected.value) != same(seen.value):
        lines += [f"its outcome is {seen.value!r}", f"     undisturbed {expected.value!r}"]
    wanted, done = once_each(expected.effects, same), once_each(seen.effects, same)
    lines += [f"it did not do {text}" for text in (wanted - done).elements()]
    lines += [f"it did, under another activity.key, {text}" for text in (done - wanted).elements()]
    if lines:
        lines += _repeated(seen.effects)
        lines += [f"in the journal: {line}" for death in seen.deaths for line in death]
    return lines


def _repeated(effects: Sequence[Effect]) -> list[str]:
    times = Counter((effect.function, effect.key) for effect in effects if effect.key is not None)
    return [
        f"{function} ran {count} times under the activity.key {key}: only its first recorded "
        "result counts, so what it does must be the same when it is done again"
        for (function, key), count in times.items()
        if count > 1
    ]


def last_words(journals: Path) -> list[str]:
    """The last record of each open run in the journals of a dead node, in words."""
    lines = []
    for file in sorted(journals.glob("*/data.mdb")):
        try:
            with reading(file.parent) as store:
                for number, row in store.runs():
                    if row.is_open:
                        history = store.history(number)
                        last = timeline(moments(history, row.started_ns, row.ended_ns))[-1]
                        lines.append(f"{row.workflow_id} ({row.entry}): {last['text']}")
        except JournalError:
            continue  # a store, or a journal that was about to be made
    return lines
