"""The data folder of a node: its boot number, its owner, its control socket."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from runtime.errors import Kind, PerdureError

#: The control socket, in the data folder.
SOCKET_NAME: Final = "control.sock"


def data_folder(app: str | Path, data: str | Path | None = None) -> Path:
    """The data folder of a node: `data`, or `.perdure` in the application's folder."""
    return Path(data).absolute() if data else Path(app).resolve() / ".perdure"


class DataFolder:
    """Owned by one node at a time; `release` gives it up.

    Raises PerdureError UNAVAILABLE when another node owns it (the message names its pid), INVALID
    when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PerdureError(
                Kind.INVALID,
                f"data folder {path}: {error.strerror}: make it writable, or name another with "
                "--data",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise PerdureError(
                Kind.UNAVAILABLE,
                f"data folder {path} belongs to the running node with pid {owner}: stop that "
                "node, or give this one a folder of its own with --data",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    @property
    def socket(self) -> Path:
        """Where the control socket is."""
        return self.path / SOCKET_NAME

    def next_boot(self) -> int:
        """Count this boot; the number is part of every PID, so that none comes twice."""
        file = self.path / "boot"
        try:
            boot = int(file.read_text()) + 1
        except FileNotFoundError:
            boot = 1
        except ValueError:
            raise PerdureError(
                Kind.INVALID, f"{file} does not hold a number: write one larger than any before"
            ) from None
        draft = file.with_suffix(".new")
        try:
            with draft.open("w") as out:
                out.write(f"{boot}\n")
                out.flush()
                os.fsync(out.fileno())
            draft.replace(file)
        except OSError as error:
            text = f"{file} cannot be written: {error.strerror}: make room, or use --data DIR"
            raise PerdureError(Kind.INVALID, text) from None
        return boot

    def release(self) -> None:
        """Let another node have it."""
        os.close(self._lock)
