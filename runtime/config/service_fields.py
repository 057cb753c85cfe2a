"""The fields of services: `lifecycle`, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runtime.config.fields import Field, ListOf, Record, Ref
from runtime.config.scalars import Duration, Flag, Integer, Number

#: Kinds whose entries are started and stopped, and take `lifecycle`.
SERVICES: Final = frozenset(
    {
        "journal.lmdb",
        "process.host",
        "process.service",
        "process.supervisor",
        "store.lmdb",
        "temporal.client",
        "temporal.worker",
        "terminal.host",
        "workflow.host",
    }
)

_LIFECYCLE: Mapping[str, Field] = {
    "start_timeout": Field(Duration(), "10s", "a start that takes longer has failed"),
    "stop_timeout": Field(Duration(), "10s", "after it a stop becomes a terminate"),
    "stable_threshold": Field(Duration(), "5s", "a longer run resets the count of attempts"),
    "requires": Field(ListOf(Ref(SERVICES)), [], "ids of services to start first"),
    "restart": Field(
        Record(
            {
                "initial_delay": Field(
                    Duration(), None, "before the first restart: 1s; under a supervisor 0s"
                ),
                "max_delay": Field(Duration(), "90s", "no delay is longer"),
                "backoff_factor": Field(Number(1), 2.0, "each delay times this is the next"),
                "jitter": Field(Number(0, 1), 0.1, "share of the delay that is random"),
                "max_attempts": Field(Integer(), 0, "0: no limit"),
            }
        ),
        {},
        "when and how often to start again after a failure",
    ),
}


def service(
    fields: Mapping[str, Field],
    *,
    auto_start: bool,
    ignored: frozenset[str] = frozenset(),
    untimed: frozenset[str] = frozenset(),
) -> Record:
    """A record with `lifecycle`, but for the fields of that which are `untimed`.

    What others stand on starts with the node unless it says otherwise: a host without an owner for
    its runs, or a journal, is of no use to anybody. What does something by itself starts when it
    is told to.
    """
    doc = f"start with the node; {str(auto_start).lower()} for this kind"
    timed = {name: each for name, each in _LIFECYCLE.items() if name not in untimed}
    lifecycle = Record(
        {"auto_start": Field(Flag(), auto_start, doc), **timed},
        aliases={"depends_on": "requires"},
        ignored=frozenset({"security", "startup", "startup_delay", *untimed}),
    )
    return Record({**fields, "lifecycle": Field(lifecycle, {})}, ignored=ignored)
