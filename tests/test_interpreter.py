"""What a node asks of the interpreter."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from supervision.interpreter import SWITCH_INTERVAL, YOUNG, tune


@pytest.fixture
def settings() -> Iterator[None]:
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("interval", "young", "expected"),
    [
        (0.005, 700, (SWITCH_INTERVAL, YOUNG)),  # the defaults
        (0.0001, 50_000, (0.0001, 50_000)),  # better already
        (0.005, 0, (SWITCH_INTERVAL, 0)),  # a collector that is off stays so
    ],
)
def test_only_what_is_worse_is_changed(
    interval: float, young: int, expected: tuple[float, int]
) -> None:
    sys.setswitchinterval(interval)
    gc.set_threshold(young, 7, 8)
    tune()
    assert sys.getswitchinterval() == pytest.approx(expected[0])
    assert gc.get_threshold() == (expected[1], 7, 8)
