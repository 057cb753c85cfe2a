"""YAML text to plain data that still knows its lines, and back. The only file that touches PyYAML.

Scalars are typed by the YAML 1.2 core schema, as Go reads them: `yes`, `on`, `22:30` and dates are
text. Map keys are text, whatever they look like. `${env:NAME}` in a scalar is replaced; what comes
out is text, and fields.py reads it as the type of its field. `$${env:NAME}` stands for the text
`${env:NAME}` itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

try:
    from yaml import CSafeDumper as _SafeDumper
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeDumper as _SafeDumper  # type: ignore[assignment]
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

#: Lists and maps inside each other, at most.
MAX_DEPTH = 100
#: Values of one document, at most, those that aliases repeat included.
MAX_VALUES = 1_000_000

_TAG = "tag:yaml.org,2002:"
_ENV = re.compile(r"(\$?)\$\{env:([^}]*)\}")
_INT = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"
    r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
#: Tag, pattern and possible first characters, in the order in which they are tried.
_SCALARS = (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("merge", re.compile(r"<<\Z"), "<"),
)


class Fault(NamedTuple):
    """Something wrong in a text, at a line counted from 1."""

    line: int
    message: str
    hint: str = ""


class SourceText(NamedTuple):
    """A source's text, and where it begins: absolute path and line (from 1)."""

    text: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Located:
    """A value and where it stands.

    `value` is None, bool, int, float, str, a list of Located or a dict of str to Located; or, once
    it was read, a SourceText. `line` is that of its key, where it has one. `text_line` is the line
    on which a scalar's own text begins. `template` is a scalar's text with its `${env:…}` still in
    place, "" where it had none. `origin` is what it came from if that is not the file: an override
    of the command line, a change set.
    """

    value: Any
    line: int = 0
    text_line: int = 0
    template: str = ""
    origin: str = ""

    @property
    def from_env(self) -> bool:
        """Whether its text came from the environment, so that its type is that of its field."""
        return bool(self.template)


class Document(NamedTuple):
    """One document of a YAML file, and what was wrong with values in it."""

    root: Located
    faults: list[Fault]


class MalformedYamlError(Exception):
    """The text is not YAML; holds the Fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def parse(text: str, environ: Mapping[str, str]) -> list[Document]:
    """Read every document of a text. Raises MalformedYamlError."""
    documents = []
    for node in _compose(text):
        reader = _Reader(environ)
        documents.append(Document(reader.read(node, node.start_mark.line + 1), reader.faults))
    return documents


def read_value(text: str, most: int = MAX_VALUES) -> Any:
    """The value of a text of one document, without lines and without environment variables.

    Keys that look like numbers or booleans are such. Raises MalformedYamlError, for more than
    `most` values too.
    """
    nodes = _compose(text)
    if len(nodes) != 1:
        problem = "more than one document" if nodes else "there is nothing in it"
        raise MalformedYamlError(Fault(nodes[1].start_mark.line + 1 if nodes else 1, problem))
    reader = _Reader(None, most)
    value = plain(reader.read(nodes[0], 1))
    if reader.faults:
        raise MalformedYamlError(reader.faults[0])
    return value


def write_value(value: Any) -> str:
    """Plain data as YAML in block style, keys in the order that they have."""
    text = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, sort_keys=False
    )
    return text.removesuffix("...\n")  # which ends a document that is a bare scalar


def _compose(text: str) -> list[yaml.Node]:
    try:
        _check_depth(text)
        return list(yaml.compose_all(text, _Loader))
    except yaml.YAMLError as error:
        raise MalformedYamlError(_syntax_fault(error, text)) from None


def _check_depth(text: str) -> None:
    """Refuse what would overflow the C stack, on which libyaml composes recursively."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 0
                message = f"nested deeper than {MAX_DEPTH} levels"
                raise MalformedYamlError(Fault(line, message, "make it flatter"))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse_scalar(text: str, origin: str) -> Located:
    """The value of a command-line override: a YAML scalar; in quotes it stays text."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Located(text[1:-1], origin=origin)
    tag = next((tag for tag, pattern, _ in _SCALARS if pattern.match(text)), "str")
    return Located(_typed(tag, text), origin=origin)


def located(value: Any, origin: str = "") -> Located:
    """Plain data as if it had been written in YAML, at no line."""
    if isinstance(value, Mapping):
        items = {key: located(item, origin) for key, item in value.items()}
        return Located(items, origin=origin)
    if isinstance(value, (list, tuple)):
        return Located([located(item, origin) for item in value], origin=origin)
    return Located(value, origin=origin)


def plain(node: Located) -> Any:
    """The data without its lines."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value.text if isinstance(node.value, SourceText) else node.value


def as_written(node: Located) -> Any:
    """The data as YAML has to say it for `parse` to give it again, `${env:…}` still in place."""
    if isinstance(node.value, dict):
        return {key: as_written(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [as_written(item) for item in node.value]
    if node.template:
        return node.template
    value = plain(node)
    return _ENV.sub(lambda found: f"${found[0]}", value) if isinstance(value, str) else value


class _Loader(_SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own shape


class _Dumper(_SafeDumper):
    """Quotes what would not be a text, by the core schema or by PyYAML's own."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, list(_first))


class _Reader:
    """Turns the nodes of one document into Located values.

    Without an environment there are no variables to replace, and keys have types.
    """

    def __init__(self, environ: Mapping[str, str] | None, most: int = MAX_VALUES) -> None:
        self._most = most
        self.faults: list[Fault] = []
        self._environ = environ
        self._open: set[int] = set()
        self._values = 0

    def read(self, node: yaml.Node, line: int) -> Located:
        self._values += 1
        if self._values > self._most:
            message = f"more than {self._most} values, those that aliases repeat included"
            raise MalformedYamlError(Fault(line, message))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if id(node) in self._open:
            return self._fault(line, "the value contains itself", "remove the alias")
        self._open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node)
        else:
            value = [self.read(item, item.start_mark.line + 1) for item in node.value]
        self._open.remove(id(node))
        return Located(value, line, node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Located]:
        own: dict[str, Located] = {}
        merged: dict[str, Located] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if key.tag == _TAG + "merge":
                merged = {**self._merge(item, line), **merged}
            elif not isinstance(key, yaml.ScalarNode):
                self._fault(line, "a key is a list or a map", "write a text as the key")
            elif (name := self._key(key, line)) in own:
                first = own[name].line
                self._fault(line, f'"{key.value}" is given twice', f"the first is on line {first}")
            else:
                own[name] = self.read(item, line)
        return {**merged, **own}

    def _key(self, node: yaml.ScalarNode, line: int) -> Any:
        if self._environ is not None:
            return node.value
        key = self._scalar(node, line).value
        if key is None or key != key:
            self._fault(line, "a key is null, or no number", "write it in quotes")
        return key

    def _merge(self, node: yaml.Node, line: int) -> dict[str, Located]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Located] = {}
        for source in sources:
            value = self.read(source, line).value
            if not isinstance(value, dict):
                self._fault(line, "<< does not merge a map", "name a map, or a list of maps")
            else:
                merged = {**value, **merged}
        return merged

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Located:
        # The text of a block scalar begins on the line after its | or >.
        text_line = node.start_mark.line + (2 if node.style in ("|", ">") else 1)
        if self._environ is not None and _ENV.search(node.value):
            value = _ENV.sub(lambda found: self._env(found, line), node.value)
            return Located(value, line, text_line, node.value)
        try:
            value = _typed(node.tag.removeprefix(_TAG), node.value)
        except ValueError as error:
            return self._fault(line, *error.args)
        return Located(value, line, text_line)

    def _env(self, found: re.Match[str], line: int) -> str:
        assert self._environ is not None
        escaped, name = found.groups()
        if escaped:
            return found[0][1:]
        if name not in self._environ:
            self._fault(
                line,
                f"the environment variable {name} is not set" if name else "${env:} names nothing",
                f"set {name} before starting" if name else "write ${env:NAME}",
            )
        return self._environ.get(name, "")

    def _fault(self, line: int, message: str, hint: str) -> Located:
        self.faults.append(Fault(line, message, hint))
        return Located(None, line)


def _typed(tag: str, text: str) -> Any:
    """The value of a scalar; raises ValueError(message, hint)."""
    match tag:
        case "str" | "merge":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int" if _INT.match(text):
            base = {"0x": 16, "0o": 8}.get(text[:2], 10)
            if len(text) < 100 and -(2**63) <= (number := int(text, base)) < 2**63:
                return number
            raise ValueError(f"{text[:30]} does not fit into 64 bits", "write it in quotes")
        case "float" if _FLOAT.match(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case "bool" | "int" | "float":
            raise ValueError(f'"{text}" is not a YAML {tag}', "remove the tag")
    raise ValueError(f"the YAML tag {tag} is not known", "remove the tag")


def _syntax_fault(error: yaml.YAMLError, text: str) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        message = error.problem or "malformed"
        start = error.context_mark
        if error.context and start:
            message += f" {error.context} that begins on line {start.line + 1}"
        tab = "cannot start any token" in message
        hint = "indent with spaces, and quote text that begins with a special character"
        return Fault(error.problem_mark.line + 1, f"not YAML: {message}", hint if tab else "")
    position = getattr(error, "position", 0)
    reason = getattr(error, "reason", str(error))
    return Fault(text.count("\n", 0, position) + 1, f"not YAML: {reason}", "remove the character")
