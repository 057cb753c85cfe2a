"""What becomes of values between Python and Lua, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.process_lab import PATIENCE, function, running

VALUES = """
import collections, dataclasses, datetime, decimal, enum, fractions, pathlib, uuid
from runtime.api import PerdureError

class Colour(enum.Enum):
    RED = "red"

class Level(enum.IntEnum):
    HIGH = 3

@dataclasses.dataclass
class Point:
    x: int
    y: float
    tags: list

class Name(str): pass

Pair = collections.namedtuple("Pair", "left right")
UTC = datetime.timezone.utc
loop = []
loop.append(loop)

def gives(expression): return eval(expression)
def sees(value): return repr(value)
"""
#: Says what a value is in Lua.
DESCRIBE = """
    local function describe(v)
      if type(v) == "number" then return math.type(v) .. " " .. tostring(v) end
      if type(v) == "string" then return string.format("%q", v) end
      if type(v) ~= "table" then return tostring(v) end
      local keys, parts = {}, {}
      for k in pairs(v) do keys[#keys + 1] = k end
      table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
      for i, k in ipairs(keys) do
        local key = math.type(k) == "integer" and k == i and "" or describe(k) .. "="
        parts[i] = key .. describe(v[k])
      end
      return "{" .. table.concat(parts, ", ") .. "}"
    end
"""
ENTRIES = {
    "gives": {"kind": "function.python", "target": "values:gives"},
    "sees": {"kind": "function.python", "target": "values:sees"},
    "from_python": function(
        DESCRIBE
        + """
        local value, err = funcs.call("app:gives", ...)
        if err then return nil, err end
        return {describe(value), funcs.call("app:sees", value)}
        """
    ),
    "from_lua": function(
        """
        local value = load("return " .. (...))()
        local text, err = funcs.call("app:sees", value)
        return text, err
        """
    ),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder: Path = tmp_path_factory.mktemp("values")
    with running(folder, ENTRIES, {"values": VALUES}) as started:
        yield started


#: What Python gives, what Lua sees, and what Python gets back.
FROM_PYTHON = [
    ("None", "nil", "None"),
    ("True", "true", "True"),
    ("7", "integer 7", "7"),
    ("2**63 - 1", "integer 9223372036854775807", "9223372036854775807"),
    ("-2**63", "integer -9223372036854775808", "-9223372036854775808"),
    ("7.0", "float 7.0", "7.0"),
    ("float('inf')", "float inf", "inf"),
    ("-0.0", "float -0.0", "-0.0"),
    ("'caf\\u00e9'", '"caf\u00e9"', "'caf\u00e9'"),
    ("b'text'", '"text"', "'text'"),  # one kind of string
    ("b'\\xff\\x00'", None, "b'\\xff\\x00'"),
    ("[1, 'two']", '{integer 1, "two"}', "[1, 'two']"),
    ("(1, 2, 3)", "{integer 1, integer 2, integer 3}", "[1, 2, 3]"),
    ("[1, None, 3]", "{integer 1, integer 3=integer 3}", "{1: 1, 3: 3}"),
    ("[1, None]", "{integer 1}", "[1]"),
    ("[]", "{}", "[]"),
    ("{}", "{}", "[]"),  # one empty table
    ("{'a': {}, 'b': None}", '{"a"={}}', "{'a': []}"),
    ("{1: 'x', 2: 'y'}", '{"x", "y"}', "['x', 'y']"),
    ("{2.0: 'x'}", '{integer 2="x"}', "{2: 'x'}"),
    ("Point(1, 2.5, ['t'])", '{"tags"={"t"}, "x"=integer 1, "y"=float 2.5}', None),
    ("Pair(1, 2)._asdict()", '{"left"=integer 1, "right"=integer 2}', "{'left': 1, 'right': 2}"),
    ("[Pair(1, 2)]", "{{integer 1, integer 2}}", "[[1, 2]]"),
    ("datetime.datetime(2024, 5, 1, 12, tzinfo=UTC)", '"2024-05-01T12:00:00+00:00"', None),
    ("datetime.date(2024, 5, 1)", '"2024-05-01"', "'2024-05-01'"),
    ("decimal.Decimal('1.10')", '"1.10"', "'1.10'"),
    ("uuid.UUID(int=5)", '"00000000-0000-0000-0000-000000000005"', None),
    ("Colour.RED", '"red"', "'red'"),
    ("Level.HIGH", "integer 3", "3"),
    ("Name('x')", '"x"', "'x'"),
    ("collections.OrderedDict(a=1)", '{"a"=integer 1}', "{'a': 1}"),
]


@pytest.mark.parametrize(("expression", "in_lua", "back"), FROM_PYTHON)
def test_from_python_to_lua_and_back(
    node: Node, expression: str, in_lua: str | None, back: str | None
) -> None:
    seen, again = node.call("app:from_python", expression, timeout=PATIENCE)
    if in_lua is not None:
        assert seen == in_lua
    if back is not None:
        assert again == back


#: What Lua sends, and what Python gets.
FROM_LUA = [
    ("nil", "None"),
    ("1", "1"),
    ("1.0", "1.0"),
    ("math.mininteger", "-9223372036854775808"),
    ("0/0 ~= 0/0", "True"),
    ('"text"', "'text'"),
    ('"\\xff"', "b'\\xff'"),
    ("{}", "[]"),
    ("{1, 2}", "[1, 2]"),
    ("{1, nil, 3}", "{1: 1, 3: 3}"),
    ("{[2] = 1}", "{2: 1}"),
    ("{a = {b = {}}}", "{'a': {'b': []}}"),
    ("{1, a = 2}", "{1: 1, 'a': 2}"),
    ("{[true] = 1, [1.5] = 2}", "{1.5: 2, True: 1}"),
    ("{f = print, 1}", "[1]"),  # a function becomes nil
    ('errors.new("oops")', "PerdureError('', 'oops')"),
]


@pytest.mark.parametrize(("expression", "seen"), FROM_LUA)
def test_from_lua_to_python(node: Node, expression: str, seen: str) -> None:
    assert node.call("app:from_lua", expression, timeout=PATIENCE) == seen


REFUSED = [
    ("2**63", "the integer 9223372036854775808 does not fit into 64 bits: send it as text"),
    ("{'a': [1, -2**64]}", "$.a[1]: the integer -18446744073709551616 does not fit into 64 bits"),
    ("{1, 2}", "a value of type set cannot be sent"),
    ("object()", "a value of type object cannot be sent"),
    ("datetime.timedelta(1)", "a value of type timedelta cannot be sent"),
    ("1j", "a value of type complex cannot be sent"),
    ("{(1, 2): 3}", "a key of type tuple: use str, int, float, bool or bytes"),
    ("{float('nan'): 1}", "NaN cannot be a key"),
    ("{'a': 1, b'a': 2}", "two keys of a dict are the same key in Lua"),
    ("'\\ud800'", "text that is not Unicode"),
    ("loop", "nesting deeper than 100 (or a value that contains itself)"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_what_python_cannot_pass_on(node: Node, expression: str, message: str) -> None:
    with pytest.raises(PerdureError) as refused:
        node.call("app:from_python", expression, timeout=PATIENCE)
    assert refused.value.kind == Kind.INVALID
    assert "app:gives returned what cannot be passed on: $" in refused.value.message
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("setmetatable({}, {})", None),
        ("(function() local t = {} t.t = t return t end)()", "cyclic table"),
        ("{[{}] = 1}", "key"),
    ],
)
def test_what_lua_cannot_pass_on(node: Node, expression: str, message: str | None) -> None:
    if message is None:
        assert node.call("app:from_lua", expression, timeout=PATIENCE) == "[]"
        return
    with pytest.raises(PerdureError, match=message) as refused:
        node.call("app:from_lua", expression, timeout=PATIENCE)
    assert refused.value.kind == Kind.INVALID
