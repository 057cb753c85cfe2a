"""The module `uuid` agrees with Python's."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prelude_lab import CODEC, Lab

NOW = 1_700_000_000_123_456_789
LAB = Lab(
    *("objects", "errors", *CODEC, "arguments", "uuid"),
    now=lambda: NOW,
    random=lambda n: bytes(range(0xF0, 0xF0 + n)),
    digest=lambda name, data: hashlib.new(name.decode(), data).digest(),
)
URL = str(uuid.NAMESPACE_URL)


def run(lua: str) -> object:
    result = LAB.run(f"return {lua}")
    return result.decode() if isinstance(result, bytes) else result


@pytest.mark.parametrize("version", [1, 4, 7])
def test_made_uuids_have_their_version_and_variant(version: int) -> None:
    made = uuid.UUID(str(run(f"uuid.v{version}()")))
    assert made.version == version
    assert made.variant == uuid.RFC_4122
    assert str(made) == run(f"uuid.v{version}()")


def test_times_are_inside() -> None:
    assert uuid.UUID(str(run("uuid.v1()"))).time == NOW // 100 + 0x01B21DD213814000
    assert uuid.UUID(str(run("uuid.v7()"))).int >> 80 == NOW // 10**6
    assert run("uuid.parse(uuid.v1()).timestamp") == NOW // 10**9
    assert run("uuid.parse(uuid.v7()).timestamp") == NOW // 10**9
    assert run("uuid.parse(uuid.v1()).node") == "f3f3f4f5f6f7"


@given(st.uuids(), st.text(min_size=1))
def test_named_uuids_are_those_of_python(namespace: uuid.UUID, name: str) -> None:
    made = LAB.run(
        "local s, n = ... return uuid.v3(s, n), uuid.v5(s, n)",
        str(namespace).encode(),
        name.encode(),
    )
    assert [text.decode() for text in made] == [
        str(uuid.uuid3(namespace, name)),
        str(uuid.uuid5(namespace, name)),
    ]


@given(st.uuids())
def test_every_form_is_read(made: uuid.UUID) -> None:
    for text in (str(made), made.hex, made.urn, f"{{{made}}}", str(made).upper(), made.urn.upper()):
        assert LAB.run("return uuid.validate(...)", text.encode())
        assert LAB.run("return uuid.format(...)", text.encode()) == str(made).encode()
    standard = str(made).encode()
    assert LAB.run("return uuid.format(..., 'simple')", standard) == made.hex.encode()
    assert LAB.run("return uuid.format(..., 'urn')", standard) == made.urn.encode()
    assert LAB.run("return uuid.format(..., 'standard')", standard) == standard


@pytest.mark.parametrize(
    ("text", "version", "variant"),
    [
        (URL, 1, "RFC4122"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", 4, "RFC4122"),
        ("f47ac10b-58cc-4372-0567-0e02b2c3d479", 4, "NCS"),
        ("f47ac10b-58cc-4372-c567-0e02b2c3d479", 4, "Microsoft"),
        ("f47ac10b-58cc-4372-e567-0e02b2c3d479", 4, "Future"),
    ],
)
def test_version_and_variant(text: str, version: int, variant: str) -> None:
    assert run(f"uuid.version('{text}')") == version
    assert run(f"uuid.variant('{text}')") == variant
    assert run(f"uuid.parse('{text}').version") == version
    assert run(f"uuid.parse('{text}').variant") == variant


@pytest.mark.parametrize(
    "text",
    [
        *("''", "nil", "5", "{}", "'f47ac10b'", "'f47ac10b-58cc-4372-a567-0e02b2c3d47'"),
        *("'f47ac10b58cc-4372-a567-0e02b2c3d479'", "'g47ac10b-58cc-4372-a567-0e02b2c3d479'"),
        *("'f47ac10b-58cc-4372-a5670-e02b2c3d479'", "'{f47ac10b-58cc-4372-a567-0e02b2c3d479'"),
    ],
)
def test_what_is_no_uuid(text: str) -> None:
    assert run(f"uuid.validate({text})") is False
    for call in (
        "parse({})",
        "version({})",
        "variant({})",
        "format({})",
        "v3({}, 'x')",
        "v5({}, 'x')",
    ):
        value, kind = LAB.run(f"local v, e = uuid.{call.format(text)} return v, e:kind()")
        assert (value, kind) == (None, b"Invalid")


@pytest.mark.parametrize("call", [f"v3('{URL}')", f"v5('{URL}', '')", f"format('{URL}', 'short')"])
def test_other_wrong_arguments(call: str) -> None:
    value, kind = LAB.run(f"local v, e = uuid.{call} return v, e:kind()")
    assert (value, kind) == (None, b"Invalid")
