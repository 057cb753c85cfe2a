"""`-o ns:name:field=value`: fields of entries given on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from runtime.config.declarations import Declaration
from runtime.config.documents import Located, parse_scalar
from runtime.config.place import shown
from runtime.config.problems import Findings, Problem, suggest

_FORM = "write namespace:name:field=value"


def apply_overrides(
    declarations: Iterable[Declaration], overrides: Sequence[str], findings: Findings
) -> list[Declaration]:
    """The declarations with `overrides` in place, applied in order.

    A field may be dotted (`lifecycle.restart.max_attempts`), and may be `kind`. A value is read as
    a YAML scalar.
    """
    result = list(declarations)
    for override in overrides:
        origin = f"-o {override}"

        def reject(entry: str, message: str, hint: str, origin: str = origin) -> None:
            findings.problems.append(Problem(origin, 0, entry, message, hint))

        target, equals, text = override.partition("=")
        entry_id, _, path = target.rpartition(":")
        if not equals or ":" not in entry_id or not all(path.split(".")):
            reject("", "not an override", _FORM)
            continue
        known = {str(each.id) for each in result}
        if entry_id not in known:
            reject(entry_id, "there is no such entry", suggest(entry_id, known, "there are {}"))
            continue
        if path == "name":
            reject(entry_id, "the name of an entry cannot be overridden", "change it in its file")
            continue
        try:
            value = parse_scalar(text, origin)
            result = [
                replace(each, body=_with(each.body, path.split("."), value))
                if str(each.id) == entry_id
                else each
                for each in result
            ]
        except ValueError as error:
            reject(entry_id, *error.args)
    return result


def concerning(overrides: Sequence[str], declarations: Iterable[Declaration]) -> list[str]:
    """Those of the overrides that are for entries among these."""
    ids = {str(each.id) for each in declarations}
    return [each for each in overrides if each.partition("=")[0].rpartition(":")[0] in ids]


def _with(body: Mapping[str, Located], path: Sequence[str], value: Located) -> dict[str, Located]:
    """`body` with the value at a path, making maps on the way; raises ValueError(message, hint)."""
    first, *rest = path
    if rest:
        inside = body.get(first) or Located(None, origin=value.origin)
        if not isinstance(inside.value, (dict, type(None))):
            raise ValueError(
                f'{first} is {shown(inside)}, and has no field "{rest[0]}"', f"override {first}"
            )
        value = replace(inside, value=_with(inside.value or {}, rest, value))
    return {**body, first: value}
