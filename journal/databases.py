"""The named databases of a journal: what is under which key.

A unit changes them together, so each index agrees with the records it follows from. Numbers in
keys are 8 bytes, big-endian.
"""

from __future__ import annotations

from typing import Final, NamedTuple

META: Final = 0
RUNS: Final = 1
IDS: Final = 2
HISTORY: Final = 3
TIMERS: Final = 4
ACTIVITIES: Final = 5
OUTBOX: Final = 6
READY: Final = 7
DEDUPE: Final = 8
SOURCES: Final = 9
ENDED: Final = 10
NAMES: Final = 11
PAYLOADS: Final = 12
HELD: Final = 13
HOLDERS: Final = 14
SEARCH: Final = 15
BUSY: Final = 16


class Database(NamedTuple):
    """One named database.

    Attributes:
        name: as LMDB knows it.
        noun: one row of it, as in `put_timer`.
        width: bytes of each key, 0 for keys of any length.
        run_at: where in the key the run number stands, -1 when it does not.
    """

    name: str
    noun: str
    width: int
    run_at: int

    def run(self, key: bytes) -> int:
        """Number of the run that a key belongs to, 0 when the key does not tell."""
        if self.run_at < 0 or len(key) != self.width:
            return 0
        return int.from_bytes(key[self.run_at : self.run_at + 8], "big")


#: In the order of the constants above.
DATABASES: Final = (
    Database("meta", "meta", 0, -1),  # "journal" -> [format, uuid, created_ns]; "runs" -> highest
    Database("runs", "run", 8, 0),  # run -> RunRow
    Database("ids", "id", 0, -1),  # workflow id -> [current run, full id when hashed]
    Database("history", "page", 16, 0),  # run, seq of the last record in the page -> records
    Database("timers", "timer", 24, 8),  # due_ns, run, seq -> nil
    Database("activities", "activity", 16, 0),  # run, seq -> the host's row
    Database("outbox", "outbox", 16, 0),  # run, seq -> the host's row
    Database("ready", "ready", 8, 0),  # run -> nil
    Database("dedupe", "dedupe", 0, -1),  # idempotency key -> [value, full key when hashed]
    Database("sources", "source", 0, -1),  # content hash -> blob
    Database("ended", "ended", 16, 8),  # ended_ns, run -> nil
    Database("names", "name", 0, -1),  # name -> [value, full name when hashed]
    # Since format 2:
    Database("payloads", "payload", 36, -1),  # SHA-256, chunk number (4 bytes) -> chunk
    Database("held", "held", 40, 0),  # run, SHA-256 of a payload in its history -> nil
    Database("holders", "holder", 40, 32),  # SHA-256, run -> nil
    # Since format 3:
    Database("search", "search", 0, -1),  # attribute, value, run (attributes.py) -> nil
    # Since format 4; before, `activities` had a row for each that was pending:
    Database("busy", "busy", 8, 0),  # run -> nil
)
