"""The command `perdure`."""

from supervision.cli.main import main

__all__ = ["main"]
