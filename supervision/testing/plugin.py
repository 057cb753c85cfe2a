"""The pytest plugin: the fixture `perdure`.

It is loaded wherever Perdure is installed, so it imports nothing before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from supervision.testing.kit import Kit


@pytest.fixture
def perdure(tmp_path: Path) -> Iterator[Kit]:
    """An application under test, whose time is the test's: see supervision.testing.Kit."""
    from supervision.testing.kit import Kit

    folder = tmp_path / "perdure"
    folder.mkdir()
    kit = Kit(folder)
    yield kit
    kit.close()
