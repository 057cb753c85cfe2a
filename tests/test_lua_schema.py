"""json.validate checks data as JSON Schema says, and a hostile schema costs little."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from runtime.errors import Kind
from tests.machine_harness import Node, everywhere

NODE = Node(
    {
        "text": """
            local valid, err = json.validate_string(...)
            return {tostring(valid), err and err:kind() or "", err and err:message() or ""}
        """,
        "details": """
            local valid, err = json.validate(...)
            return err:details()
        """,
    },
    fuel=500_000_000,
)
ORDER = {
    "type": "object",
    "required": ["id", "items"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
        "code": {"type": "string", "pattern": "^[A-Z]{3}\\d+$"},
    },
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "required": ["sku"]}},
}

FITS = [
    (ORDER, {"id": 1, "items": [{"sku": "a"}]}),
    (ORDER, {"id": 1.0, "items": [{"sku": "a", "n": 2}], "code": "ABC12"}),
    ({}, 5),
    ({"type": "number"}, 1),
    ({"const": 1}, 1.0),
    ({"uniqueItems": True}, [1, True, "1"]),
    ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, {"x1": 1}),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}, ["a"]),
    ({"not": {"type": "string"}}, 1),
    ({"format": "email"}, "not checked"),
    ({"type": "object"}, {}),
    ({"type": "array"}, []),
]
FAILS: list[tuple[Any, Any, str]] = [
    (ORDER, {"id": 0, "items": [{"sku": "a"}]}, "$.id: 0 is less than the minimum of 1"),
    (ORDER, {"id": 1, "items": []}, "$.items: [] should be non-empty"),
    (ORDER, {"id": 1, "items": [{}]}, "$.items[0]: 'sku' is a required property"),
    (ORDER, {"id": 1, "items": [{"sku": 1}], "x": 1}, "$: the property 'x' is not one of"),
    (ORDER, {"id": 1, "items": [{"sku": 1}], "code": "ab"}, "$.code: 'ab' does not match"),
    ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], "$: it has items that are equal"),
    ({"patternProperties": {"^x": {"type": "integer"}}}, {"x": "y"}, "$.x: 'y' is not of type"),
    ({"additionalProperties": {"type": "integer"}}, {"x": "y"}, "$.x: 'y' is not of type"),
    ({"type": "array"}, {}, "$: {} is not of type 'array'"),
]  # fmt: skip


def text(schema: Any, data: Any) -> list[str]:
    said: list[str] = NODE.run("text", json.dumps(schema), json.dumps(data))
    return said


@pytest.mark.parametrize(("schema", "data"), FITS)
def test_what_fits(schema: Any, data: Any) -> None:
    assert text(schema, data) == ["true", "", ""]


@pytest.mark.parametrize(("schema", "data", "problem"), FAILS)
def test_what_does_not_fit_says_where(schema: Any, data: Any, problem: str) -> None:
    valid, kind, message = text(schema, data)
    assert (valid, kind) == ("false", Kind.INVALID)
    assert message.startswith(f"json.validate_string: {problem}")


def test_details_are_all_problems_up_to_twenty() -> None:
    assert NODE.run("details", ORDER, {"id": "x", "y": 1}) == [
        {"path": "$", "message": "the property 'y' is not one of the schema"},
        {"path": "$.id", "message": "'x' is not of type 'integer'"},
        {"path": "$", "message": "'items' is a required property"},
    ]
    assert len(NODE.run("details", {"items": {"type": "string"}}, list(range(100)))) == 20


def test_a_problem_does_not_show_all_of_the_data() -> None:
    message = text({"type": "integer"}, "x" * 100_000)[2]
    assert message.startswith("json.validate_string: $: 'xxx")
    assert message.endswith("xxx' is not of type 'integer'")
    assert len(message) < 600


def test_lua_has_one_empty_table() -> None:
    assert everywhere(
        """
        local v = json.validate
        return {v({type = "object"}, {}), v({type = "array"}, {}), (v({required = {"a"}}, {})),
          v({}, {}), v('{"type": "integer"}', 5), (v({type = "integer"}, "5"))}
        """
    ) == [True, True, False, True, True, False]


CHAIN = {
    f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]}
    for i in range(40)
}
HOSTILE: dict[str, tuple[Any, Any, str]] = {
    "references that multiply": ({"$ref": "#/$defs/d0", "$defs": {**CHAIN, "d40": {}}}, 1,
        "takes too long"),
    "a reference to itself": ({"$ref": "#"}, 1, "refers to itself without end"),
    "a reference to nothing": ({"$ref": "#/$defs/no"}, 1, "refers to /$defs/no"),
    "a reference to elsewhere": ({"$ref": "http://127.0.0.1:1/x"}, 1, "refers to http://127"),
    "a pattern that backtracks": ({"pattern": "^(a+)+$"}, "a" * 60 + "b", "does not match"),
    "and one for names": ({"patternProperties": {"^(a+)+$": False}, "additionalProperties": False},
        {"a" * 60 + "b": 1}, "is not one of the schema"),
    "a pattern that RE2 has not": ({"pattern": "(?=a)"}, "a", "is not one of RE2"),
    "many alternatives": ({"items": {"anyOf": [{"const": i} for i in range(1000)]}},
        ["x" * 100] * 1000, "is not valid under any"),
    "a large schema": ({"enum": ["x" * 70000]}, 1, "a schema has at most 65536 bytes"),
    "large data": ({}, "x" * (1 << 20), "data 1048576"),
    "no schema": ({"type": "objct"}, 1, "not a JSON Schema"),
    "a list": ([1], 1, "a schema must be a table"),
    "unevaluated": ({"unevaluatedProperties": False}, {}, "unevaluatedProperties is not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_costs_little(name: str) -> None:
    schema, data, problem = HOSTILE[name]
    began = time.thread_time()
    _, kind, message = text(schema, data)
    assert time.thread_time() - began < 5
    assert kind == Kind.INVALID
    assert problem in message


WRONG = [
    "json.validate()",
    'json.validate("", 1)',
    'json.validate("{", 1)',
    "json.validate(5, 1)",
    "json.validate({['$schema'] = {}}, 1)",
    "json.validate({['$schema'] = 'http://['}, 1)",
    "json.validate({['$ref'] = '#/x', x = 'text'}, 1)",
    "json.validate({['$ref'] = '#/x/y', x = 'text'}, 1)",
    "json.validate(errors.new('x'), 1)",
    "json.validate({}, {[{}] = 1})",
    "json.validate_string({}, {})",
    'json.validate_string({}, "")',
    'json.validate_string({}, "{")',
]


@pytest.mark.parametrize("call", WRONG)
def test_wrong_arguments_are_invalid(call: str) -> None:
    kind, said = everywhere(
        f"local v, e = {call} assert(v == nil) return {{e:kind(), tostring(e)}}"
    )
    assert kind == Kind.INVALID
    assert said.startswith(call.partition("(")[0] + ": ")
