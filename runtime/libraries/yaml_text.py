"""YAML for Lua; what YAML is, runtime.config.documents knows."""

from __future__ import annotations

from typing import Any, Final

from runtime import codec
from runtime.config.documents import MalformedYamlError, read_value, write_value
from runtime.errors import Kind, PerdureError

MAX_TEXT: Final = 1024 * 1024  #: bytes, which PyYAML reads in a second
MAX_VALUES: Final = 100_000


def decode(text: bytes) -> bytes:
    """The value of a YAML text of one document, encoded. Raises INVALID with the line."""
    if len(text) > MAX_TEXT:
        raise PerdureError(Kind.INVALID, f"the text has more than {MAX_TEXT} bytes")
    try:
        return codec.encode(read_value(text.decode(), MAX_VALUES))
    except UnicodeDecodeError as error:
        message = f"the text is not UTF-8 at byte {error.start + 1}"
        raise PerdureError(Kind.INVALID, message) from None
    except MalformedYamlError as error:
        fault = error.fault
        hint = f": {fault.hint}" if fault.hint else ""
        raise PerdureError(Kind.INVALID, f"{fault.message} at line {fault.line}{hint}") from None


def encode(value: bytes, first_keys: bytes) -> bytes:
    """An encoded value as YAML, in block style; keys in the encoded list come first."""
    if len(value) > MAX_TEXT:
        raise PerdureError(Kind.INVALID, f"the value has more than {MAX_TEXT} bytes")
    ranks = {key: rank for rank, key in enumerate(codec.decode(first_keys))}
    text = write_value(_ordered(codec.decode(value), ranks))
    return text.encode()


def _ordered(value: Any, ranks: dict[Any, int]) -> Any:
    if isinstance(value, list):
        return [_ordered(item, ranks) for item in value]
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: ranks.get(key, len(ranks))) if ranks else value
        return {key: _ordered(value[key], ranks) for key in keys}
    if isinstance(value, bytes):
        message = "a text that is not UTF-8 has no form in YAML: encode it first, with base64"
        raise PerdureError(Kind.INTERNAL, message)
    return value
