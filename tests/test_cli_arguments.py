"""`perdure run` takes its own options up to the command, and leaves the rest to the program."""

from __future__ import annotations

import pytest

from supervision.cli.arguments import split

VALUED = {"-o", "--override", "--exec", "--data"}


@pytest.mark.parametrize(
    ("line", "options", "arguments"),
    [
        ("app", "", "app"),
        ("app -o a:b:c=1", "-o a:b:c=1", "app"),
        ("-o a:b:c=1 app", "-o a:b:c=1", "app"),
        ("app greet", "", "app greet"),
        ("app greet -o x --data y", "", "app greet -o x --data y"),
        ("app --data d greet --help", "--data d", "app greet --help"),
        ("app --data=d greet", "--data=d", "app greet"),
        ("app --exec app:x one --two", "--exec app:x", "app one --two"),
        ("app --exec app:x -- --two", "--exec app:x", "app --two"),
        ("app --help", "--help", "app"),
        ("app --dta d", "--dta", "app d"),
        ("app -", "", "app -"),
        ("app --data", "--data", "app"),
        ("", "", ""),
    ],
)
def test_a_command_line_is_split(line: str, options: str, arguments: str) -> None:
    assert split(line.split(), VALUED) == (options.split(), arguments.split())
