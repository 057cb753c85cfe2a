"""The canonical value codec: msgpack, byte for byte what the Lua side writes (prelude/codec.lua).

One value has one encoding, so that hashes of encoded arguments mean something: integers in their
shortest form, floats always as float64, map keys sorted (numbers by value, then text bytewise, then
False and True). Errors are extension type 1 with the body ``[kind, message, retryable, details,
context, trace]``.

What Lua does with a value that came from Python and goes back is the one source of differences:

- Lua has one kind of string. ``bytes`` that happen to be UTF-8 come back as ``str``.
- Lua has one empty table. An empty dict is written as ``[]`` already here.
- Lua has no key without a value. ``None`` vanishes as value of a dict, and at the end of a list; a
  list with ``None`` before its end and a dict with keys exactly 1..n become the other one.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import re
import uuid
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgpack

from runtime.errors import Kind, PerdureError

#: Tables within tables; deeper ones are refused on both sides.
MAX_DEPTH: Final = 100

_ERROR_EXT: Final = 1
_INTEGERS: Final = range(-(2**63), 2**63)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)

#: Types whose subclasses travel as the type itself.
_BASES: Final[tuple[type[Any], ...]] = (str, int, float, bytes, list, tuple, dict)

Value: TypeAlias = Any
"""None, bool, int, float, str, bytes, list, dict or PerdureError, nested; `encode` takes more."""


def encode(value: Value) -> bytes:
    """Encode one value.

    Besides what `decode` returns, tuples become lists, dataclasses dicts, dates and times ISO 8601
    text, Decimal and UUID text, and members of an Enum their value. Raises PerdureError INVALID,
    with the path of the culprit (``$.items[3].when``), for anything else, integers beyond 64 bits
    with sign, text with lone surrogates, and nesting deeper than 100.
    """
    return _pack(_plain_at_root(value))


def encode_args(args: Iterable[Value]) -> bytes:
    """Encode a list of arguments, trailing None included; errors as for `encode`."""
    return _pack([_plain_at_root(arg, f"${i}") for i, arg in enumerate(args, 1)])


def decode(data: bytes) -> Value:
    """Decode one value; raises PerdureError INVALID when `data` is not what `encode` writes."""
    try:
        return msgpack.unpackb(data, strict_map_key=False, ext_hook=_read_extension)
    except PerdureError:
        raise
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise PerdureError(Kind.INVALID, f"not a value of this runtime: {error}") from error


def decode_args(data: bytes) -> list[Value]:
    """Decode what `encode_args` wrote; errors as for `decode`."""
    args = decode(data)
    if not isinstance(args, list):
        raise PerdureError(Kind.INVALID, "a list of arguments was expected")
    return args


class _Unfit(Exception):
    """A value that cannot travel; gathers the path to it while it goes up."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []


def _pack(plain: Any) -> bytes:
    return msgpack.packb(plain, use_bin_type=True)  # type: ignore[no-any-return]


def _plain_at_root(value: Any, root: str = "$") -> Any:
    try:
        return _plain(value, 0)
    except _Unfit as unfit:
        path = root + "".join(reversed(unfit.path))
        raise PerdureError(Kind.INVALID, f"{path}: {unfit.problem}") from None


def _plain(value: Any, depth: int) -> Any:
    """The same value in types that msgpack writes by itself, keys in order."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return _integer(value)
    if value is None or kind in (bool, float, bytes):
        return value
    if kind is dict:
        return _mapping(value, depth)
    if kind is list or kind is tuple:
        return _sequence(value, depth)
    if isinstance(value, PerdureError):
        return _extension(value, depth)
    return _plain(_simpler(value), depth)


def _simpler(value: Any) -> Any:
    """One step from a richer type towards those of `_plain`."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime.date):  # a datetime too
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    for base in _BASES:
        if isinstance(value, base):
            return base(value)
    raise _Unfit(
        f"a value of type {type(value).__qualname__} cannot be sent: "
        "use None, bool, int, float, str, bytes, lists and dicts"
    )


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Unfit(f"text that is not Unicode ({error.reason})") from None
    return value


def _integer(value: int) -> int:
    if value not in _INTEGERS:
        raise _Unfit(f"the integer {value} does not fit into 64 bits: send it as text")
    return value


def _sequence(items: Iterable[Any], depth: int) -> list[Any]:
    _check_depth(depth)
    plain: list[Any] = []
    try:
        for item in items:
            plain.append(_plain(item, depth + 1))  # its length is the place of a failure
    except _Unfit as unfit:
        unfit.path.append(f"[{len(plain)}]")
        raise
    return plain


def _mapping(items: dict[Any, Any], depth: int) -> Any:
    _check_depth(depth)
    if not items:
        return []
    plain: dict[Any, Any] = {}
    for key, item in items.items():
        try:
            plain[_key(key)] = _plain(item, depth + 1)
        except _Unfit as unfit:
            unfit.path.append(_step(key))
            raise
    if len(plain) < len(items) or not _distinct_in_lua(plain):
        raise _Unfit("two keys of a dict are the same key in Lua")
    return {key: plain[key] for key in sorted(plain, key=_rank)}


def _check_depth(depth: int) -> None:
    if depth == MAX_DEPTH:
        raise _Unfit(f"nesting deeper than {MAX_DEPTH} (or a value that contains itself)")


def _key(key: Any) -> Any:
    """A key as Lua would have it: a float that is an integer is that integer."""
    kind = type(key)
    if kind is str:
        return _text(key)
    if kind is float:
        if key != key:
            raise _Unfit("NaN cannot be a key")
        return int(key) if key.is_integer() and int(key) in _INTEGERS else key
    if kind is int:
        return _integer(key)
    if kind is bool or kind is bytes:
        return key
    if isinstance(key, enum.Enum | str | int | float | bytes | uuid.UUID):
        return _key(_simpler(key))
    raise _Unfit(f"a key of type {kind.__qualname__}: use str, int, float, bool or bytes")


def _distinct_in_lua(plain: dict[Any, Any]) -> bool:
    return not any(type(key) is bytes and _as_text(key) in plain for key in plain)


def _as_text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _rank(key: Any) -> tuple[int, Any]:
    kind = type(key)
    if kind is str:
        return (1, key.encode())
    if kind is bytes:
        return (1, key)
    return (2, key) if kind is bool else (0, key)


def _step(key: Any) -> str:
    if isinstance(key, str) and _IDENTIFIER.fullmatch(key):
        return f".{key}"
    return f"[{key!r}]"


def _extension(error: PerdureError, depth: int) -> msgpack.ExtType:
    try:
        details = _plain(error.details, depth)
    except _Unfit as unfit:
        unfit.path.append(".details")
        raise
    kind, message, context, trace = map(
        _text, (error.kind, error.message, error.context, error.trace)
    )
    body = [kind, message, error.retryable, details, context, trace]
    return msgpack.ExtType(_ERROR_EXT, _pack(body))


def _read_extension(code: int, body: bytes) -> PerdureError:
    if code != _ERROR_EXT:
        raise PerdureError(Kind.INVALID, f"not a value of this runtime: extension {code}")
    kind, message, retryable, details, context, trace = decode(body)
    return PerdureError(
        _shown(kind), _shown(message), retryable, details,
        context=_shown(context), trace=_shown(trace),
    )  # fmt: skip


def _shown(text: str | bytes) -> str:
    """Text of an error; bytes that are not UTF-8, which Lua's strings may hold, are escaped."""
    return text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
