"""The module `yaml`: what it writes is read again; hostile texts cost little."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.codec import decode, encode
from runtime.errors import Kind
from tests.machine_harness import Node, everywhere

NODE = Node(
    {
        "encode": "return yaml.encode(...)",
        "decode": "return yaml.decode(...)",
        "problem": "local v, e = yaml.decode(...) return {v == nil, e:kind(), e:message()}",
    },
    fuel=500_000_000,
)

_texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["yes", "on", "null", "~", "1", "0o17", "0x1f", "1e3", ".inf", "2020-01-01", "a: b", "- a", ""]
)
_scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _texts
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_texts, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=60)
@given(_values)
def test_what_is_written_is_read_again(value: Any) -> None:
    text = NODE.run("encode", value)
    plain = decode(encode(value))
    assert NODE.run("decode", text) == plain
    assert yaml.safe_load(text) == plain


VALUES = {
    "keys are sorted": ('yaml.encode({b = 1, a = {2, 3.5}})', "a:\n- 2\n- 3.5\nb: 1\n"),
    "unless an order is given": (
        "yaml.encode({a = 1, b = 2, name = {z = 1, name = 2}}, {field_order = {'name', 'b'}})",
        "name:\n  name: 2\n  z: 1\nb: 2\na: 1\n",
    ),
    "what other readers take for more stays a text": (
        "yaml.encode({'yes', '0o17', '12', 'x'})", "- 'yes'\n- '0o17'\n- '12'\n- x\n"
    ),
    "a scalar": ("yaml.encode('x')", "x\n"),
    "nil": ("yaml.encode(nil)", "null\n"),
    "an empty table": ("yaml.encode({})", "[]\n"),
    "times, durations and errors as texts": (
        "yaml.encode({time.unix(0), time.parse_duration('90m'), errors.new('why')})",
        "- '1970-01-01T00:00:00Z'\n- 1h30m0s\n- why\n",
    ),
    "a payload as its data": ("yaml.encode(payload.new({a = 1}))", "a: 1\n"),
    "numbers as keys": ("yaml.decode('1: one\\n2.5: x')", {1: "one", 2.5: "x"}),
    "scalars": ("yaml.decode('[1, 0x10, 1.5, .inf, true, yes, 22:30, 2020-01-01]')",
        [1, 16, 1.5, float("inf"), True, "yes", "22:30", "2020-01-01"]),
    "aliases and merges": (
        "yaml.decode('a: &a {x: 1, y: 2}\\nb: {<<: *a, y: 3}')",
        {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}},
    ),
    "no variables": ("yaml.decode('${env:HOME}')", "${env:HOME}"),
    "null in a map leaves no trace": ("yaml.decode('a: ~\\nb: 1')", {"b": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    call, value = VALUES[name]
    assert everywhere(f"return {call}") == value


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
REFUSED = {
    "nothing": ("", "the argument must be text"),
    "blanks": ("  \n", "there is nothing in it at line 1"),
    "two documents": ("a: 1\n---\nb: 2\n", "more than one document at line 3"),
    "no YAML": ("a: [1,\nb: 2", "not YAML"),
    "a key twice": ("a: 1\na: 2", '"a" is given twice at line 2'),
    "a null key": ("~: 1", "a key is null, or no number at line 1"),
    "a number too large": ("99999999999999999999", "does not fit into 64 bits"),
    "an unknown tag": ("!!python/object:os.system x", "the YAML tag"),
    "what contains itself": ("a: &a [*a]", "the value contains itself at line 1"),
    "aliases that multiply": (BOMB, "more than 100000 values"),
    "deep nesting": ("[" * 200 + "]" * 200, "nested deeper than 100 levels"),
    "a long text": ("x" * ((1 << 20) + 1), "the text has more than 1048576 bytes"),
    "no text": (5, "the argument must be text"),
    "not UTF-8": (b"a: \xff", "the text is not UTF-8 at byte 4"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.timeout(20)
def test_what_is_no_yaml_is_refused_with_its_line(name: str) -> None:
    text, problem = REFUSED[name]
    none, kind, message = NODE.run("problem", text)
    assert (none, kind) == (True, Kind.INVALID)
    assert message.startswith("yaml.decode: ")
    assert problem in message


UNFIT = {
    "print": "YAML has no form for a function",
    "{process.inbox()}": "YAML has no form for a channel",
    "'\\xff'": "a text that is not UTF-8 has no form in YAML",
    "(function() local t = {} t.t = t return t end)()": "or contain themselves",
}


@pytest.mark.parametrize("value", UNFIT)
def test_what_yaml_has_no_form_for_is_internal(value: str) -> None:
    kind, text = everywhere(f"local v, e = yaml.encode({value}) return {{e:kind(), e:message()}}")
    assert kind == Kind.INTERNAL
    assert text.startswith("yaml.encode: ")
    assert UNFIT[value] in text


@pytest.mark.parametrize("options", ["5", "{field_order = 5}", "{field_order = {1}}"])
def test_wrong_options_are_invalid(options: str) -> None:
    assert everywhere(f"return select(2, yaml.encode(1, {options})):kind()") == Kind.INVALID
