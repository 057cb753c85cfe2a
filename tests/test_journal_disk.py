"""Promise 13: a disk that is full or failing loses nothing, and the journal goes on afterwards.

LMDB's own descriptors are pointed elsewhere, so that its writes and syncs really fail: /dev/full
refuses every write, /dev/null swallows writes and refuses fsync (which is what a failed fsync does
to pages on Linux), a read-only descriptor refuses the meta page.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal import faults
from journal.errors import JournalError, JournalFullError, JournalIOError, JournalLossError
from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from journal.writer import BATCH_UNITS
from tests.journal_lab import appending, commit, committed, running


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal", map_size=128 << 10) as journal:
        committed(journal, running(1), running(2), appending(1, ["first"]))
        yield journal


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.arm(None)


def redirect(journal: Journal, device: str, *, meta: bool) -> None:
    """Point LMDB's descriptor for data pages, or the one for meta pages, at another file.

    LMDB opens its data file twice, for meta pages with O_DSYNC.
    """
    data = os.path.join(journal.path, "data.mdb")
    for name in os.listdir("/proc/self/fd"):
        try:
            found = os.readlink(f"/proc/self/fd/{name}") == data
            synced = bool(fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_DSYNC)
        except OSError:
            continue
        if found and synced == meta:
            other = os.open(data if device == "readonly" else device, os.O_RDONLY | os.O_CLOEXEC)
            if device != "readonly":
                os.close(other)
                other = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(other, int(name), inheritable=False)
            os.close(other)
            return
    raise AssertionError("LMDB has no such descriptor open")


@pytest.mark.parametrize(
    ("device", "meta", "error"),
    [
        ("/dev/full", False, JournalFullError),
        ("/dev/null", False, JournalIOError),
        ("readonly", True, JournalIOError),
    ],
    ids=["disk full", "fsync fails", "meta page fails"],
)
def test_a_failed_commit_writes_nothing_and_the_next_one_goes_on(
    journal: Journal, device: str, meta: bool, error: type[JournalError]
) -> None:
    redirect(journal, device, meta=meta)
    (answer,) = commit(journal, appending(1, ["refused", "x" * 5000]))
    assert type(answer) is error
    assert journal.path in str(answer)
    assert journal.history(1) == [(1, ["first"])]

    committed(journal, appending(1, ["second"]))
    path = journal.path
    journal.close()
    with Journal.open(path) as again:
        assert again.history(1) == [(1, ["first"]), (2, ["second"])]
        assert verify(again) == []


def test_a_commit_that_is_there_although_it_failed_is_made_sure_and_acknowledged(
    journal: Journal,
) -> None:
    faults.arm("journal.commit.after:1:raise-eio")
    committed(journal, appending(1, ["there"]))
    faults.arm(None)
    committed(journal, appending(1, ["next"]))
    assert [record for _, record in journal.history(1)] == [["first"], ["there"], ["next"]]


def test_when_nobody_can_say_what_was_written_the_journal_stops_until_it_is_opened_again(
    journal: Journal,
) -> None:
    data = Path(journal.path, "data.mdb")
    redirect(journal, "readonly", meta=True)
    data.rename(data.with_name("away"))
    for _ in range(2):
        (answer,) = commit(journal, appending(1, ["unknown"]))
        assert isinstance(answer, JournalIOError)
        assert "it has to be opened again" in str(answer)
        with pytest.raises(JournalIOError, match="it has to be opened again"):
            journal.history(1)
    journal.close()
    data.with_name("away").rename(data)
    with Journal.open(journal.path) as again:
        assert again.history(1) == [(1, ["first"])]


@pytest.mark.parametrize(
    ("point", "action", "error"),
    [
        (point, action, error)
        for point in ("txn.before", "op.append.before", "op.append.after", "commit.before")
        for action, error in (("raise-enospc", JournalFullError), ("raise-eio", JournalIOError))
    ],
)
def test_a_disk_that_fails_anywhere_fails_the_batch_and_only_that(
    journal: Journal, point: str, action: str, error: type[JournalError]
) -> None:
    faults.arm(f"journal.{point}:1:{action}")
    (answer,) = commit(journal, appending(1, ["refused"]))
    assert type(answer) is error
    assert journal.last_seq(1) == 1
    committed(journal, appending(1, ["second"]), appending(1, ["third"]))
    assert [seq for seq, _ in journal.history(1)] == [1, 2, 3]


def test_a_source_and_a_new_run_of_a_lost_batch_are_not_taken_to_be_there(
    journal: Journal,
) -> None:
    def start() -> Unit:
        unit = appending(7, ["started"])
        unit.put_source(b"digest", b"source")
        return unit

    faults.arm("journal.commit.before:1:raise-eio")
    (answer,) = commit(journal, start())
    assert isinstance(answer, JournalIOError)
    committed(journal, start())
    assert journal.source(b"digest") == b"source"
    assert journal.history(7) == [(1, ["started"])]


def test_a_disk_that_stays_full_refuses_all_until_there_is_space(journal: Journal) -> None:
    faults.arm("journal.commit.before:1+:raise-enospc")
    for _ in range(5):
        (answer,) = commit(journal, appending(1, ["refused"]))
        assert isinstance(answer, JournalFullError)
        assert journal.history(1) == [(1, ["first"])]
    faults.arm(None)
    committed(journal, appending(1, ["second"]))
    assert journal.last_seq(1) == 2


def hold(journal: Journal) -> threading.Event:
    """Keep the writer busy until the event is set, so that what follows becomes one batch."""
    go, busy = threading.Event(), threading.Event()

    def done(_: Exception | None) -> None:
        busy.set()
        go.wait(30)

    journal.submit(appending(9, ["holds the writer"]), done)
    assert busy.wait(30)
    return go


def test_no_unit_lands_on_top_of_a_lost_one(journal: Journal) -> None:
    answers: list[Exception | None] = []
    ended = threading.Event()
    faults.arm("journal.commit.before:2:raise-enospc")  # the first holds the writer
    go = hold(journal)
    for n in range(3 * BATCH_UNITS):
        journal.submit(appending(1, [n]), answers.append, losses=0)
    journal.submit(appending(1, ["last"]), lambda _: ended.set(), losses=0)
    go.set()
    assert ended.wait(30)
    assert {type(answer) for answer in answers} == {JournalFullError}
    assert len(answers) == 3 * BATCH_UNITS
    assert journal.last_seq(1) == 1

    assert journal.losses == 1
    with pytest.raises(JournalLossError, match="its disk is full"):
        journal.submit(appending(1, ["rests on a lost one"]), answers.append, losses=0)
    journal.submit(appending(1, ["knows"]), answers.append, losses=1)
    committed(journal, appending(1, ["does not care"]))
    assert [record[0] for _, record in journal.history(1)] == ["first", "knows", "does not care"]


def test_a_loss_while_closing_still_closes(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    answers: list[Exception | None] = []
    faults.arm("journal.commit.before:2:raise-eio")
    go = hold(journal)
    for _ in range(2 * BATCH_UNITS):
        journal.submit(appending(1, ["lost"]), answers.append)
    closing = threading.Thread(target=journal.close)
    closing.start()
    go.set()
    closing.join(30)
    assert not closing.is_alive()
    assert {type(answer) for answer in answers} == {JournalIOError}


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_is_logged_and_nothing_else(
    journal: Journal, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def done(_: Exception | None) -> None:
        raise error("the caller's own")

    journal.submit(appending(1, ["second"]), done)
    committed(journal, appending(1, ["third"]))
    assert "the caller's own" in caplog.text
    assert journal.last_seq(1) == 3


def test_the_map_grows_under_readers(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perdure.journal")
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                history = journal.history(1)
                assert [seq for seq, _ in history] == list(range(1, len(history) + 1))
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    committed(journal, *(appending(1, ["x" * 4000, n]) for n in range(500)))
    # One unit larger than twice the map: it grows more than once for it.
    committed(journal, appending(2, ["x" * (32 << 20)]))
    stop.set()
    reader.join(30)
    assert failures == []
    assert journal.last_seq(1) == 501
    assert caplog.text.count("map grown") >= 8
    assert verify(journal) == []


FOLLOWER = """
import sys
from journal.environment import Environment
from journal.store import Store

store = Store(Environment(sys.argv[1], 1 << 20, readonly=True))
for _ in sys.stdin:
    print(store.last_seq(1), len(store.history(1)), flush=True)
"""


def test_a_reader_in_another_process_follows_a_growing_map(journal: Journal) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, journal.path],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as reader:
        assert reader.stdin
        assert reader.stdout
        for expected in (1, 31, 61):
            reader.stdin.write("read\n")
            assert reader.stdout.readline() == f"{expected} {expected}\n"
            committed(journal, *(appending(1, [b"x" * 200_000]) for _ in range(30)))
        reader.stdin.close()


LIMITED = """
import os, resource, sys
from journal.journal import Journal
from journal.unit import Unit
from tests.journal_lab import appending, commit, committed

path, limit = sys.argv[1:]
with Journal.open(path, map_size=1 << 20) as journal:
    committed(journal, appending(1, ["first"]))
    kind = getattr(resource, limit)
    before = resource.getrlimit(kind)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    now = (512 << 10) if limit == "RLIMIT_FSIZE" else used + (16 << 20)
    resource.setrlimit(kind, (now, before[1]))
    answers = []
    while not answers or answers[-1] is None:
        answers += commit(journal, appending(1, [os.urandom(100_000)]))
    print(type(answers[-1]).__name__)
    kept = journal.last_seq(1)
    resource.setrlimit(kind, before)
    committed(journal, appending(1, ["goes on"], [b"x" * 64_000_000]))
    print(kept == len(answers), journal.last_seq(1) == kept + 2, journal.history(1)[kept][1])
"""


@pytest.mark.parametrize(
    ("limit", "errors"),
    [
        ("RLIMIT_FSIZE", {"JournalFullError", "JournalIOError"}),
        ("RLIMIT_AS", {"JournalFullError"}),
    ],
)
def test_a_limit_of_file_size_or_address_space_is_met_and_lifted(
    tmp_path: Path, limit: str, errors: set[str]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), limit],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    error, outcome = child.stdout.splitlines()
    assert error in errors
    assert outcome == "True True ['goes on']", child.stderr
