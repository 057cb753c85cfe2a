"""Options that several commands share."""

from __future__ import annotations

import json
from typing import Any

import click

overrides = click.option(
    "-o",
    "--override",
    "overrides",
    multiple=True,
    metavar="NS:NAME:FIELD=VALUE",
    help="Override a field of an entry; may be given many times.",
)
data = click.option(
    "--data", metavar="DIR", help="The node's data folder [default: .perdure in APP]."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one value a line.")


class JsonValue(click.ParamType):  # type: ignore[type-arg]
    """A value written as JSON on the command line."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value)
        except ValueError:
            self.fail(
                f"{value!r} is not JSON. Write a number, true, '{{\"id\": 7}}', "
                "or a text in quotes of its own: '\"text\"'",
                param,
                ctx,
            )


class Assignment(click.ParamType):  # type: ignore[type-arg]
    """name=value: the value is JSON where it can be read as such, else a text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, sign, text = value.partition("=")
        if not sign or not name:
            self.fail(f"{value!r}: write it as name=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text
