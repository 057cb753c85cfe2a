"""Where a type ends: the grammar of types, as a recursive descent that builds nothing.

    type     = ["|" | "&"] part {("|" | "&" | "->") part}
    part     = {"readonly"} primary {"?" | "[]" | "@" name ["(" … ")"]}
    primary  = name {"." name} [arguments] | literal | "typeof" "(" … ")" | "{" {entry} "}"
             | [parameters] "(" {item} ")" | ("fun" | "function") "(" {item} ")" [":" result]
    entry    = ["readonly"] (word ["?"] | "[" type "]") ":" type | type | "..."
    item     = name ["?"] ":" type | "..." [[":"] type] | type ["..."]
    result   = type | "..." [type]
    arguments  = "<" item {"," item} ">"
    parameters = "<" name ["..."] [(":" | "extends") type] ["=" type] {"," …} ">"

No part of it is tried again after it failed but the arguments of a cast (`x as A < b` compares),
and they only once, so a type costs time in proportion to its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.lua.types.tokens import Tokens

#: Brackets in brackets in a type: what Python's stack has room for, wherever it is asked.
MAX_DEPTH: Final = 50

KEYWORDS: Final = frozenset(
    ("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
     "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while")
)  # fmt: skip
_TYPE_KEYWORDS: Final = frozenset(("nil", "true", "false", "function"))


class TypeSyntaxError(Exception):
    """What should be a type is none; `text` says what is wrong."""

    def __init__(self, tokens: Tokens, at: int, text: str) -> None:
        super().__init__(text)
        self._tokens = tokens
        self._at = at
        self.text = text

    @property
    def line(self) -> int:
        """Where that is. Counted when it is asked for: most of these are caught, since a cast may
        turn out to be none."""
        return self._tokens.line(self._at)


class TooDeepError(TypeSyntaxError):
    """A type nests deeper than MAX_DEPTH."""


def is_name(text: str) -> bool:
    """Whether a token is a name and no keyword."""
    return text.isidentifier() and text not in KEYWORDS


def _is_literal(text: str) -> bool:
    return text[:1] in ("'", '"') or text[:1].isdigit() or text[:2] in ("[[", "[=")


class Grammar:
    """A place in the tokens. Each method moves `at` behind what it is named for, or raises
    TypeSyntaxError."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._texts = tokens.texts
        self._depth = 0
        #: Whether the first half of the token at `at`, a `<<`, `>>` or `>=`, is read already.
        self._half = False
        self.at = 0

    def read(self, part: Callable[[Grammar], None], at: int) -> int:
        """Read a part from the token at `at` on; offset of its end in the source."""
        self.at, self._depth, self._half = at, 0, False
        part(self)
        if not self._half:
            return self._tokens.end_before(self.at)
        # Types and the assignment behind them may touch: `local x: Box<T>= …`.
        if self._texts[self.at] == ">>":
            self._fail("unexpected '>'")
        self._half = False
        self._texts[self.at] = "="
        self._tokens.starts[self.at] += 1
        return self._tokens.starts[self.at]

    # Types ----------------------------------------------------------------------------------------

    def type(self) -> None:
        if self._peek() in ("|", "&"):
            self.at += 1
        self._parts(self._name)

    def cast(self) -> None:
        """The type of a cast, which an expression may go on behind."""
        self._parts(self._name_of_cast)

    def result(self) -> None:
        """What a function returns."""
        if self._peek() == "...":
            self.at += 1
            if not self._starts_type():
                return
        self.type()

    def _parts(self, named: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            text = f"a type nests more than {MAX_DEPTH} deep"
            raise TooDeepError(self._tokens, self.at, text)
        while True:
            self._part(named)
            operator = self._peek()
            if operator not in ("|", "&", "->"):
                break
            self.at += 1
            if operator == "->" and self._peek() == "...":
                self.at += 1
                if not self._starts_type():
                    break
        self._depth -= 1

    def _part(self, named: Callable[[], None]) -> None:
        while self._peek() == "readonly" and self._same_line() and self._starts_type(1):
            self.at += 1
        text = self._peek()
        if text == "{":
            self.at += 1
            self._all_until("}", self._entry)
        elif text == "(":
            self.at += 1
            self._all_until(")", self._item)
        elif text == "<":
            self.parameters()
            self._expect("(")
            self._all_until(")", self._item)
        elif text in ("fun", "function") and self._texts[self.at + 1] == "(":
            self.at += 2
            self._all_until(")", self._item)
            if self._accept(":"):
                self.result()
        elif text == "typeof" and self._texts[self.at + 1] == "(":
            self.at += 1
            self._brackets()
        elif is_name(text) or text in _TYPE_KEYWORDS:
            named()
        elif text == "-" and self._texts[self.at + 1][:1].isdigit():
            self.at += 2
        elif _is_literal(text):
            self.at += 1
        else:
            self._fail("type expected")
        self._suffixes()

    def _suffixes(self) -> None:
        while True:
            text = self._peek()
            if text == "?":
                self.at += 1
            elif text == "[" and self._texts[self.at + 1] == "]":
                self.at += 2
            elif text == "@":
                self.at += 1
                if not is_name(self._peek()):
                    self._fail("name of a validator expected")
                in_line = self._same_line()
                self.at += 1
                if self._peek() == "(" and in_line:
                    self._brackets()
            else:
                return

    def _name(self) -> None:
        self.at += 1
        while self._peek() == "." and is_name(self._texts[self.at + 1]):
            self.at += 2
        if self._peek() in ("<", "<<") and not self._attribute():
            self._all_of_angles(self._item)

    def _name_of_cast(self) -> None:
        """`x as A < b` compares unless a list of types up to `>` follows, and behind that nothing
        that `>` could compare with."""
        self.at += 1
        while self._peek() == "." and is_name(self._texts[self.at + 1]):
            self.at += 2
        if self._peek() not in ("<", "<<"):
            return
        start, depth = self.at, self._depth
        try:
            self._all_of_angles(self._item)
            fits = not self._half and not (
                "," in self._texts[start : self.at]
                and self._same_line(-1)
                and self._starts_operand()
            )
        except TooDeepError:
            raise
        except TypeSyntaxError:
            fits = False
        if not fits:
            self.at, self._depth, self._half = start, depth, False

    # Lists ----------------------------------------------------------------------------------------

    def parameters(self) -> None:
        """Type parameters in angle brackets."""
        self._all_of_angles(self._parameter)

    def _parameter(self) -> None:
        if not is_name(self._peek()):
            self._fail("name of a type parameter expected")
        self.at += 1
        self._accept("...")
        if self._accept(":") or self._accept("extends"):
            self.type()
        if self._accept("="):
            self.type()

    def _entry(self) -> None:
        if self._peek() == "readonly" and not self._names_field():
            self.at += 1
            if not (self._names_field() or self._peek() == "["):
                self.at -= 1
        if self._accept("..."):
            return
        if self._names_field():
            self.at += 2 if self._texts[self.at + 1] == ":" else 3
        elif self._accept("["):
            self.type()
            self._expect("]")
            self._accept("?")
            self._expect(":")
        self.type()

    def _item(self) -> None:
        if self._accept("..."):
            if self._accept(":") or self._starts_type():
                self.type()
            return
        if self._names_field():
            self.at += 2 if self._texts[self.at + 1] == ":" else 3
        self.type()
        self._accept("...")

    def _names_field(self) -> bool:
        """Whether `word:` or `word?:` is here."""
        if not self._peek().isidentifier():
            return False
        after = self._texts[self.at + 1]
        return after == ":" or (after == "?" and self._texts[self.at + 2] == ":")

    def _all_until(self, closer: str, item: Callable[[], None]) -> None:
        while not self._accept(closer):
            item()
            if not (self._accept(",") or (closer == "}" and self._accept(";"))):
                self._expect(closer)
                return

    def _all_of_angles(self, item: Callable[[], None]) -> None:
        self._expect_angle("<")
        item()
        while self._accept(","):
            item()
        self._expect_angle(">")

    def _expect_angle(self, angle: str) -> None:
        """It may be the first half of a `<<`, `>>` or `>=`."""
        if self._peek() in (angle * 2, angle + "="):
            self._half = True
        else:
            self._expect(angle)

    def _brackets(self) -> None:
        closer = self._tokens.closer(self.at)
        if closer is None:
            self._fail("')' expected")
        else:
            self.at = closer + 1

    # Tokens ---------------------------------------------------------------------------------------

    def _peek(self) -> str:
        text = self._texts[self.at]
        return text[1:] if self._half else text

    def _accept(self, text: str) -> bool:
        if self._peek() != text:
            return False
        self.at += 1
        self._half = False
        return True

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            self._fail(f"'{text}' expected")

    def _fail(self, what: str) -> None:
        near = self._peek()
        where = f"near '{near}'" if near else "near <eof>"
        raise TypeSyntaxError(self._tokens, self.at, f"{what} {where}")

    def _starts_type(self, ahead: int = 0) -> bool:
        text = self._texts[self.at + ahead]
        return text in ("(", "{") or is_name(text) or text in _TYPE_KEYWORDS or _is_literal(text)

    def _starts_operand(self) -> bool:
        text = self._peek()
        return text in ("(", "{") or is_name(text) or _is_literal(text)

    def _same_line(self, ahead: int = 0) -> bool:
        """Whether the token at `at`, or one `ahead` of it, and the next are on one line."""
        at = self.at + ahead
        return self._tokens.on_one_line(self._tokens.starts[at], self._tokens.starts[at + 1])

    def _attribute(self) -> bool:
        """Whether `<const>` or `<close>` is here, of the variable and not of its type."""
        return self._texts[self.at + 1] in ("const", "close") and self._texts[self.at + 2] == ">"
