"""The language that finds runs: `status = "open" and (customer = "c-7" or total >= 100)`.

    condition   = term {"or" term}
    term        = factor {"and" factor}
    factor      = "not" factor | "(" condition ")" | name operator value
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">="
    value       = text in double or single quotes | number | true | false

Names are those of search attributes, and `FIELDS`. A comparison is false for a run that has no such
attribute, and one for order is false where the kinds differ; `!=` is true where they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, NamedTuple, Protocol

from journal.attributes import Value
from journal.records import ENDED_STATUSES, OPEN_STATUSES
from runtime.config.problems import suggest
from runtime.errors import Kind, PerdureError

#: What every run has; times are ISO 8601 in UTC, so `started >= "2026-01-01"` works, and "" where
#: there is none.
FIELDS: Final = ("workflow_id", "run_id", "entry", "host", "status", "started", "ended")
#: Those that a run's row has as they are.
_AS_STORED: Final = frozenset({"workflow_id", "run_id", "entry", "host", "status"})

_STATUSES: Final = OPEN_STATUSES | ENDED_STATUSES

#: Words of the language, which are no names.
KEYWORDS: Final = ("and", "or", "not", "true", "false")

#: Brackets and "not" within each other, at most.
MAX_DEPTH: Final = 100

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge
}  # fmt: skip
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[^\W\d]\w*(?:[.-]\w+)*)
    | (?P<sign><=|>=|!=|[=<>()])
    )""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"\s*")


class Fields(Protocol):
    """A run, as a condition sees it."""

    def get(self, name: str, /) -> Value | None:
        """The value under a name; None when the run has no such attribute."""


class Comparison(NamedTuple):
    """name operator value"""

    name: str
    operator: str
    value: Value

    def holds(self, run: Fields) -> bool:
        found = run.get(self.name)
        if found is None:
            return False
        if _kind(found) != _kind(self.value):
            return self.operator == "!="
        return _COMPARE[self.operator](found, self.value)


class And(NamedTuple):
    """All of them hold."""

    parts: list[Condition]

    def holds(self, run: Fields) -> bool:
        return all(part.holds(run) for part in self.parts)


class Or(NamedTuple):
    """One of them holds."""

    parts: list[Condition]

    def holds(self, run: Fields) -> bool:
        return any(part.holds(run) for part in self.parts)


class Not(NamedTuple):
    """It does not hold."""

    part: Condition

    def holds(self, run: Fields) -> bool:
        return not self.part.holds(run)


Condition = Comparison | And | Or | Not


def names(condition: Condition) -> set[str]:
    """The names that a condition compares."""
    if isinstance(condition, Comparison):
        return {condition.name}
    parts = [condition.part] if isinstance(condition, Not) else condition.parts
    return {name for part in parts for name in names(part)}


def indexed(condition: Condition) -> list[Comparison] | None:
    """Comparisons of search attributes, one of which holds for every run that the condition does;
    None where the index cannot help."""
    return _needed(condition, lambda each: each.operator != "!=" and each.name not in FIELDS)


def texts(condition: Condition) -> list[str] | None:
    """Texts, one of which stands in the row of every run for which the condition holds; None where
    that cannot be said."""
    plan = _needed(condition, lambda each: each.operator == "=" and each.name in _AS_STORED)
    return None if plan is None else [str(each.value) for each in plan]


def _needed(condition: Condition, usable: Callable[[Comparison], bool]) -> list[Comparison] | None:
    """Usable comparisons, one of which holds for every run that the condition does."""
    if isinstance(condition, Comparison):
        return [condition] if usable(condition) else None
    if isinstance(condition, And):
        plans = [plan for part in condition.parts if (plan := _needed(part, usable)) is not None]
        return min(plans, key=_cost, default=None)
    if isinstance(condition, Or):
        found: list[Comparison] = []
        for part in condition.parts:
            plan = _needed(part, usable)
            if plan is None:
                return None
            found += plan
        return found
    return None


def _cost(plan: list[Comparison]) -> tuple[int, int]:
    """A range finds more than a value, and two find more than one."""
    return sum(each.operator != "=" for each in plan), len(plan)


def _kind(value: Value) -> str:
    return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def parse(text: str) -> Condition:
    """The condition that a text stands for. Raises PerdureError INVALID with the place."""
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read())
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._condition()
        if self._peek() != "":
            raise self._wrong('"and", "or" or the end')
        return condition

    def _read(self) -> Iterator[tuple[int, str, str]]:
        at, end = 0, len(self._text)
        while _SPACE.match(self._text, at).end() < end:  # type: ignore[union-attr]
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._fail(at, f"cannot read {self._text[at:].strip()[:20]!r}")
            kind = match.lastgroup or ""
            yield match.start(kind), kind, match[kind]
            at = match.end()
        yield end, "end", ""

    def _peek(self) -> str:
        """The word or sign that comes next, "" at the end or where a value does."""
        _, kind, token = self._tokens[self._next]
        return token if kind in ("name", "sign") else "" if kind == "end" else "\0"

    def _take(self, token: str) -> bool:
        if self._peek() == token:
            self._next += 1
            return True
        return False

    def _condition(self) -> Condition:
        parts = [self._term()]
        while self._take("or"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Or(parts)

    def _term(self) -> Condition:
        parts = [self._factor()]
        while self._take("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else And(parts)

    def _factor(self) -> Condition:
        if self._peek() not in ("not", "("):
            return self._comparison()
        if self._depth == MAX_DEPTH:
            at = self._tokens[self._next][0]
            raise self._fail(at, f"conditions are nested more than {MAX_DEPTH} deep")
        self._depth += 1
        condition = self._negated() if self._take("not") else self._bracketed()
        self._depth -= 1
        return condition

    def _negated(self) -> Condition:
        return Not(self._factor())

    def _bracketed(self) -> Condition:
        self._take("(")
        condition = self._condition()
        if not self._take(")"):
            raise self._wrong('")"')
        return condition

    def _comparison(self) -> Condition:
        _, kind, name = self._tokens[self._next]
        if kind != "name" or name in ("and", "or", "true", "false"):
            raise self._wrong('the name of an attribute, "not" or "("')
        self._next += 1
        operator = self._peek()
        if operator not in _COMPARE:
            raise self._wrong("one of " + " ".join(_COMPARE))
        self._next += 1
        at = self._tokens[self._next][0]
        value = self._value()
        if name == "status" and value not in _STATUSES:
            hint = suggest(str(value), _STATUSES, "there are {}")
            raise self._fail(at, f"no run has the status {value!r}; {hint}")
        return Comparison(name, operator, value)

    def _value(self) -> Value:
        _, kind, token = self._tokens[self._next]
        self._next += 1
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
        if kind == "number":
            return float(token) if set(token) & set(".eE") else int(token)
        if token in ("true", "false"):
            return token == "true"
        self._next -= 1
        raise self._wrong("a text in quotes, a number, true or false")

    def _wrong(self, wanted: str) -> PerdureError:
        at, _, token = self._tokens[self._next]
        if not token:
            return self._fail(at, f"{wanted} is missing")
        return self._fail(at, f"{wanted} should stand in place of {token!r}")

    def _fail(self, at: int, problem: str) -> PerdureError:
        text = f"where: {self._text!r}, column {at + 1}: {problem}"
        return PerdureError(Kind.INVALID, text)
