"""Promise 11: one owner. And: what is no journal of ours is refused by name, and left as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import lmdb
import pytest

from journal import files
from journal.encoding import encode
from journal.errors import (
    JournalCorruptError,
    JournalError,
    JournalForkedError,
    JournalFormatError,
    JournalOwnedError,
    JournalPathError,
)
from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from tests.journal_lab import appending, committed

OWNER = """
import sys, time
from journal.journal import Journal
journal = Journal.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def start_owner(path: Path, program: str = OWNER) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    assert owner.stdout.readline() == "open\n"
    return owner


def test_a_second_process_is_refused_with_the_owners_pid_until_the_owner_dies(
    tmp_path: Path,
) -> None:
    with start_owner(tmp_path) as owner:
        with pytest.raises(JournalOwnedError) as caught:
            Journal.open(tmp_path)
        assert caught.value.pid == owner.pid
        assert caught.value.path == str(tmp_path)
        assert str(owner.pid) in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        owner.kill()
    Journal.open(tmp_path).close()


def test_a_second_open_in_the_same_process_is_refused_and_hurts_nothing(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        with pytest.raises(JournalOwnedError, match=str(os.getpid())):
            Journal.open(tmp_path)
        committed(journal, appending(1, ["still"]))
    with Journal.open(tmp_path) as journal:
        assert journal.history(1) == [(1, ["still"])]


def in_fork(check: object) -> int:
    """Exit code of a forked child that calls `check`."""
    assert callable(check)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads
        child = os.fork()
    if child == 0:
        try:
            check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_is_refused_and_does_not_disturb_its_parent(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        committed(journal, appending(1, ["before"]))
        uses = (
            lambda: journal.submit(Unit(), lambda error: None),
            lambda: journal.history(1),
            lambda: journal.run(1),
            journal.close,
        )

        def check() -> None:
            for use in uses:
                with pytest.raises(JournalForkedError, match=f"process {os.getppid()}"):
                    use()

        assert in_fork(check) == 0
        committed(journal, appending(1, ["after"]))
        assert journal.last_seq(1) == 2
        with pytest.raises(JournalOwnedError):
            Journal.open(tmp_path)


def test_a_forked_child_does_not_keep_the_journal_of_a_dead_owner(tmp_path: Path) -> None:
    program = OWNER.replace(
        'print("open", flush=True)',
        # The child says so itself: its copy of the lock is closed before its first own line.
        'import os\nif not os.fork(): print("open", os.getpid(), sep="\\n", flush=True)',
    )
    with start_owner(tmp_path, program) as owner:
        assert owner.stdout
        child = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        os.kill(child, 0)  # it lives, waiting for its standard input
        Journal.open(tmp_path).close()
        os.kill(child, signal.SIGKILL)


def test_a_journal_keeps_its_identity(tmp_path: Path) -> None:
    said: list[str] = []
    with Journal.open(tmp_path / "a" / "b", on_progress=said.append) as journal:
        first = (journal.journal_id, journal.created_ns)
        assert journal.path == str(tmp_path / "a" / "b")
    with Journal.open(tmp_path / "a" / "b", on_progress=said.append) as journal:
        assert (journal.journal_id, journal.created_ns) == first
    assert said[0].endswith(": created")
    assert said[1].endswith(" KiB")


def test_a_newer_format_is_refused_by_name_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FORMAT_VERSION", files.FORMAT_VERSION + 1)
    Journal.open(tmp_path).close()
    monkeypatch.undo()
    before = (tmp_path / "data.mdb").read_bytes()
    for open_it in (Journal.open, verify):
        with pytest.raises(JournalFormatError, match=r"format 5.*up to format 4: use the newer"):
            open_it(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalPathError, match=r"file/journal: the folder cannot be made"):
        Journal.open(tmp_path / "file" / "journal")
    with pytest.raises(JournalPathError, match="cannot be opened"):
        verify(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalPathError, match=r"cannot write .*owner\.lock"):
        Journal.open(tmp_path)


def fill(path: Path) -> None:
    with Journal.open(path) as journal:
        committed(journal, *(appending(run, ["x" * 3000]) for run in range(1, 100)))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_refused_with_the_remedy(tmp_path: Path, share: float) -> None:
    fill(tmp_path)
    data = tmp_path / "data.mdb"
    size = int(data.stat().st_size * share)
    os.truncate(data, size)
    with pytest.raises(JournalCorruptError, match="restore a copy"):
        Journal.open(tmp_path)
    assert data.stat().st_size == size


def test_a_lost_file_is_not_taken_for_a_new_journal(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "data.mdb").unlink()
    with pytest.raises(JournalCorruptError, match="missing or empty"):
        Journal.open(tmp_path)


def test_damaged_meta_pages_are_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with (tmp_path / "data.mdb").open("r+b") as file:
        file.write(b"\xff" * 8192)
    with pytest.raises(JournalCorruptError, match="perdure journal verify"):
        Journal.open(tmp_path)


@pytest.mark.parametrize("identity", [None, b"", encode(b"another key", [1, "uuid", 0])])
def test_an_lmdb_file_that_is_no_journal_is_refused(tmp_path: Path, identity: bytes | None) -> None:
    with lmdb.open(str(tmp_path), max_dbs=2) as env:
        meta = env.open_db(b"other" if identity is None else b"meta")
        with env.begin(write=True) as txn:
            txn.put(files.IDENTITY, identity or b"", db=meta)
    with pytest.raises(JournalError, match=r"not a journal"):
        Journal.open(tmp_path)
