"""The module `payload`: a value goes from format to format and comes back."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from runtime.errors import Kind
from tests.machine_harness import Node, everywhere, run

FORMS = {
    "JSON": ("json/plain", '{"a":[1,2.5,"x"]}'),
    "YAML": ("yaml/plain", "a:\n- 1\n- 2.5\n- x\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_value_is_written_and_read_again(name: str) -> None:
    assert everywhere(
        f"""
        local p = payload.new({{a = {{1, 2.5, "x"}}}})
        local written = p:transcode(payload.format.{name})
        return {{p:get_format(), p:data(), written:get_format(), written:data(),
          written:unmarshal(), written:transcode(payload.format.LUA):data()}}
        """
    ) == ["lua/any", value := {"a": [1, 2.5, "x"]}, *FORMS[name], value, value]


def test_msgpack_is_that_of_others() -> None:
    packed = run("return payload.new({a = {1, 2.5}}):transcode(payload.format.MSGPACK):data()")
    raw = packed.encode() if isinstance(packed, str) else packed
    assert msgpack.unpackb(raw) == {"a": [1, 2.5]}


VALUES: dict[str, Any] = {
    "payload.new('x'):transcode(payload.format.STRING):data()": "x",
    "payload.new('x', payload.format.BYTES):get_format()": "application/octet-stream",
    "payload.new('x', payload.format.BYTES):unmarshal()": "x",
    "payload.new('[1]', 'json/plain'):transcode('yaml/plain'):data()": "- 1\n",
    "payload.new(nil):data()": None,
    "json.encode({payload.new('[1]', 'json/plain')})": '["[1]"]',
    "type(payload.new(1))": "userdata",
}


@pytest.mark.parametrize("call", VALUES)
def test_values(call: str) -> None:
    assert everywhere(f"return {call}") == VALUES[call]


WRONG = [
    "payload.new(1, 'json/plain')",
    "payload.new('x', 'text/html')",
    "payload.new(1):transcode()",
    "payload.new(1):transcode(payload.format.STRING)",
    "payload.new('{', 'json/plain'):unmarshal()",
    "payload.new('{', 'json/plain'):transcode('lua/any')",
    "payload.new('\\xc1', payload.format.MSGPACK):unmarshal()",
]


@pytest.mark.parametrize("call", WRONG)
def test_what_cannot_be_is_invalid(call: str) -> None:
    assert everywhere(f"local v, e = {call} return {{v == nil, e:kind()}}") == [True, Kind.INVALID]


@pytest.mark.parametrize("method", ["data", "get_format", "unmarshal", "transcode"])
def test_methods_want_a_colon(method: str) -> None:
    assert "colon" in run(f"return select(2, pcall(payload.new(1).{method})):message()")


def test_a_payload_that_is_sent_arrives_as_its_data() -> None:
    node = Node(
        {
            "main": """
                local inbox = process.inbox()
                process.send(process.pid(), "t", payload.new("[1]", "json/plain"))
                local got = inbox:receive():payload()
                return {got:data(), got:get_format(), process.pid() == inbox and 1 or 0}
            """
        }
    )
    assert node.run("main") == ["[1]", "lua/any", 0]
