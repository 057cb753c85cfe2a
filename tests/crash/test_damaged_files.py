"""Flipped bits and files that were cut: no wrong data is ever passed on.

A flip in a record is found by its checksum. One in LMDB's own pages may stop the process that
reads them, so each journal is opened in a child process only; or hide rows, which `verify` finds.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.damage import UNITS

ROOT = Path(__file__).parent.parent.parent
PAGE = 4096


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    folder = tmp_path / "sound"
    command = [sys.executable, "-m", "tests.journal_workload", str(folder), str(UNITS)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder


def examine(sound: Path, damages: Iterable[dict[str, int]]) -> list[dict[str, Any]]:
    """What came of each damage; {"died": exit code} where the reader did not survive it."""
    outcomes: list[dict[str, Any]] = []
    damages = list(damages)
    while len(outcomes) < len(damages):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.damage", str(sound), str(sound.parent / "hurt")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = "".join(json.dumps(damage) + "\n" for damage in damages[len(outcomes) :])
        output, errors = child.communicate(lines, timeout=3000)
        outcomes += map(json.loads, output.splitlines())
        if child.returncode:
            assert child.returncode < 0, f"{damages[len(outcomes)]}: {errors}"
            outcomes.append({"died": child.returncode})
    return outcomes


def kind_of(outcome: dict[str, Any]) -> str:
    if "died" in outcome:
        return "process died"
    if outcome["wrong"]:
        return "WRONG"
    if outcome["missing"] and not outcome["refused"]:
        return "missing, verify finds it" if outcome["findings"] else "missing"
    return "refused" if outcome["refused"] else "nothing happened"


def check(sound: Path, damages: list[dict[str, int]]) -> Counter[str]:
    outcomes = examine(sound, damages)
    wrong = [
        (damage, outcome["wrong"])
        for damage, outcome in zip(damages, outcomes, strict=True)
        if outcome.get("wrong")
    ]
    assert wrong == []
    return Counter(map(kind_of, outcomes))


def flips(sound: Path, count: int) -> list[dict[str, int]]:
    size = (sound / "data.mdb").stat().st_size
    return [{"flip": bit} for bit in random.Random(count).sample(range(8 * size), count)]


def test_flipped_bits_pass_no_wrong_data_on(sound: Path) -> None:
    kinds = check(sound, flips(sound, 200))
    assert kinds["refused"] > 5, "flips that nobody reads prove nothing"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_flipped_bits(sound: Path) -> None:
    check(sound, flips(sound, 2000))


def test_files_cut_at_page_borders_are_refused_or_read_right(sound: Path) -> None:
    size = (sound / "data.mdb").stat().st_size
    kinds = check(sound, [{"cut": cut} for cut in range(0, size, PAGE)])
    assert kinds["refused"] > 0


def test_undamaged_it_is_read_as_it_was_written(sound: Path) -> None:
    size = (sound / "data.mdb").stat().st_size
    assert examine(sound, [{"cut": size}]) == [
        {"refused": [], "wrong": [], "missing": [], "findings": 0}
    ]
