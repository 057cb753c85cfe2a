"""What docs/durability.md says of the tests is so: promises, fault points, planted bugs."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import partial

import journal.upkeep  # noqa: F401  declares its points
import supervision.node  # noqa: F401  and those of the hosts
from journal import faults
from tests.crash.bugs import BUGS
from tests.docs_lab import DOCS, ROOT, rows_of, section_of

PAGE = (DOCS / "durability.md").read_text(encoding="utf-8")


section = partial(section_of, PAGE)
rows = partial(rows_of, PAGE)


def test_every_promise_names_its_tests() -> None:
    items = re.split(r"^(\d+)\. ", section("What is promised"), flags=re.MULTILINE)[1:]
    numbers, texts = items[::2], items[1::2]
    assert numbers == [str(number) for number in range(1, 17)]
    for number, text in zip(numbers, texts, strict=True):
        named = re.findall(r"`(tests/[\w/]+\.py)`", text)
        kept = (ROOT / "tests").glob(f"test_promise_{int(number):02}_*.py")
        assert {f"tests/{file.name}" for file in kept} <= set(named), number
        assert all((ROOT / file).is_file() for file in named), named
        assert any(f"test_promise_{int(number):02}_" in file for file in named), number


def test_every_fault_point_is_told_of() -> None:
    named = [name for row in rows("What a crash does") for name in re.findall("`([^`]+)`", row[0])]
    points = [each for each in faults.points() if not each.startswith("test.")]
    unknown = [name for name in named if not any(fnmatch(each, name) for each in points)]
    untold = [each for each in points if not any(fnmatch(each, name) for name in named)]
    assert (unknown, untold) == ([], [])


def test_the_table_of_planted_bugs_is_that_of_the_tests() -> None:
    planted = [[f"`{name}`", bug.does, f"`{bug.caught_by}`"] for name, bug in BUGS.items()]
    assert rows("How the tests are tested") == planted
    for bug in BUGS.values():
        assert (ROOT / bug.caught_by.partition("::")[0]).is_file()


def test_the_flips_that_were_measured_add_up() -> None:
    assert sum(int(row[1]) for row in rows("Damaged files")) == 2000
