"""Typed Lua to plain Lua: annotations, aliases, casts and the like become blanks.

A pass over the tokens knows, at each of them, whether an expression may have ended there, whether
a statement may begin there, or neither. That is enough to tell a cast from a name `as`, an alias
from a name `type`, and `::` of a cast from that of a label; headers of functions, `local` and `for`
are read where they stand. Everything else is left as it is, so plain Lua comes out unchanged, line
breaks and byte counts hold, and what is wrong is left to Lua's compiler to tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from runtime.lua.types.grammar import (
    KEYWORDS,
    Grammar,
    TooDeepError,
    TypeSyntaxError,
    is_name,
)
from runtime.lua.types.tokens import Tokens

_VISIBLE: Final = re.compile(r"[^\r\n\t]")


class _Place(Enum):
    """What the code before a token means for it."""

    OPERAND = 1  #: an expression may have ended: operators and statements may follow
    START = 2  #: a statement begins
    INSIDE = 3  #: neither


_PLACE_AFTER: Final = {
    **dict.fromkeys(KEYWORDS - {"nil", "true", "false", "end"}, _Place.INSIDE),
    **dict.fromkeys(("then", "else", "do", "repeat", "break", ";"), _Place.START),
    **dict.fromkeys(
        ("+", "-", "*", "/", "//", "%", "^", "#", "&", "~", "|", "<<", ">>", "==", "~=", "<=", ">=",
         "<", ">", "=", "(", "{", "[", ":", ",", ".", "..", "?", "!", "@", "->"),
        _Place.INSIDE,
    ),
}  # fmt: skip


def erase(source: str) -> str:
    """The source without its types, each of its characters where it was.

    Takes time in proportion to the length of the source. Raises TypeSyntaxError where a type is
    expected and something else is there.
    """
    return _Eraser(source).run()


class _Eraser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = Tokens(source)
        self._texts = self._tokens.texts
        self._grammar = Grammar(self._tokens)
        self._at = 0
        self._place = _Place.START
        #: Of each open block, whether it is the body of a function without a name, whose end ends
        #: an expression.
        self._blocks: list[bool] = []
        self._pieces: list[str] = []
        self._copied = 0  # offset up to which `pieces` has the result

    def run(self) -> str:
        texts, special, places = self._texts, _SPECIAL, _PLACE_AFTER
        while text := texts[self._at]:
            handle = special.get(text)
            if handle is None or not handle(self):
                self._place = places.get(text, _Place.OPERAND)
                self._at += 1
        self._pieces.append(self._source[self._copied :])
        return "".join(self._pieces)

    # Special tokens: each method reads what begins there, or tells by False that it is plain Lua. -

    def _function(self) -> bool:
        texts = self._texts
        at = self._at + 1
        self._blocks.append(not is_name(texts[at]))
        while is_name(texts[at]):
            at += 2 if texts[at + 1] in (".", ":") else 1
        if texts[at] == "<":
            at = self._erase(Grammar.parameters, at, at)
        if texts[at] == "(":
            at += 1
            while is_name(texts[at]) or texts[at] == "...":
                at = self._annotated(at + 1, "?" if texts[at + 1] == "?" else "")
                if texts[at] != ",":
                    break
                at += 1
            if texts[at] == ")":
                at += 1
                if texts[at] == ":":
                    at = self._erase(Grammar.result, at + 1, at)
        return self._go_on(at, _Place.START)

    def _local(self) -> bool:
        texts = self._texts
        at = self._at + 1
        if texts[at] == "function":
            self._at = at
            return self._function()
        while is_name(texts[at]):
            at = self._attribute(at + 1)
            at = self._attribute(self._annotated(at))
            if texts[at] != ",":
                break
            at += 1
        return self._go_on(at, _Place.START)

    def _for(self) -> bool:
        texts = self._texts
        at = self._at + 1
        while is_name(texts[at]):
            at = self._annotated(at + 1)
            if texts[at] != ",":
                break
            at += 1
        return self._go_on(at, _Place.INSIDE)

    def _goto(self) -> bool:
        return self._go_on(self._at + 2 if is_name(self._texts[self._at + 1]) else self._at + 1)

    def _alias(self) -> bool:
        texts, start = self._texts, self._at
        if self._place is _Place.INSIDE or not is_name(texts[start + 1]):
            return False
        at = start + 2
        if texts[at] == "<":
            self._grammar.read(Grammar.parameters, at)
            at = self._grammar.at
        if texts[at] != "=":
            return False
        end = self._grammar.read(Grammar.type, at + 1)
        # Nothing may join the statements around it: `x = f`, and then `(g or h)()`.
        joins = self._place is _Place.OPERAND and texts[self._grammar.at] == "("
        self._blank(self._tokens.starts[start], end, ";" if joins else "")
        return self._go_on(self._grammar.at)

    def _as(self) -> bool:
        at, starts = self._at, self._tokens.starts
        before = self._tokens.end_before(at)
        if self._place is not _Place.OPERAND or not self._tokens.on_one_line(before, starts[at]):
            return False
        try:
            return self._go_on(self._erase(Grammar.cast, at + 1, at), _Place.OPERAND)
        except TooDeepError:
            raise
        except TypeSyntaxError:
            return False  # a name after all, or a fault that Lua finds

    def _colons(self) -> bool:
        at, texts = self._at, self._texts
        if is_name(texts[at + 1]) and texts[at + 2] == "::":
            return self._go_on(at + 3)
        if self._place is not _Place.OPERAND:
            return False
        return self._go_on(self._erase(Grammar.cast, at + 1, at), _Place.OPERAND)

    def _non_nil(self) -> bool:
        at, starts = self._at, self._tokens.starts
        # `!=` is nothing in Lua, and must not become an assignment.
        unequal = self._texts[at + 1] == "=" and starts[at + 1] == starts[at] + 1
        if self._place is not _Place.OPERAND or unequal:
            return False
        self._blank(starts[at], starts[at] + 1)
        return self._go_on(at + 1, _Place.OPERAND)

    def _opens(self) -> bool:
        self._blocks.append(False)
        return False

    def _until(self) -> bool:
        if self._blocks:
            self._blocks.pop()
        return False

    def _end(self) -> bool:
        of_expression = bool(self._blocks) and self._blocks.pop()
        return self._go_on(self._at + 1, _Place.OPERAND if of_expression else _Place.START)

    # Parts ----------------------------------------------------------------------------------------

    def _go_on(self, at: int, place: _Place = _Place.START) -> bool:
        self._at, self._place = at, place
        return True

    def _annotated(self, at: int, mark: str = "") -> int:
        """Erase `: type`, if that is there, with a mark in front; the token behind."""
        if self._texts[at + len(mark)] != ":":
            return at
        return self._erase(Grammar.type, at + len(mark) + 1, at)

    def _attribute(self, at: int) -> int:
        """The token behind `<const>` or `<close>`, if that is there."""
        texts = self._texts
        return at + 3 if texts[at] == "<" and texts[at + 2] == ">" else at

    def _erase(self, part: Callable[[Grammar], None], at: int, start: int) -> int:
        """Erase from token `start` to the end of the part that begins at `at`; the token behind."""
        end = self._grammar.read(part, at)
        self._blank(self._tokens.starts[start], end)
        return self._grammar.at

    def _blank(self, start: int, end: int, mark: str = "") -> None:
        self._pieces.append(self._source[self._copied : start])
        self._pieces.append(mark + _VISIBLE.sub(" ", self._source[start + len(mark) : end]))
        self._copied = end


_SPECIAL: Final[dict[str, Callable[[_Eraser], bool]]] = {
    "function": _Eraser._function,
    "local": _Eraser._local,
    "for": _Eraser._for,
    "goto": _Eraser._goto,
    "type": _Eraser._alias,
    "as": _Eraser._as,
    "::": _Eraser._colons,
    "!": _Eraser._non_nil,
    "if": _Eraser._opens,
    "do": _Eraser._opens,
    "repeat": _Eraser._opens,
    "until": _Eraser._until,
    "end": _Eraser._end,
}
