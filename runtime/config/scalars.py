"""The types of fields that hold one value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from runtime.config.documents import Located, SourceText
from runtime.config.place import Place, Plain, shown
from runtime.config.problems import suggest
from runtime.config.units import parse_duration, parse_size


@dataclass(frozen=True)
class Text(Plain):
    """A string; with `pattern`, one that matches it whole. `like` is an example of one."""

    pattern: str = ""
    like: str = ""

    def read(self, node: Located, place: Place) -> Any:
        if isinstance(node.value, (dict, list)):
            place.reject(node, f"{shown(node)} is not a text", "write a text")
        elif not isinstance(node.value, str):
            place.reject(
                node, f"{shown(node)} is not a text", f'write it in quotes: "{shown(node)}"'
            )
        elif self.pattern and not re.fullmatch(self.pattern, node.value):
            place.reject(node, f"{shown(node)} is malformed", f"write it like {self.like}")
        return node.value


@dataclass(frozen=True)
class Flag(Plain):
    """true or false."""

    def read(self, node: Located, place: Place) -> Any:
        if isinstance(node.value, bool):
            return node.value
        if node.from_env and node.value.lower() in ("true", "false"):
            return node.value.lower() == "true"
        place.reject(node, f"{shown(node)} is neither true nor false", "write true or false")
        return None


@dataclass(frozen=True)
class Integer(Plain):
    """A whole number, not below `minimum`."""

    minimum: int = 0

    def read(self, node: Located, place: Place) -> Any:
        value = node.value
        if node.from_env and re.fullmatch(r"[-+]?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            place.reject(
                node,
                f"{shown(node)} is not a whole number",
                f"write a whole number, at least {self.minimum}",
            )
        elif value < self.minimum:
            place.reject(node, f"{value} is too small", f"write at least {self.minimum}")
        return value


@dataclass(frozen=True)
class Number(Plain):
    """A number between `minimum` and `maximum`, both allowed; read as a float."""

    minimum: float
    maximum: float = math.inf

    def read(self, node: Located, place: Place) -> Any:
        value = node.value
        if node.from_env and re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            place.reject(node, f"{shown(node)} is not a number", f"write {self._range()}")
        elif not self.minimum <= value <= self.maximum or math.isinf(value):
            place.reject(node, f"{value} is out of range", f"write {self._range()}")
        else:
            return float(value)
        return None

    def _range(self) -> str:
        if math.isinf(self.maximum):
            return f"a number, at least {self.minimum:g}"
        return f"a number from {self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class Duration(Plain):
    """A Go duration such as "10s" or "1h30m", also "7d" and "2w"; read as nanoseconds.

    With `positive`, "0s" is not allowed.
    """

    positive: bool = False

    def read(self, node: Located, place: Place) -> Any:
        hint = 'write a number and a unit, such as "10s", "1h30m", "500ms" or "7d"'
        if not isinstance(node.value, str):
            place.reject(node, f"{shown(node)} is not a duration", hint)
            return None
        try:
            duration = parse_duration(node.value)
        except ValueError as error:
            place.reject(node, str(error), hint)
            return None
        if self.positive and not duration:
            place.reject(node, f"{shown(node)} is too short", "write more than 0s")
        return duration


@dataclass(frozen=True)
class Size(Plain):
    """A size such as "256MB" or "1GiB"; read as bytes."""

    def read(self, node: Located, place: Place) -> Any:
        hint = 'write a number and a unit, such as "64KB", "256MB" or "1GiB"'
        if not isinstance(node.value, str):
            place.reject(node, f"{shown(node)} is not a size", hint)
            return None
        try:
            return parse_size(node.value)
        except ValueError as error:
            place.reject(node, str(error), hint)
            return None


@dataclass(frozen=True)
class Choice(Plain):
    """One of `options`."""

    options: tuple[str, ...]
    noun: str = "choice"

    def read(self, node: Located, place: Place) -> Any:
        if node.value not in self.options:
            hint = suggest(shown(node).strip('"'), self.options, f"the {self.noun}s are {{}}")
            place.reject(node, f"{shown(node)} is not a {self.noun}", hint)
        return node.value


@dataclass(frozen=True)
class FilePath(Plain):
    """A path; one that is not absolute is taken from the application's folder. Read as absolute."""

    def read(self, node: Located, place: Place) -> Any:
        if not isinstance(node.value, str) or not node.value or "\0" in node.value:
            place.reject(node, f"{shown(node)} is not a path", 'write a path, such as "data/x"')
            return None
        return str((place.folder / node.value).resolve())


@dataclass(frozen=True)
class Source(Plain):
    """A source text, inline or as `file://` with a path relative to the YAML file.

    One that was read already stays as it was then.
    """

    def read(self, node: Located, place: Place) -> Any:
        if isinstance(node.value, SourceText):
            return node.value
        if not isinstance(node.value, str) or not node.value:
            hint = "write file:// and a path relative to this file, or the source itself"
            place.reject(node, f"{shown(node)} is not a source", hint)
            return None
        if not node.value.startswith("file://"):
            if node.origin:
                return SourceText(node.value, str(place.entry), 1)
            return SourceText(node.value, str(place.file), node.text_line)
        path = place.file.parent / node.value.removeprefix("file://")
        try:
            path = path.resolve()
            return SourceText(path.read_text("utf-8"), str(path), 1)
        except FileNotFoundError:
            names = [each.name for each in path.parent.glob("*") if each.is_file()]
            hint = suggest(path.name, names, "create it, or correct the path")
            place.reject(node, f"there is no file {path}", hint)
        except UnicodeDecodeError as error:
            place.reject(node, f"{path} is not UTF-8 text: {error.reason}", "save it as UTF-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            place.reject(node, f"{path} cannot be read: {reason}", "name a readable file")
        return None
