"""The benchmarks run: no figure of theirs is tested, they are measurements."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.catalogue import ALL
from benchmarks.figures import Figure, Goal, Peer, Spread, result
from benchmarks.peers import durable
from benchmarks.runner import run
from benchmarks.surroundings import file_system, warnings

#: Of the benchmarks that stand beside other engines, each started anew, the gate runs one so.
BESIDE = [
    pytest.param(name, marks=() if name == "empty workflows" else pytest.mark.soak)
    for name, benchmark in ALL.items()
    if any(each.peer in durable.PEERS for each in benchmark.figures)
]


@pytest.mark.parametrize("name", list(ALL))
def test_runs_with_a_tiny_size(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = durable.PEERS
    monkeypatch.setattr(durable, "PEERS", ())
    check_run(name, tmp_path, left_out=peers)


@pytest.mark.parametrize("name", BESIDE)
def test_runs_beside_other_engines(name: str, tmp_path: Path) -> None:
    check_run(name, tmp_path)


def check_run(name: str, folder: Path, left_out: Sequence[Peer] = ()) -> None:
    results = run(ALL[name], folder, quick=True)
    assert [each.figure for each in results] == list(ALL[name].figures)
    for each in results:
        peer = each.figure.peer
        there = peer.present() and peer not in left_out if isinstance(peer, Peer) else peer != ""
        # Memory of a few processes can vanish in what the allocator had at hand.
        assert math.isfinite(each.own.median)
        assert (each.ratio is None) == (not there)
        assert each.met is None
    assert list(folder.iterdir()) == []


def test_the_command_prints_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", "--only", "channels"]
    root = Path(__file__).parent.parent
    printed = subprocess.check_output([*command, "--folder", str(tmp_path)], cwd=root)
    document = json.loads(printed)
    assert document["surroundings"]["folder"] == str(tmp_path)
    assert {each["benchmark"] for each in document["figures"]} == {"channels"}


ROUNDS = [{"ours": 30.0, "peer": 2.0}, {"ours": 20.0, "peer": 1.0}, {"ours": 10.0, "peer": 10.0}]


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("ours", "m/s", "peer", Goal(15, at_least=True)), True),
        (Figure("ours", "m/s", "peer", Goal(16, at_least=True)), False),
        (Figure("ours", "MB", goal=Goal(20, at_least=False)), True),
        (Figure("ours", "MB", goal=Goal(19, at_least=False)), False),
        (Figure("ours", "MB"), None),
    ],
)
def test_a_goal_is_on_the_ratio_where_there_is_a_peer(figure: Figure, met: bool | None) -> None:
    found = result("some", figure, ROUNDS, full=True)
    assert found.own == Spread(10, 20, 30)
    assert found.ratio == (Spread(1, 15, 20) if figure.peer else None)
    assert found.met is met
    assert result("some", figure, ROUNDS, full=False).met is None


@pytest.mark.parametrize("present", [True, False])
def test_a_peer_that_is_not_installed_is_left_out_and_said_so(present: bool) -> None:
    peer = Peer("Other", "syncs each commit", 'pip install "perdure[bench]"', lambda: present)
    figure = Figure("ours", "m/s", peer, Goal(15, at_least=True))
    values = {peer.of("ours"): 2.0} if present else {}
    found = result("some", figure, [{"ours": 40.0, **values}], full=True)
    assert found.ratio == (Spread(20, 20, 20) if present else None)
    assert found.met is (True if present else None)
    (note,) = report.notes([found])
    assert ("syncs each commit" in note) is present
    assert ("perdure[bench]" in note) is not present


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.27571, "0.276"), (9.392, "9.39"), (27.34, "27.3"), (512.3, "512"), (327362.3, "327,000")],
)
def test_numbers_show_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_doubtful_surroundings_are_named() -> None:
    facts = {"load": [0.1, 0, 0], "cores": 2, "file system": "ext4", "folder": "/data"}
    assert warnings(facts) == []
    (load,) = warnings({**facts, "load": [1.5, 0, 0]})
    assert "1.5 on 2 cores" in load
    (disk,) = warnings({**facts, "file system": "tmpfs"})
    assert "/data is on tmpfs" in disk


def test_the_file_system_is_found(tmp_path: Path) -> None:
    assert file_system(tmp_path) != ""
