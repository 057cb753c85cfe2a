"""JSON Schema, by `jsonschema`; patterns by RE2, so that none of them takes for ever.

A schema comes from a user, and so may be made to run on: references that multiply, alternatives of
alternatives, patterns that backtrack. So every keyword is charged to a budget of one validation.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import jsonschema.validators
import re2
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

MAX_SCHEMA: Final = 64 * 1024  #: bytes, encoded
MAX_DATA: Final = 1024 * 1024
#: Microseconds, roughly, that one validation may take.
BUDGET: Final = 500_000
_KEYWORD: Final = 20  #: what one keyword of them takes
_MAX_PROBLEMS: Final = 20

_left = threading.local()


def validate(schema: bytes, data: bytes, is_text: bool) -> bytes:
    """Check data against a schema: an encoded list of problems, {path, message}, empty if it fits.

    Args:
        schema: an encoded map, or JSON as an encoded text.
        data: an encoded value, or JSON where `is_text`.

    Raises INVALID for a schema that is none, and for one that takes more than the budget.
    """
    if len(schema) > MAX_SCHEMA or len(data) > MAX_DATA:
        message = f"a schema has at most {MAX_SCHEMA} bytes, and data {MAX_DATA}"
        raise PerdureError(Kind.INVALID, message)
    validator = _compiled(schema, is_text)
    value = _json(data, "the data") if is_text else decode(data)
    _left.budget = BUDGET
    try:
        problems = [
            {"path": error.json_path, "message": _short(error.message)}
            for error in _first(validator.iter_errors(value))
        ]
    except RecursionError:
        raise PerdureError(Kind.INVALID, "the schema refers to itself without end") from None
    except Unresolvable as error:
        message = f"the schema refers to {error.ref}, which is not in it"
        raise PerdureError(Kind.INVALID, message) from None
    except PerdureError:
        raise
    except Exception as error:  # what jsonschema does not check ends it in as many ways
        message = f"a reference of the schema leads to what is no schema: {error}"
        raise PerdureError(Kind.INVALID, message) from None
    return encode(problems)


def _short(message: str) -> str:
    """A message without most of the data that it may show."""
    return message if len(message) <= 500 else f"{message[:240]} … {message[-240:]}"


def _first(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for count, error in enumerate(errors, 1):
        yield error
        if count == _MAX_PROBLEMS:
            return


@lru_cache(maxsize=128)
def _compiled(schema: bytes, strict: bool) -> Validator:
    found = decode(schema)
    if isinstance(found, str):
        found = _json(found.encode(), "the schema")
    if found == []:  # Lua's empty table
        found = {}
    if not isinstance(found, dict):
        raise PerdureError(Kind.INVALID, "a schema must be a table, or JSON text of an object")
    _check_keywords(found)
    default = jsonschema.validators.Draft202012Validator
    try:
        base = jsonschema.validators.validator_for(found, default=default)
    except (TypeError, ValueError):
        message = f"$schema must be the URI of a draft of JSON Schema, not {found['$schema']!r}"
        raise PerdureError(Kind.INVALID, message) from None
    try:
        base.check_schema(found)
    except (SchemaError, RecursionError) as error:
        raise PerdureError(Kind.INVALID, f"not a JSON Schema: {_explained(error)}") from None
    validator: Validator = _bounded(base, strict)(found, registry=Registry())
    return validator


def _explained(error: BaseException) -> str:
    if isinstance(error, SchemaError):
        return f"{error.message} at {error.json_path}"
    return "it is nested too deeply"


def _check_keywords(schema: Any) -> None:
    """Refuse what jsonschema would work out with patterns, or references, of its own."""
    if isinstance(schema, list):
        for item in schema:
            _check_keywords(item)
    elif isinstance(schema, dict):
        for wanted in ("unevaluatedProperties", "unevaluatedItems"):
            if wanted in schema:
                message = f"{wanted} is not supported: list the properties where they are checked"
                raise PerdureError(Kind.INVALID, message)
        for item in schema.values():
            _check_keywords(item)


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PerdureError(Kind.INVALID, f"{what} is not JSON: {error}") from None


# Keywords -----------------------------------------------------------------------------------------

_Keyword = Callable[[Validator, Any, Any, Any], Iterator[ValidationError] | None]


@lru_cache(maxsize=16)
def _bounded(base: Any, strict: bool) -> Any:
    """A validator class that charges its keywords; unless `strict`, [] is an empty object too."""
    keywords = {**base.VALIDATORS, **_OWN}
    types = base.TYPE_CHECKER
    if not strict:
        types = types.redefine("object", lambda _, value: isinstance(value, dict) or value == [])
    extend: Callable[..., Any] = jsonschema.validators.extend
    return extend(
        base,
        {name: _charged(keyword) for name, keyword in keywords.items() if name in base.VALIDATORS},
        type_checker=types,
    )


def _charged(keyword: _Keyword) -> _Keyword:
    def check(
        validator: Validator, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        size = len(value) if isinstance(value, dict | list | str) else 0
        size += len(instance) // 32 if isinstance(instance, dict | list | str) else 0
        _charge(_KEYWORD + size)
        for error in keyword(validator, value, instance, schema) or ():
            _charge(len(error.message) // 32)
            yield error

    return check


def _charge(amount: int) -> None:
    _left.budget -= amount
    if _left.budget < 0:
        raise PerdureError(Kind.INVALID, "the schema takes too long for this data: make it simpler")


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else ""
        message = f"the pattern {pattern!r} is not one of RE2: {reason}"
        raise PerdureError(Kind.INVALID, message) from None


def _matches(pattern: str, text: Any) -> bool:
    return isinstance(text, str) and _regex(pattern).search(text) is not None


def _pattern(
    validator: Validator, pattern: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    for pattern, subschema in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in instance if isinstance(instance, dict) else ():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"the property {name!r} is not one of the schema")
        elif isinstance(allowed, dict):
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(
    validator: Validator, wanted: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        seen = {json.dumps(_plain(item), sort_keys=True) for item in instance}
        if len(seen) < len(instance):
            yield ValidationError("it has items that are equal")


def _plain(value: Any) -> Any:
    """The same with whole floats as integers: 1.0 and 1 are one number in JSON Schema."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


_OWN: Final[dict[str, _Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
