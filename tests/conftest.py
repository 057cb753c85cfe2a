"""Plants the bug that the tests are to catch, when the environment names one; and the Temporal
server that all tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash import bugs
from tests.temporal_lab import DevServer, dev_server

bugs.plant()


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[DevServer]:
    """A Temporal dev server with its state in memory."""
    with dev_server() as server:
        yield server
