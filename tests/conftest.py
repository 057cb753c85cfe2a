"""Plants the bug that the tests are to catch, when the environment names one; and the Temporal
server that all tests of a session share."""

from __future__ import annotations

import compileall
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import temporal_lab
from tests.both_hosts import EMBEDDED, TEMPORAL, Host
from tests.crash import bugs
from tests.temporal_lab import DevServer

bugs.plant()

# The gate looks at the same examples every time, so that a change fails on what it changed;
# `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("gate", derandomize=True, database=None, deadline=None)
settings.register_profile("search", print_blob=True, deadline=None)
settings.load_profile("gate")

_ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Compile once what every node of its own process imports, also where Python is told to write
    no bytecode: to compile 190 modules takes longer than all the rest of a boot."""
    if not hasattr(config, "workerinput"):
        for folder in ("runtime", "journal", "hosts", "supervision", "tests"):
            compileall.compile_dir(_ROOT / folder, quiet=2, rx=re.compile(r"/test_[^/]*$"))


@pytest.fixture(scope="session")
def session_server() -> Iterator[DevServer]:
    with temporal_lab.dev_server() as server:
        yield server


@pytest.fixture(scope="module")
def temporal_server(session_server: DevServer) -> Iterator[DevServer]:
    """A Temporal dev server with its state in memory. Every history that a module leaves on it is
    replayed."""
    yield session_server
    assert temporal_lab.misfits(session_server) == {}


@pytest.fixture(scope="module", params=[EMBEDDED, TEMPORAL])
def host(request: pytest.FixtureRequest) -> Host:
    """Where workflows run, first one, then the other."""
    on_server = request.param == TEMPORAL
    return Host(request.getfixturevalue("temporal_server") if on_server else None)
