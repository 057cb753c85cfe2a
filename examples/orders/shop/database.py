"""The shop's books: one SQLite file, written by one transaction at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"

_TABLES = """
CREATE TABLE IF NOT EXISTS reservations (
    key TEXT PRIMARY KEY, order_id INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (
    key TEXT PRIMARY KEY, order_id INTEGER NOT NULL, amount INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS ledger_order ON ledger (order_id);
CREATE TABLE IF NOT EXISTS parcels (
    key TEXT PRIMARY KEY, order_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS approvals (
    pid TEXT PRIMARY KEY, order_id INTEGER NOT NULL, decision TEXT, delivered INTEGER NOT NULL);
"""


class Books:
    """A connection to the file, opened at the first use."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """On disk when the block ends; as if it had never been when the block raises."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; the next transaction opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            self._connection = connection
        return self._connection


books = Books(DATA / "shop.db")
