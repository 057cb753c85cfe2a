"""What the journal refuses or fails with; hosts translate these for user code.

JournalError
├── JournalPathError      the folder cannot be made, read or written
├── JournalOwnedError     another node (or this process, a second time) has the journal open
├── JournalForkedError    a forked child used the journal of its parent
├── JournalFormatError    written by a newer Perdure, or no journal at all
├── JournalCorruptError   LMDB's own pages are damaged; the node cannot go on with this journal
├── JournalClosedError    used after close()
├── JournalFullError      no space on disk or in the address space; transient
├── JournalIOError        the disk failed to write or to sync; transient unless it says otherwise
├── JournalLossError      earlier units were lost since the caller last looked; see Journal.submit
├── UnitError             one unit holds what cannot be written; raised where the unit is built
└── BadRecordError        one value fails its checksum; it hurts one run and nothing else

A unit that is answered with an error is not in the journal, nor is any that was submitted after it
and before that answer.
"""

from __future__ import annotations

import errno

import lmdb


class JournalError(Exception):
    """Base of everything the journal raises."""


class JournalPathError(JournalError):
    """The folder of the journal cannot be used."""


class JournalOwnedError(JournalError):
    """The journal at `path` is open in process `pid` (0 when the owner has not said yet)."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(
            f"journal {path} is open in process {pid or '(unknown)'}: a journal has one owner; "
            "stop that node first, or give this one a journal of its own"
        )
        self.path = path
        self.pid = pid


class JournalForkedError(JournalError):
    """A process forked from the owner used the journal."""


class JournalFormatError(JournalError):
    """The format of the journal is not one that this version reads."""


class JournalCorruptError(JournalError):
    """LMDB's own structure is damaged."""


class JournalClosedError(JournalError):
    """The journal was closed."""


class JournalFullError(JournalError):
    """There is no room; what was acknowledged is safe, and the next unit may find room again."""


class JournalIOError(JournalError):
    """The disk refused; what was acknowledged is safe.

    A write cut short is EIO to LMDB, so that the first sign of a full disk may look like this.
    """


class JournalLossError(JournalError):
    """A unit was submitted on top of units that are lost; it says why they are."""


class UnitError(JournalError):
    """A key or value of a unit cannot be written."""


class BadRecordError(JournalError):
    """The value under `key` of database `db` is not what was written.

    Attributes:
        db: name of the database.
        key: the whole key.
        run: number of the run it belongs to, 0 when the key does not tell.
    """

    def __init__(self, db: str, key: bytes, run: int, problem: str) -> None:
        place = f" of run {run}" if run else ""
        super().__init__(
            f"record {key.hex()} in {db}{place}: {problem}; "
            "`perdure journal verify` lists every record that is hurt"
        )
        self.db = db
        self.key = key
        self.run = run
        self.problem = problem


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def corrupt(path: str, problem: str) -> JournalCorruptError:
    """The error for damage to the LMDB file itself, with its remedy."""
    return JournalCorruptError(
        f"journal {path}: {problem}: run `perdure journal verify {path}` to see what is readable, "
        "and restore a copy of the folder"
    )


def full(path: str) -> JournalFullError:
    """The error for a disk without space, with its remedy."""
    return JournalFullError(
        f"journal {path}: its disk is full: nothing new is taken until there is space; make room, "
        "and it goes on by itself. What was acknowledged is safe"
    )


def is_full(error: BaseException) -> bool:
    """Whether LMDB or the operating system raised this for want of space."""
    code = error.errno if isinstance(error, OSError) else getattr(error, "code", None)
    return code in _FULL or isinstance(error, lmdb.MapFullError)


def translate(error: Exception, path: str) -> JournalError:
    """The JournalError for what LMDB or the operating system raised."""
    if isinstance(error, JournalError):
        return error
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)):
        return corrupt(path, str(error))
    if is_full(error):
        return full(path)
    return JournalIOError(
        f"journal {path}: its disk refused to write ({error}): nothing of this was written, and "
        "what was acknowledged is safe; ask again, and look at the disk when it goes on"
    )
