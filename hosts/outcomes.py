"""How Python code of the user's ended: with a value, or with an error that says where."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pykka

from runtime import api
from runtime.codec import encode
from runtime.errors import Kind, PerdureError

#: Frames of files whose paths begin so tell a user nothing.
_OURS: Final = (str(Path(__file__).parent), str(Path(pykka.__file__).parent), str(api.__file__))


@dataclass(frozen=True, slots=True)
class Result:
    """How a call ended: with a value, or with an error."""

    value: Any = None
    error: PerdureError | None = None


def result_of(value: Any) -> Result:
    """What a function returned: a tuple of two is (value, error), all else is a value."""
    if not (isinstance(value, tuple) and len(value) == 2):
        return Result(value)
    value, error = value
    if not error:
        return Result(value)
    if isinstance(error, BaseException):
        return Result(error=failure_of(error))
    if isinstance(error, dict):  # as Lua does with a table
        text = error.get("message", error.get("error"))
        message = text if isinstance(text, str) else "a dict was returned that has no message"
        return Result(error=PerdureError(Kind.UNKNOWN, message, details=error))
    return Result(error=PerdureError(Kind.UNKNOWN, str(error)))


def failure_of(error: BaseException) -> PerdureError:
    """What was raised: a PerdureError is itself, anything else is INTERNAL "Type: text"."""
    trace = _trace(error)
    if not isinstance(error, PerdureError):
        return PerdureError(Kind.INTERNAL, _text(error), trace=trace)
    error.trace = error.trace or trace
    # Frames hold the locals of the call, and the error may be kept for long.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    return f"{type(error).__name__}: {text}"


def _trace(error: BaseException) -> str:
    """The traceback as Python prints it, less the frames of ours."""
    told = traceback.TracebackException.from_exception(error)
    each: traceback.TracebackException | None = told
    while each is not None:
        frames = [frame for frame in each.stack if not frame.filename.startswith(_OURS)]
        each.stack = traceback.StackSummary.from_list(frames)
        each = each.__cause__ or each.__context__
    return "".join(told.format())


def encode_result(entry_id: str, result: Result) -> tuple[bool, bytes]:
    """Whether a call went well, and its encoded value or error."""
    if result.error is not None:
        return False, encode_error(result.error)
    try:
        return True, encode(result.value)
    except PerdureError as error:
        text = f"{entry_id} returned what cannot be passed on: {error.message}"
        return False, encode(PerdureError(error.kind, text))


def encode_error(error: PerdureError) -> bytes:
    """An error of user code; what of it cannot travel goes without it, or escaped."""
    try:
        return encode(error)
    except PerdureError:
        kind, message, trace = map(_escaped, (error.kind, error.message, error.trace))
        return encode(PerdureError(kind, message, error.retryable, trace=trace))


def _escaped(value: object) -> str:
    """As UTF-8 can hold it: file names, for one, may bring surrogates along."""
    return str(value).encode(errors="backslashreplace").decode()
