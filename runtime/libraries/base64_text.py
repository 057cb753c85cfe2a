"""Base64."""

from __future__ import annotations

import binascii

from runtime.errors import Kind, PerdureError


def encode(data: bytes) -> bytes:
    """Standard alphabet, padded, in one line (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False)


def decode(text: bytes) -> bytes:
    """The reverse; line ends are passed over. Raises INVALID for anything else."""
    plain = text.translate(None, b"\r\n")
    try:
        return binascii.a2b_base64(plain, strict_mode=True) if plain else b""
    except binascii.Error as error:
        raise PerdureError(Kind.INVALID, f"not base64: {error}") from None
