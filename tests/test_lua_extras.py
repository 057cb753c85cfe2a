"""What a module needs of Python packages: absent extras are told, zones need no system database."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WITHOUT = """
import sys
for package in {absent!r}:
    sys.modules[package] = None
from tests.machine_harness import run
print(run({lua!r}))
"""

CALLS = {
    'crypto.encrypt.aes("d", ("k"):rep(32))': ("cryptography", "crypto"),
    'crypto.jwt.encode({}, "k")': ("jwt", "crypto"),
    "json.validate({}, 1)": ("jsonschema", "schema"),
}


def without(absent: list[str], lua: str, **environment: str) -> str:
    script = WITHOUT.format(absent=absent, lua=lua)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_absent_extra_is_unavailable_and_named() -> None:
    calls = ", ".join(f"said({call})" for call in CALLS)
    lua = f"""
        local function said(value, err) return err:kind() .. " " .. err:message() end
        return {{{calls}}}
    """
    assert ast.literal_eval(without(["cryptography", "jwt", "jsonschema", "re2"], lua)) == [
        f"Unavailable {call.partition('(')[0]}: the Python package {package} is not installed: "
        f'pip install "perdure[{extra}]"'
        for call, (package, extra) in CALLS.items()
    ]


def test_what_needs_no_extra_works_without_them() -> None:
    lua = 'return {hash.md5("x"), yaml.encode(1), #crypto.pbkdf2("p", "s", 1, 2)}'
    said = without(["cryptography", "jwt", "jsonschema", "re2"], lua)
    assert said == "['9dd4e461268c8034f5c8564e155c67a6', '1\\n', 2]"


def test_no_package_is_imported_before_it_is_used() -> None:
    script = """
import sys
from tests.machine_harness import run
run('return require("crypto") and require("json")')
packages = {"cryptography", "jwt", "jsonschema", "re2", "tzdata"}
print(sorted(packages & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_zones_work_on_a_machine_without_a_database(tmp_path: Path) -> None:
    lua = """
        local zone = assert(time.load_location("America/New_York"))
        return time.date(2025, 7, 1, 12, 0, 0, 0, zone):utc():format_rfc3339()
    """
    assert without([], lua, PYTHONTZPATH=str(tmp_path)) == "2025-07-01T16:00:00Z"


def test_the_local_zone_is_that_of_the_node_and_utc_in_a_workflow() -> None:
    lua = "return time.unix(1750000000):in_local():format_rfc3339()"
    assert without([], lua, TZ="Asia/Tokyo") == "2025-06-16T00:06:40+09:00"
    script = f"""
from tests.machine_harness import Run
run = Run({lua!r})
run.step()
print(run.result())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "2025-06-15T15:06:40Z"
