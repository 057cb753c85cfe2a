"""The modules `hash` and `base64` agree with Python's, everywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import Kind
from tests.machine_harness import Node, everywhere

NODE = Node(
    {
        "digests": """
            local data, secret = ...
            local out = {}
            for _, name in ipairs({"md5", "sha1", "sha256", "sha512"}) do
              out[name] = {hash[name](data), hash["hmac_" .. name](data, secret)}
              assert(hash[name](data, true) == hash[name](data, true))
            end
            return out
        """,
        "base64": "local text = base64.encode(...) return {text, base64.decode(text)}",
    }
)


@settings(max_examples=30)
@given(st.text(max_size=200), st.text(min_size=1, max_size=80))
def test_digests_are_those_of_hashlib(data: str, secret: str) -> None:
    got = NODE.run("digests", data, secret)
    for name, (plain, keyed) in got.items():
        assert plain == hashlib.new(name, data.encode()).hexdigest()
        assert keyed == hmac.new(secret.encode(), data.encode(), name).hexdigest()


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_base64_is_that_of_python(data: bytes) -> None:
    encoded, decoded = NODE.run("base64", data)
    assert encoded == base64.b64encode(data).decode()
    assert (decoded.encode() if isinstance(decoded, str) else decoded) == data


VALUES = {
    # http://www.isthe.com/chongo/tech/comp/fnv
    'hash.fnv32("")': 0x811C9DC5,
    'hash.fnv32("foobar")': 0xBF9CF968,
    'hash.fnv64("")': 0xCBF29CE484222325 - 2**64,
    'hash.fnv64("foobar")': 0x85944171F73967E8 - 2**64,
    '#hash.sha512("x", true)': 64,
    '#hash.hmac_md5("x", "y", true)': 16,
    'base64.decode("aGVs\\r\\nbG8=\\n")': "hello",
    'base64.encode("")': "",
    'base64.decode("")': "",
}


@pytest.mark.parametrize("call", VALUES)
def test_values(call: str) -> None:
    assert everywhere(f"return {call}") == VALUES[call]


WRONG = [
    "hash.md5()",
    "hash.sha1({})",
    'hash.sha256("x", 1)',
    "hash.sha512(5)",
    "hash.fnv32()",
    "hash.fnv64(true)",
    'hash.hmac_sha256("x")',
    'hash.hmac_sha256("x", "")',
    'hash.hmac_sha512(nil, "y")',
    "base64.encode()",
    "base64.encode(12)",
    "base64.decode({})",
    'base64.decode("a")',
    'base64.decode("aGVsbG8")',
    'base64.decode("aGVs!G8=")',
    'base64.decode("aGVsbG8=aGVs")',
]


@pytest.mark.parametrize("call", WRONG)
def test_wrong_arguments_are_invalid_and_name_the_function(call: str) -> None:
    kind, text = everywhere(
        f"local v, e = {call} assert(v == nil) return {{e:kind(), tostring(e)}}"
    )
    assert kind == Kind.INVALID
    assert text.startswith(call.partition("(")[0] + ": ")


def test_work_is_charged_by_size() -> None:
    source = 'local s = ("x"):rep(1 << 20) for i = 1, 1000 do hash.md5(s) end'
    node = Node({"main": source}, fuel=5_000_000)
    with pytest.raises(Exception, match="out of fuel"):
        node.run("main")
