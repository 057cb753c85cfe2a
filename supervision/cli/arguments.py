"""The command line of `perdure run`: ours up to the command, then the program's own."""

from __future__ import annotations

from collections.abc import Sequence

import click


class RunCommand(click.Command):
    """A command whose options may stand before and behind its first argument, not further."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {
            name
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        options, arguments = split(args, valued)
        return super().parse_args(ctx, [*options, "--", *arguments])


def split(args: Sequence[str], valued: set[str]) -> tuple[list[str], list[str]]:
    """Options of ours, and the rest: APP, then the program's command line as it is.

    `valued` are the options that take a value. The program's line begins with the second argument,
    or with `--`.
    """
    options: list[str] = []
    arguments: list[str] = []
    rest = list(args)
    while rest and len(arguments) < 2:
        item = rest.pop(0)
        if item == "--":
            break
        if item[:1] != "-" or item == "-":
            arguments.append(item)
            continue
        options.append(item)
        if item in valued and rest:
            options.append(rest.pop(0))
    return options, arguments + rest
