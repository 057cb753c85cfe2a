"""A history as a timeline: what happened, in words, and when."""

from __future__ import annotations

from collections.abc import Iterable

from hosts.reports import Moment
from runtime.clock import timestamp
from supervision.control.words import Fields, Targets, in_words


def timeline(history: Iterable[Moment]) -> list[Fields]:
    """The items of a history, oldest first.

    Each has `seq`; `at`, ISO 8601 in UTC, or None; `type`; `text`, what happened, in words; and
    `data`, its fields.
    """
    # The number of a request of the run has the name of what was requested, so that a reader can
    # follow it.
    targets: Targets = {}
    rows = []
    for seq, at, kind, data in history:
        if kind == "activity_scheduled":
            targets[data["activity"]] = data["target"]
        elif kind == "child_requested":
            targets[data["child"]] = data["entry"]
        text = in_words(kind, data, targets)
        rows.append({"seq": seq, "at": timestamp(at), "type": kind, "text": text, "data": data})
    return rows
