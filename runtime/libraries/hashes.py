"""Digests and key derivation, from hashlib."""

from __future__ import annotations

import hashlib
import hmac

from runtime.errors import Kind, PerdureError

#: Rounds of `pbkdf2`, all blocks of the key together. About 0.4 s.
MAX_ROUNDS = 1_000_000


def digest(name: bytes, data: bytes) -> bytes:
    """The digest `name` (md5, sha1, sha256, sha512) of data."""
    return hashlib.new(name.decode(), data, usedforsecurity=False).digest()


def keyed_digest(name: bytes, key: bytes, data: bytes) -> bytes:
    """HMAC of data."""
    return hmac.digest(key, data, name.decode())


def pbkdf2(name: bytes, password: bytes, salt: bytes, rounds: int, length: int) -> bytes:
    """A key of `length` bytes from a password (RFC 8018)."""
    blocks = -(-length // hashlib.new(name.decode()).digest_size)
    if rounds * blocks > MAX_ROUNDS:
        raise PerdureError(
            Kind.INVALID,
            f"{rounds} iterations for each of {blocks} blocks of the key are more than "
            f"{MAX_ROUNDS} together: ask for fewer, or for a shorter key",
        )
    return hashlib.pbkdf2_hmac(name.decode(), password, salt, rounds, length)


def texts_equal(left: bytes, right: bytes) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)
