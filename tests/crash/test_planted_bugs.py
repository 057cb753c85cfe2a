"""The suite catches bugs: each is planted in turn, and the test that is named beside it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.bugs import BUGS, VARIABLE

ROOT = Path(__file__).parent.parent.parent


def run_test(node_id: str, bug: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--timeout=60",
            "-p",
            "no:cacheprovider",
            node_id,
        ],
        cwd=ROOT,
        env={**os.environ, **({VARIABLE: bug} if bug else {})},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    planted = run_test(BUGS[name].caught_by, name)
    assert planted.returncode == 1, planted.stdout + planted.stderr
    assert " failed" in planted.stdout
    assert "error" not in planted.stdout.splitlines()[-1], (
        "it is a test that fails, not its setting"
    )


def test_without_a_bug_the_same_tests_pass() -> None:
    """They run with the suite anyway; this says that planting nothing plants nothing."""
    sound = run_test(BUGS["dedupe-off"].caught_by, "")
    assert sound.returncode == 0, sound.stdout
