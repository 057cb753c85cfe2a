"""The log of a node that the command runs: on stderr, a record a line, its traceback below it."""

from __future__ import annotations

import logging
import sys
from datetime import datetime

import click

LEVELS = ("debug", "info", "warning", "error")

_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "bright_black"}


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123+01:00 info    text`; further lines of the text are indented."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        time = (
            datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        )
        level = f"{record.levelname.lower():7}"
        if self._colour:
            level = click.style(level, fg=_COLOURS.get(level.strip()))
        return f"{time} {level} {text.rstrip().replace(chr(10), chr(10) + '    ')}"


def log_to_stderr(level: str) -> None:
    """Log records of this level and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(colour=sys.stderr.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
