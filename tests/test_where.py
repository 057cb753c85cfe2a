"""The language that finds runs, and what of a condition the index answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.where import Comparison, indexed, parse, texts
from journal import attributes
from journal.attributes import Value
from journal.errors import UnitError
from runtime.errors import Kind, PerdureError

RUN: dict[str, Value] = {
    "status": "open", "customer": "c-7", "total": 120, "rate": 0.5, "express": True, "note": "",
    "started": "2026-03-01T10:00:00+00:00", "a.b-c": "x",
}  # fmt: skip

CONDITIONS = [
    ('status = "open"', True),
    ("status = 'open'", True),
    ('status = "open" and customer = "c-7"', True),
    ('status = "open" and customer = "c-8"', False),
    ('customer = "c-8" or total > 100', True),
    ('customer = "c-8" or total > 100 and express = false', False),
    ('(customer = "c-8" or total > 100) and express = true', True),
    ('not customer = "c-7"', False),
    ('not (customer = "c-8")', True),
    ("not not express = true", True),
    ("total >= 120 and total <= 120 and total < 120.5 and total > 119.5", True),
    ("total = 120.0", True),
    ("rate = .5 and rate = 5e-1 and rate > -1", True),
    ("total != 120", False),
    ('total != "120"', True),
    ('total = "120"', False),
    ('total < "200"', False),
    ("express > false", True),
    ("express = 1", False),
    ("missing = 1", False),
    ("missing != 1", False),
    ("not missing = 1", True),
    ('note = ""', True),
    ('customer > "c-" and customer < "c-8"', True),
    ('started >= "2026-03-01" and started < "2026-04"', True),
    ('a.b-c = "x"', True),
    (r'customer != "say \"hi\" \\"', True),
]


@pytest.mark.parametrize(("text", "holds"), CONDITIONS)
def test_what_holds(text: str, holds: bool) -> None:
    assert parse(text).holds(RUN) is holds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "column 1: the name of an attribute"),
        ("status", "column 7: one of ="),
        ("status =", "column 9: a text in quotes"),
        ("status = open", "column 10: a text in quotes, a number, true or false should stand"),
        ('status = "open', "column 9: cannot read"),
        ('status = "open" customer = 1', 'column 17: "and", "or" or the end'),
        ('status = "open" and', "column 20: the name"),
        ('(status = "open"', 'column 17: ")" is missing'),
        ("status == 1", "column 9: a text in quotes"),
        ('status = "opne"', "column 10: no run has the status 'opne'; did you mean \"open\"?"),
        ("not status = 5", "column 14: no run has the status 5; there are cancelled, completed,"),
        ("1 = status", "column 1: the name"),
        ("total = 1 and or", "column 15: the name"),
        ("total ~ 1", "column 6: cannot read '~ 1'"),
    ],
)
def test_what_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(PerdureError) as error:
        parse(text)
    assert error.value.kind == Kind.INVALID
    assert problem in error.value.message


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('customer = "c"', ["customer ="]),
        ('status = "open"', None),
        ('status = "open" and customer = "c"', ["customer ="]),
        ('total > 5 and customer = "c"', ["customer ="]),
        ('customer = "c" or total > 5', ["customer =", "total >"]),
        ('customer = "c" or status = "open"', None),
        ('not customer = "c"', None),
        ('customer != "c" and total < 5', ["total <"]),
        ("(a = 1 or b = 2) and c < 3", ["a =", "b ="]),
    ],
)
def test_what_the_index_answers(text: str, names: list[str] | None) -> None:
    found = indexed(parse(text))
    told = None if found is None else [f"{each.name} {each.operator}" for each in found]
    assert told == names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('status = "failed"', ["failed"]),
        ('status = "failed" or entry = "app:w"', ["failed", "app:w"]),
        ('(status = "open" or status = "suspended") and run_id = "r"', ["r"]),
        ('entry = "app:w" and not status = "failed" and total = 5', ["app:w"]),
        ('status != "failed"', None),
        ('not status = "failed"', None),
        ('started = "2026-03-01"', None),
        ('status = "failed" or total = 5', None),
    ],
)
def test_texts_that_stand_in_the_row(text: str, found: list[str] | None) -> None:
    assert texts(parse(text)) == found


VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=300))


@given(VALUES, VALUES)
def test_keys_are_in_the_order_of_their_values(left: Value, right: Value) -> None:
    if not Comparison("x", "<", right).holds({"x": left}):
        return
    assert attributes.place("x", left) <= attributes.place("x", right)


@given(VALUES, st.integers(0, 2**64 - 1))
def test_a_key_tells_its_run_and_fits(value: Value, run: int) -> None:
    key = attributes.key("n" * attributes.NAME_MAX, value, run)
    assert attributes.run_of(key) == run
    assert len(key) <= 511


@pytest.mark.parametrize(
    ("name", "value"), [("", 1), ("a\0b", 1), ("x" * 129, 1), ("x", float("nan")), ("x", None)]
)
def test_what_is_no_attribute(name: str, value: Value) -> None:
    with pytest.raises(UnitError):
        attributes.key(name, value, 1)


@pytest.mark.parametrize("nested", ["(" * 20_000, "not " * 20_000, "(not " * 60])
def test_conditions_nested_too_deep_are_refused_with_their_place(nested: str) -> None:
    with pytest.raises(PerdureError, match=r"column \d+: conditions are nested more than 100 deep"):
        parse(nested + "x = 1")
