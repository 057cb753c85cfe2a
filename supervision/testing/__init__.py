"""A test kit for applications; with pytest, the fixture `perdure` is one. See docs/testing.md."""

from supervision.testing.crashes import CrashDifference, Crashes
from supervision.testing.effects import Effect, in_turn
from supervision.testing.kit import Kit, Stuck

__all__ = ["CrashDifference", "Crashes", "Effect", "Kit", "Stuck", "in_turn"]
