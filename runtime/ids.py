"""Entry ids and PIDs: the two kinds of address in the system.

An entry id is ``namespace:name``. A PID is ``{host|unique}`` on this node and
``{node@host|unique}`` elsewhere; the unique part of a workflow's PID is its workflow id.
A text without braces is a name.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.errors import Kind, PerdureError

#: Characters that delimit a PID; names and workflow ids may not contain them.
RESERVED = frozenset("|{}@")


class EntryId(NamedTuple):
    """``namespace:name`` of an entry in the registry."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.name}"

    @classmethod
    def parse(cls, text: str, namespace: str = "") -> EntryId:
        """Read an id; one without a namespace is relative to `namespace`.

        Raises PerdureError INVALID when the text is empty or has no namespace to go by.
        """
        space, colon, name = text.rpartition(":")
        if not colon:
            space = namespace
        if not space or not name:
            raise PerdureError(
                Kind.INVALID, f'"{text}" is not an entry id: write it as namespace:name'
            )
        return cls(space, name)


class Pid(NamedTuple):
    """Address of a process, a function call or a workflow."""

    host: str
    unique: str
    node: str = ""

    def __str__(self) -> str:
        if self.node:
            return f"{{{self.node}@{self.host}|{self.unique}}}"
        return f"{{{self.host}|{self.unique}}}"

    @classmethod
    def parse(cls, text: str) -> Pid:
        """Read a PID; raises PerdureError INVALID when `text` is not one."""
        body = text[1:-1]
        address, bar, unique = body.partition("|")
        node, at, host = address.rpartition("@")
        if not (text[:1] == "{" and text[-1:] == "}" and bar and host and unique) or (
            RESERVED.intersection(unique) or (at and not node) or RESERVED.intersection(host)
        ):
            raise PerdureError(Kind.INVALID, f'"{text}" is not a PID: write it as {{host|unique}}')
        return cls(host, unique, node)


def is_pid(text: str) -> bool:
    """True for a text in braces (which may still be malformed), false for a name."""
    return text[:1] == "{"


def check_name(text: str, what: str) -> None:
    """Raise PerdureError INVALID unless `text` can be a name or a workflow id."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PerdureError(Kind.INVALID, f"{what} {text!a} is not valid text") from None
    bad = RESERVED.intersection(text)
    if not text or bad:
        found = f"contains {' '.join(sorted(bad))}" if bad else "is empty"
        raise PerdureError(Kind.INVALID, f'{what} "{text}" {found}: use any text without | {{ }} @')
