"""Whatever Lua hands to the Python behind a module, it gets a value or an error of ours."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine_harness import Node

FUNCTIONS = [
    "base64.encode", "base64.decode", "hash.md5", "hash.sha512", "hash.hmac_sha256", "hash.fnv32",
    "hash.fnv64", "yaml.encode", "yaml.decode", "json.validate", "json.validate_string",
    "crypto.random.bytes", "crypto.random.string", "crypto.hmac.sha512", "crypto.encrypt.aes",
    "crypto.encrypt.chacha20", "crypto.decrypt.aes", "crypto.decrypt.chacha20",
    "crypto.jwt.encode", "crypto.jwt.verify", "crypto.constant_time_compare", "crypto.pbkdf2",
    "time.load_location", "time.parse", "payload.new", "uuid.v3", "uuid.v5", "uuid.parse",
]  # fmt: skip
NODE = Node(
    {
        "main": """
            local name, arguments, count = ...
            local f = _ENV
            for part in name:gmatch("%w+[%w_]*") do f = f[part] end
            local ok, value, err = pcall(f, unpack(arguments, 1, count))
            if not ok then return tostring(value) end
            if value == nil and err then
              assert(type(err) == "userdata" and #err:message() > 0)
              return err:kind()
            end
            return "fine"
        """
    },
    fuel=2_000_000_000,
)
_texts = st.text(max_size=40) | st.binary(max_size=40) | st.sampled_from(
    ["k" * 16, "k" * 32, "HS256", "RS256", "sha512", "json/plain", "Europe/Berlin", "../../etc",
     "a: &a [*a]", "{}", '{"$ref": "#"}', "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
     "eyJhbGciOiJIUzI1NiJ9.e30.x", "6ba7b811-9dad-11d1-80b4-00c04fd430c8", "2006-01-02"]
)  # fmt: skip
_keys = st.text(max_size=10)
_numbers = st.sampled_from([0, 1, -1, 12, 1000, 2**31, 2**63 - 1, -(2**63), 1.5, float("inf")])
_scalars = st.none() | st.booleans() | _numbers | _texts
_schemas = st.dictionaries(
    st.sampled_from(
        ["type", "pattern", "items", "properties", "$ref", "enum", "minimum", "allOf", "required",
         "additionalProperties", "patternProperties", "uniqueItems", "$schema", "multipleOf"]
    ),
    st.recursive(
        _scalars | st.sampled_from(["object", "array", "string", "#", "(a+)+$", "[", "(?=x)"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)  # fmt: skip
_values = _schemas | st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FUNCTIONS), st.lists(_values, max_size=5))
def test_a_value_or_an_error_of_ours(name: str, arguments: list[Any]) -> None:
    result = NODE.run("main", name, arguments, len(arguments))
    unfit = ["Internal"] if name == "yaml.encode" else []  # a text that is not UTF-8
    assert result in ("fine", "Invalid", "NotFound", *unfit), result
