"""Authenticated encryption, from `cryptography`.

What is encrypted is nonce, ciphertext and tag in one text. The caller draws the nonce, so that a
workflow draws it from what is recorded.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from runtime.errors import Kind, PerdureError

#: Bytes of the nonces of both ciphers.
NONCE = 12
_TAG = 16

_CIPHERS: dict[bytes, tuple[type[AESGCM | ChaCha20Poly1305], tuple[int, ...]]] = {
    b"aes": (AESGCM, (16, 24, 32)),
    b"chacha20": (ChaCha20Poly1305, (32,)),
}


def encrypt(name: bytes, key: bytes, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
    """Encrypt data; `aad` is not encrypted and must be the same to decrypt."""
    return nonce + _cipher(name, key).encrypt(nonce, data, aad)


def decrypt(name: bytes, key: bytes, sealed: bytes, aad: bytes | None) -> bytes:
    """The data that `encrypt` sealed. Raises INVALID when a byte of it, key or aad differs."""
    cipher = _cipher(name, key)
    if len(sealed) < NONCE + _TAG:
        raise PerdureError(Kind.INVALID, "the data is too short to be an encrypted text")
    try:
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], aad)
    except InvalidTag:
        message = "the data was changed, or was encrypted with another key or other aad"
        raise PerdureError(Kind.INVALID, message) from None


def _cipher(name: bytes, key: bytes) -> AESGCM | ChaCha20Poly1305:
    cipher, sizes = _CIPHERS[name]
    if len(key) not in sizes:
        wanted = " or ".join(map(str, sizes))
        raise PerdureError(Kind.INVALID, f"a key has {wanted} bytes, this one {len(key)}")
    return cipher(key)
