"""The module `crypto` agrees with the libraries behind it, and a replay makes the same."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from runtime.errors import Kind
from tests.machine_harness import EPOCH, RUN, Node, Run, everywhere, run

NOW = EPOCH // 10**9
KEYS = {"aes": ["k" * 16, "k" * 24, "k" * 32], "chacha20": ["k" * 32]}
CASES = [(cipher, key) for cipher, keys in KEYS.items() for key in keys]


def test_random_values_have_their_sizes_and_characters() -> None:
    bytes_, text, hexes, uuid = run(
        """
        local r = crypto.random
        return {#r.bytes(100), r.string(500), r.string(200, "0123456789abcdef"), r.uuid()}
        """
    )
    assert (bytes_, len(text), len(uuid)) == (100, 500, 36)
    assert text.isalnum()
    assert set(hexes) == set("0123456789abcdef")


def test_a_character_of_a_charset_is_as_likely_as_the_others() -> None:
    drawn = run('return crypto.random.string(90000, ("abc"):rep(30))')
    assert all(abs(drawn.count(letter) - 30000) < 1000 for letter in "abc")


@pytest.mark.parametrize(("cipher", "key"), CASES)
def test_what_is_encrypted_here_is_read_by_the_library_and_the_other_way_round(
    cipher: str, key: str
) -> None:
    library = (AESGCM if cipher == "aes" else ChaCha20Poly1305)(key.encode())
    node = Node(
        {
            "seal": f"local key = ... return crypto.encrypt.{cipher}('text', key, 'aad')",
            "open": f"local key, data = ... return crypto.decrypt.{cipher}(data, key)",
        }
    )
    sealed = node.run("seal", key)
    assert library.decrypt(sealed[:12], sealed[12:], b"aad") == b"text"
    nonce = bytes(12)
    assert node.run("open", key, nonce + library.encrypt(nonce, b"text", None)) == "text"


@pytest.mark.parametrize("cipher", KEYS)
def test_any_change_is_found(cipher: str) -> None:
    problems = run(
        f"""
        local seal, open = crypto.encrypt.{cipher}, crypto.decrypt.{cipher}
        local key, other = ("k"):rep(32), ("o"):rep(32)
        local data = seal("text", key, "aad")
        local function problem(...)
          local value, err = open(...)
          return value == nil and err:kind() .. " " .. err:message()
        end
        local changed = data:sub(1, -2) .. string.char(data:byte(-1) ~ 1)
        return {{problem(changed, key, "aad"), problem(data, other, "aad"), problem(data, key),
          problem("short", key), problem(data, "short")}}
        """
    )
    assert all(problem.startswith(f"Invalid crypto.decrypt.{cipher}: ") for problem in problems)
    assert problems[3].endswith("too short to be an encrypted text")
    assert problems[4].endswith("bytes, this one 5")


def test_derived_keys_are_those_of_hashlib() -> None:
    got = everywhere(
        """
        local long = crypto.pbkdf2("pw", "salt", 10, 80, "sha512")
        return {base64.encode(crypto.pbkdf2("pw", "salt", 1000, 32)), base64.encode(long)}
        """
    )
    assert got == [
        b64encode(hashlib.pbkdf2_hmac("sha256", b"pw", b"salt", 1000, 32)).decode(),
        b64encode(hashlib.pbkdf2_hmac("sha512", b"pw", b"salt", 10, 80)).decode(),
    ]


def test_comparison_and_hmac() -> None:
    assert everywhere(
        """
        local same, hmac = crypto.constant_time_compare, crypto.hmac
        return {same("a", "a"), same("a", "b"), same("a", "ab"), same("", ""),
          hmac.sha256("k", "d") == hash.hmac_sha256("d", "k"), #hmac.sha512("k", "")}
        """
    ) == [True, False, False, True, True, 128]


# JSON Web Tokens ----------------------------------------------------------------------------------


def _pem(key: Any) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


SECRET = "s" * 64
RSA = _pem(generate_private_key(65537, 2048))
ED = _pem(Ed25519PrivateKey.generate())
ALGORITHMS = {
    "HS256": (SECRET, SECRET), "HS384": (SECRET, SECRET), "HS512": (SECRET, SECRET),
    "RS256": RSA, "RS512": RSA, "EdDSA": ED,
}  # fmt: skip
TOKENS = Node(
    {
        "encode": "return crypto.jwt.encode(...)",
        "verify": """
            local claims, err = crypto.jwt.verify(...)
            return claims or err:kind() .. " " .. err:message()
        """,
    }
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_are_those_of_pyjwt(algorithm: str) -> None:
    private, public = ALGORITHMS[algorithm]
    claims = {"sub": "ann", "exp": NOW + 60, "roles": ["a", "b"], "ratio": 0.5}
    made = TOKENS.run("encode", {**claims, "_header": {"kid": "7"}}, private, algorithm)
    options: Any = {"verify_exp": False}
    assert jwt.decode(made, public, [algorithm], options=options) == claims
    assert jwt.get_unverified_header(made)["kid"] == "7"
    token = jwt.encode(claims, private, algorithm)
    assert TOKENS.run("verify", token, public, algorithm) == claims


def _token(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, "HS256")


REFUSED: dict[str, tuple[str, str, str, bool, str]] = {
    "another secret": (_token(exp=NOW + 9), "x", "HS256", True, "the signature does not fit"),
    "another algorithm": (_token(exp=NOW + 9), SECRET, "HS512", True, "not a token to accept"),
    "no algorithm": (jwt.encode({}, "", "none"), SECRET, "HS256", False, "not a token to accept"),
    "an unknown one": (_token(), SECRET, "ES256", True, 'the algorithm "ES256" is not supported'),
    "expired": (_token(exp=NOW), SECRET, "HS256", False, "the token has expired"),
    "without an end": (_token(), SECRET, "HS256", True, "the token has no exp"),
    "too early": (_token(nbf=NOW + 1), SECRET, "HS256", False, "the token is not valid yet"),
    "an end that is no time": (_token(exp="x"), SECRET, "HS256", True, "exp must be a number"),
    "no token": ("a.b", SECRET, "HS256", True, "not a token to accept"),
    "a public key as secret": (_token(), RSA[1], "HS256", False, "not a token to accept"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_is_not_good_is_refused(name: str) -> None:
    token, key, algorithm, must_expire, problem = REFUSED[name]
    said = TOKENS.run("verify", token, key, algorithm, must_expire)
    assert said.startswith(f"Invalid crypto.jwt.verify: {problem}")


# Wrong arguments, bounds --------------------------------------------------------------------------

WRONG = [
    "crypto.random.bytes()",
    "crypto.random.bytes(0)",
    "crypto.random.bytes(1.5)",
    "crypto.random.bytes((1 << 20) + 1)",
    'crypto.random.string(5, "")',
    "crypto.random.string(5, 5)",
    "crypto.random.string(-1)",
    'crypto.encrypt.aes("", "k")',
    'crypto.encrypt.aes("d")',
    'crypto.encrypt.aes("d", "short")',
    'crypto.encrypt.chacha20("d", ("k"):rep(16))',
    'crypto.encrypt.chacha20("d", ("k"):rep(32), 5)',
    "crypto.decrypt.aes()",
    'crypto.hmac.sha256("", "d")',
    'crypto.hmac.sha512("k")',
    'crypto.pbkdf2("", "s", 1, 1)',
    'crypto.pbkdf2("p", "", 1, 1)',
    'crypto.pbkdf2("p", "s", 0, 1)',
    'crypto.pbkdf2("p", "s", 1, 0)',
    'crypto.pbkdf2("p", "s", 1, 32, "md5")',
    'crypto.pbkdf2("p", "s", 1000001, 32)',
    'crypto.pbkdf2("p", "s", 500001, 64)',
    'crypto.pbkdf2("p", "s", 1, 1 << 40)',
    'crypto.constant_time_compare("a")',
    'crypto.constant_time_compare(1, "a")',
    'crypto.jwt.encode("claims", "k")',
    "crypto.jwt.encode({}, '')",
    "crypto.jwt.encode({'list'}, 'k')",
    "crypto.jwt.encode({}, 'k', 5)",
    "crypto.jwt.encode({}, 'k', 'none')",
    "crypto.jwt.encode({x = 1/0}, 'k')",
    "crypto.jwt.encode({_header = {alg = 'none'}}, 'k')",
    "crypto.jwt.encode({}, 'no pem', 'RS256')",
    "crypto.jwt.verify('', 'k')",
    "crypto.jwt.verify('t', nil)",
    "crypto.jwt.verify('t', 'k', 'HS256', 1)",
]


@pytest.mark.parametrize("call", WRONG)
def test_wrong_arguments_are_invalid_and_name_the_function(call: str) -> None:
    kind, text = everywhere(
        f"local v, e = {call} assert(v == nil) return {{e:kind(), tostring(e)}}"
    )
    assert kind == Kind.INVALID
    assert text.startswith(call.partition("(")[0] + ": ")


def test_iterations_are_charged() -> None:
    with pytest.raises(Exception, match="out of fuel"):
        run('for i = 1, 100 do crypto.pbkdf2("p", "s", 5000, 32) end')


# In workflows -------------------------------------------------------------------------------------

MADE = """
    local key = ("k"):rep(32)
    local token = crypto.jwt.encode({iat = time.now():unix(), jti = crypto.random.uuid()}, "secret")
    return {crypto.random.bytes(8), crypto.random.string(12), crypto.encrypt.aes("d", key),
      crypto.encrypt.chacha20("d", key, "aad"), token, time.now():unix()}
"""


def test_a_replay_makes_the_same_random_values_nonces_and_tokens() -> None:
    workflow = Run(MADE)
    workflow.step()
    made = workflow.result()
    again = workflow.replay()
    assert again.result(RUN) == made
    claims = jwt.decode(made[4], "secret", ["HS256"], options={"verify_signature": False})
    assert claims["iat"] == made[5] == NOW
    other = Run(MADE)
    other.step()
    assert all(a != b for a, b in zip(made[:5], other.result()[:5], strict=True))


def test_an_end_of_a_token_is_compared_with_the_time_of_the_workflow() -> None:
    """A replay a year later must take the same way."""
    token = _token(exp=NOW + 9)
    source = f"return crypto.jwt.verify('{token}', '{SECRET}') ~= nil"
    early, late = Run(source), Run(source, now=EPOCH + 10 * 10**9)
    early.step()
    late.step()
    assert (early.result(), late.result()) == (True, False)
    assert early.replay().result(RUN) is True
