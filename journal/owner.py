"""One owner per journal: a lock on a file of its folder, held as long as the journal is open.

`owner.lock` holds the owner's pid and the journal's UUID. The UUID tells a new folder from one
that has lost its data file. The lock is flock(2): it goes with the process, however that dies, and
a second open in the same process meets it too. A forked child would share it and so outlive the
owner with it: the child closes its copy at once.
"""

from __future__ import annotations

import fcntl
import os
import weakref

from journal.errors import JournalOwnedError, JournalPathError

_held: weakref.WeakSet[OwnerLock] = weakref.WeakSet()


class OwnerLock:
    """The lock on a journal's folder.

    Raises JournalOwnedError when somebody has it, JournalPathError when the file cannot be made.

    Attributes:
        journal_id: UUID of the journal that was in this folder, "" when there was none yet.
    """

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, "owner.lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalPathError(
                f"journal {folder}: cannot write {path}: {error.strerror}"
            ) from error
        pid, self.journal_id = _read(self._fd)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise JournalOwnedError(folder, pid) from None
        pid, self.journal_id = _read(self._fd)
        self._write()
        _held.add(self)

    def name(self, journal_id: str) -> None:
        """Note the UUID of the journal that now lives here."""
        self.journal_id = journal_id
        self._write()

    def release(self) -> None:
        """Let the next owner in; does nothing the second time."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _write(self) -> None:
        # One write of fixed width: a reader never sees half of it.
        os.pwrite(self._fd, f"{os.getpid():>10}\n{self.journal_id:36}\n".encode(), 0)


def _read(fd: int) -> tuple[int, str]:
    pid, _, journal_id = os.pread(fd, 64, 0).decode("ascii", "replace").partition("\n")
    return int(pid) if pid.strip().isdigit() else 0, journal_id.strip()


def _release_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
