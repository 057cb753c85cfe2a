"""JSON Web Tokens (RFC 7519), signed and read by PyJWT.

Only algorithms that give the same signature every time: a workflow must be able to make a token
again. Times are compared with a time that the caller gives.
"""

from __future__ import annotations

import json
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidSignatureError, PyJWTError

from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "EdDSA")


class _Hmac(HMACAlgorithm):
    """HMAC that leaves the length of the key to the user, as others do."""

    def check_key_length(self, key: bytes) -> None:
        return None


_signer = jwt.PyJWS(algorithms=ALGORITHMS)
for _name, _hash in (("256", _Hmac.SHA256), ("384", _Hmac.SHA384), ("512", _Hmac.SHA512)):
    _signer.unregister_algorithm(f"HS{_name}")
    _signer.register_algorithm(f"HS{_name}", _Hmac(_hash))


def sign(claims: bytes, key: bytes, algorithm: bytes) -> bytes:
    """A token with these claims (an encoded map); its `_header` goes into the header."""
    body = _map(decode(claims), "the claims")
    header = _map(body.pop("_header", {}), "_header")
    name = _supported(algorithm)
    if header.get("alg", name) != name:
        raise PerdureError(Kind.INVALID, f"the header says alg {header['alg']}, the call {name}")
    try:
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        token = _signer.encode(text.encode(), key, name, header)
        return token.encode()
    except (PyJWTError, TypeError, ValueError) as error:
        raise PerdureError(Kind.INVALID, str(error)) from None


def verify(token: bytes, key: bytes, algorithm: bytes, now: int, must_expire: bool) -> bytes:
    """The encoded claims of a token with a good signature, at `now` (seconds).

    Raises INVALID for a token that is malformed, signed otherwise, expired or not valid yet, or
    that has no `exp` although it must expire.
    """
    name = _supported(algorithm)
    try:
        body = json.loads(_signer.decode(token, key, [name]))
    except InvalidSignatureError:
        raise PerdureError(Kind.INVALID, "the signature does not fit the key") from None
    except (PyJWTError, ValueError, RecursionError) as error:
        raise PerdureError(Kind.INVALID, f"not a token to accept: {error}") from None
    claims = _map(body, "the claims")
    expires, starts = _time(claims, "exp"), _time(claims, "nbf")
    if expires is None and must_expire:
        raise PerdureError(Kind.INVALID, "the token has no exp: it would be valid for ever")
    if expires is not None and expires <= now:
        raise PerdureError(Kind.INVALID, "the token has expired")
    if starts is not None and starts > now:
        raise PerdureError(Kind.INVALID, "the token is not valid yet")
    return encode(claims)


def _supported(algorithm: bytes) -> str:
    name = algorithm.decode(errors="replace")
    if name not in ALGORITHMS:
        message = f'the algorithm "{name}" is not supported: use one of {", ".join(ALGORITHMS)}'
        raise PerdureError(Kind.INVALID, message)
    return name


def _map(value: Any, what: str) -> dict[str, Any]:
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    if value == []:  # Lua's empty table
        return {}
    raise PerdureError(Kind.INVALID, f"{what} must be a table with texts as keys")


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise PerdureError(Kind.INVALID, f"{name} must be a number of seconds")
