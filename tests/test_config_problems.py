"""Every fault in a configuration is told with its place, what is wrong and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.code_fields import MODULES
from runtime.config.kinds import KINDS
from runtime.config.loader import load
from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError

HEAD = "namespace: app\nentries:\n"  # so that entries begin on line 3


def problems(folder: Path, *overrides: str) -> list[str]:
    """The problems of an application, a line each, with its folder left out."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, overrides, {"SET": "x"})
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# Each case: the entries, and the problems in them.
CASES: dict[str, tuple[str, list[str]]] = {
    "unknown kind": (
        "- {name: f, kind: function.lau, source: x}",
        ['app.yaml:3: app:f: "function.lau" is not a kind; did you mean "function.lua"?'],
    ),
    "unknown kind, nothing near": (
        "- {name: f, kind: 7}",
        [f"app.yaml:3: app:f: 7 is not a kind; the kinds are {', '.join(sorted(KINDS))}"],
    ),
    "no kind": (
        "- {name: f, knd: process.host}",
        ['app.yaml:3: app:f: an entry has no kind; did you mean "knd"?'],
    ),
    "unknown field": (
        "- name: s\n  kind: process.host\n  lifecycle:\n    auto_strat: true",
        ['app.yaml:6: app:s: lifecycle: unknown field "auto_strat"; did you mean "auto_start"?'],
    ),
    "unknown field, nothing near": (
        "- name: w\n  kind: library.lua\n  source: x\n  zzz: 1",
        [
            'app.yaml:6: app:w: unknown field "zzz"; the fields are imports, modules, source',
        ],
    ),
    "missing field": (
        "- name: j\n  kind: journal.lmdb",
        [
            'app.yaml:3: app:j: the field "path" is missing;'
            " add path: a folder, such as data/journal"
        ],
    ),
    "a misspelt field is not a missing one as well": (
        "- name: j\n  kind: journal.lmdb\n  paht: ./data",
        ['app.yaml:5: app:j: unknown field "paht"; did you mean "path"?'],
    ),
    "a null is a missing field": (
        "- name: s\n  kind: workflow.host\n  journal:",
        ['app.yaml:3: app:s: the field "journal" is missing; add journal: id of a journal.lmdb'],
    ),
    "a field under two names": (
        "- {name: h, kind: process.host, lifecycle: {requires: [], depends_on: []}}",
        [
            "app.yaml:3: app:h: lifecycle.depends_on: it is another name of requires;"
            " write one of them"
        ],
    ),
    "bad text": (
        "- {name: w, kind: function.lua, source: x, method: 7}",
        ['app.yaml:3: app:w: method: 7 is not a text; write it in quotes: "7"'],
    ),
    "bad flag": (
        "- {name: h, kind: process.host, lifecycle: {auto_start: yes}}",
        [
            'app.yaml:3: app:h: lifecycle.auto_start: "yes" is neither true nor false;'
            " write true or false"
        ],
    ),
    "bad whole numbers": (
        "- name: h\n  kind: process.host\n  host:\n    workers: two\n    max_processes: -1",
        [
            'app.yaml:6: app:h: host.workers: "two" is not a whole number;'
            " write a whole number, at least 1",
            "app.yaml:7: app:h: host.max_processes: -1 is too small; write at least 0",
        ],
    ),
    "true is no whole number": (
        "- {name: h, kind: process.host, host: {workers: true}}",
        [
            "app.yaml:3: app:h: host.workers: true is not a whole number;"
            " write a whole number, at least 1"
        ],
    ),
    "bad numbers": (
        "- {name: h, kind: process.host, lifecycle: {restart: {jitter: 2, backoff_factor: .inf}}}",
        [
            "app.yaml:3: app:h: lifecycle.restart.backoff_factor: inf is out of range;"
            " write a number, at least 1",
            "app.yaml:3: app:h: lifecycle.restart.jitter: 2 is out of range;"
            " write a number from 0 to 1",
        ],
    ),
    "crashes within no time are never too many": (
        "- {name: s, kind: process.supervisor, children: [], intensity: {period: 0s}}",
        ['app.yaml:3: app:s: intensity.period: "0s" is too short; write more than 0s'],
    ),
    "bad durations": (
        "- {name: h, kind: process.host, lifecycle: {start_timeout: 10, stop_timeout: 5 sec}}",
        [
            "app.yaml:3: app:h: lifecycle.start_timeout: 10 is not a duration; write a number and a"
            ' unit, such as "10s", "1h30m", "500ms" or "7d"',
            'app.yaml:3: app:h: lifecycle.stop_timeout: "5 sec" is not a duration; write a number'
            ' and a unit, such as "10s", "1h30m", "500ms" or "7d"',
        ],
    ),
    "bad size": (
        "- {name: j, kind: journal.lmdb, path: x, payload_limit: 2M}",
        [
            'app.yaml:3: app:j: payload_limit: "M" is not a unit of size;'
            ' write a number and a unit, such as "64KB", "256MB" or "1GiB"'
        ],
    ),
    "bad choices": (
        "- {name: f, kind: workflow.lua, source: x, on_error: suspnd, versioning: 1}",
        [
            'app.yaml:3: app:f: on_error: "suspnd" is not a choice; did you mean "suspend"?',
            "app.yaml:3: app:f: versioning: 1 is not a choice; the choices are latest, pinned",
        ],
    ),
    "bad shapes": (
        "- {name: f, kind: function.lua, source: x, modules: time, imports: [a], pool: 3, meta: 1}",
        [
            "app.yaml:3: app:f: imports: a list is not a map; write key: value pairs",
            "app.yaml:3: app:f: meta: 1 is not a map; write key: value pairs",
            'app.yaml:3: app:f: modules: "time" is not a list; write [time]',
            "app.yaml:3: app:f: pool: 3 is not a map; its fields are max_size, type, workers",
        ],
    ),
    "bad target": (
        "- {name: f, kind: function.python, target: shop.charge}",
        [
            'app.yaml:3: app:f: target: "shop.charge" is malformed;'
            " write it like package.module:callable"
        ],
    ),
    "unknown modules": (
        "- name: f\n  kind: function.lua\n  source: x\n  modules:\n    - tme\n    - sql",
        [
            'app.yaml:7: app:f: modules[0]: "tme" is not a module; did you mean "time"?',
            'app.yaml:8: app:f: modules[1]: "sql" is not a module;'
            f" the modules are {', '.join(sorted(MODULES))}",
        ],
    ),
    "an alias with the name of a module": (
        "- {name: f, kind: function.lua, source: x, imports: {time: l, 1x: l}}\n"
        "- {name: l, kind: library.lua, source: x}",
        [
            'app.yaml:3: app:f: imports.1x: "1x" is not a Lua name;'
            " use letters, digits and _, not beginning with a digit",
            'app.yaml:3: app:f: imports.time: "time" is the name of a module; choose another alias',
        ],
    ),
    "misspelt reference": (
        "- {name: journal, kind: journal.lmdb, path: x}\n"
        "- {name: orders, kind: workflow.host, journal: app:jurnal}",
        [
            'app.yaml:4: app:orders: journal: there is no entry "app:jurnal";'
            ' did you mean "app:journal"?'
        ],
    ),
    "reference to nothing": (
        "- {name: orders, kind: workflow.host, journal: 'zz:y'}",
        [
            'app.yaml:3: app:orders: journal: there is no entry "zz:y";'
            " add an entry of kind journal.lmdb"
        ],
    ),
    "reference to the wrong kind": (
        "- {name: h, kind: process.host}\n- {name: orders, kind: workflow.host, journal: h}",
        ["app.yaml:4: app:orders: journal: app:h is a process.host; name a journal.lmdb"],
    ),
    "malformed reference": (
        "- {name: o, kind: workflow.host, journal: 'app:'}\n"
        "- {name: p, kind: workflow.host, journal: [x]}",
        [
            'app.yaml:3: app:o: journal: "app:" is not an entry id; write it as namespace:name',
            "app.yaml:4: app:p: journal: a list is not an entry id;"
            " write the id of a journal.lmdb as namespace:name",
        ],
    ),
    "missing source": (
        "- name: f\n  kind: function.lua\n  source: file://mian.lua",
        ['app.yaml:5: app:f: source: there is no file mian.lua; did you mean "main.lua"?'],
    ),
    "unreadable sources": (
        "- {name: a, kind: function.lua, source: 'file://folder'}\n"
        "- {name: b, kind: function.lua, source: 'file://latin.lua'}\n"
        "- {name: c, kind: function.lua, source: ''}",
        [
            "app.yaml:3: app:a: source: folder cannot be read: Is a directory;"
            " name a readable file",
            "app.yaml:4: app:b: source: latin.lua is not UTF-8 text: invalid continuation byte;"
            " save it as UTF-8",
            'app.yaml:5: app:c: source: "" is not a source;'
            " write file:// and a path relative to this file, or the source itself",
        ],
    ),
    "missing variable": (
        "- {name: d, kind: registry.entry, x: '${env:SET}'}\n"
        "- name: e\n  kind: registry.entry\n  x: ${env:NOT_SET}/${env:}",
        [
            "app.yaml:6: app:e: ${env:} names nothing; write ${env:NAME}",
            "app.yaml:6: app:e: the environment variable NOT_SET is not set;"
            " set NOT_SET before starting",
        ],
    ),
    "cycle of services": (
        "- {name: b, kind: process.host, lifecycle: {requires: [a]}}\n"
        "- {name: a, kind: process.service, process: p, host: b}\n"
        "- {name: p, kind: process.lua, source: x}",
        [
            "app.yaml:4: app:a: services need each other: app:a -> app:b -> app:a;"
            " remove one of these needs"
        ],
    ),
    "cycle of libraries": (
        "- {name: a, kind: library.lua, source: x, imports: {b: b}}\n"
        "- {name: b, kind: library.lua, source: x, imports: {a: a}}",
        [
            "app.yaml:3: app:a: libraries import each other: app:a -> app:b -> app:a;"
            " move what they share into a library of its own"
        ],
    ),
    "bad names": (
        "- {name: 'a:b', kind: process.host}\n- {name: 7, kind: process.host}\n"
        "- {nmae: x, kind: process.host}\n- text",
        [
            'app.yaml:3: "a:b" is not a name for an entry; use letters, digits, and _ . - inside',
            "app.yaml:4: 7 is not a name for an entry; use letters, digits, and _ . - inside",
            'app.yaml:5: an entry has no name; did you mean "nmae"?',
            'app.yaml:6: "text" is not an entry; write a map with name and kind',
        ],
    ),
    "bad values in YAML": (
        "- name: d\n  kind: registry.entry\n  x: 1\n  x: 2\n  y: !odd z\n"
        "  z: 99999999999999999999\n  ? [1]\n  : 2\n  loop: &loop [*loop]\n  <<: 3\n  i: !!int x",
        [
            'app.yaml:6: app:d: "x" is given twice; the first is on line 5',
            "app.yaml:7: app:d: the YAML tag !odd is not known; remove the tag",
            "app.yaml:8: app:d: 99999999999999999999 does not fit into 64 bits; write it in quotes",
            "app.yaml:9: app:d: a key is a list or a map; write a text as the key",
            "app.yaml:11: app:d: the value contains itself; remove the alias",
            "app.yaml:12: app:d: << does not merge a map; name a map, or a list of maps",
            'app.yaml:13: app:d: "x" is not a YAML int; remove the tag',
        ],
    ),
}


@pytest.mark.parametrize(("entries", "expected"), CASES.values(), ids=CASES.keys())
def test_a_bad_entry_is_told_with_its_place_and_remedy(
    tmp_path: Path, entries: str, expected: list[str]
) -> None:
    (tmp_path / "app.yaml").write_text(HEAD + entries)
    (tmp_path / "main.lua").write_text("return 1")
    (tmp_path / "latin.lua").write_bytes(b"-- caf\xe9s")
    (tmp_path / "folder").mkdir()
    assert problems(tmp_path) == expected


FILES: dict[str, tuple[dict[str, str], list[str]]] = {
    "no entries": (
        {"x.yaml": "a: 1"},
        ["{folder}: there are no entries in this folder;"
         " add a YAML file with a namespace and entries"],
    ),
    "no namespace": (
        {"a.yaml": "namspace: app\nentries: []\n"},
        [
            'a.yaml:1: unknown key "namspace"; did you mean "namespace"?',
            'a.yaml:2: the file has entries and no namespace; did you mean "namspace"?',
        ],
    ),
    "a single entry without a namespace": (
        {"a.yaml": "name: x\nkind: process.host\n"},
        [
            "a.yaml:1: the file has entries and no namespace;"
            " add namespace: at the top of the file"
        ],
    ),
    "a bad namespace": (
        {"a.yaml": "namespace: a:b\nentries: []\n"},
        ['a.yaml:1: "a:b" is not a namespace; use letters, digits, and _ . - inside'],
    ),
    "entries that are no list": (
        {"a.yaml": "namespace: app\nentries: {a: 1}\n"},
        ["a.yaml:2: entries: a map is not a list; write a list of maps with name and kind"],
    ),
    "ids in two files": (
        {"a.yaml": HEAD + "- {name: x, kind: process.host}",
         "b/b.yaml": HEAD + "\n- {name: x, kind: terminal.host}"},
        ["b/b.yaml:4: app:x: declared twice: the first is at a.yaml:3; rename one"],
    ),
    "problems in several files": (
        {"b.yaml": HEAD + "- {name: x, kind: nonesuch.kind.zzz}\n- {name: y, kind: library.lua}",
         "a.yaml": HEAD + "- {name: z, kind: process.hots}"},
        [
            'a.yaml:3: app:z: "process.hots" is not a kind; did you mean "process.host"?',
            'b.yaml:3: app:x: "nonesuch.kind.zzz" is not a kind; the kinds are '
            + ", ".join(sorted(KINDS)),
            'b.yaml:4: app:y: the field "source" is missing;'
            " add source: file:// and a path, or the source itself",
        ],
    ),
    "who refers to what could not be read": (
        {"a.yaml": HEAD + "- {name: x, kind: workflow.host, journal: app:j}\n"
         "- {name: y, kind: library.lua, source: x, imports: {x: app:x}}\n"
         "- {name: j:j, kind: journal.lmdb, path: ./data}"},
        [
            "a.yaml:4: app:y: imports.x: app:x is a workflow.host; name a library.lua",
            'a.yaml:5: "j:j" is not a name for an entry; use letters, digits, and _ . - inside',
        ],
    ),
    "modules that shadow ours": (
        {"a.yaml": HEAD + "- {name: x, kind: process.host}", "runtime.py": "",
         "journal/deep/x.py": "", "hosts/notes.txt": ""},
        [
            'journal: the module "journal" has the name of a package of Perdure;'
            " rename it, for example to app_journal",
            'runtime.py: the module "runtime" has the name of a package of Perdure;'
            " rename it, for example to app_runtime",
        ],
    ),
    "a lock file that leads nowhere": (
        {"wippy.lock": "directories:\n  src: ./scr\n",
         "a.yaml": HEAD + "- {name: x, kind: process.host}"},
        ["wippy.lock:2: directories.src: there is no folder scr; create it, or correct the path"],
    ),
    "a lock file of the wrong shape": (
        {"wippy.lock": "directories:\n  src: [a]\n",
         "a.yaml": HEAD + "- {name: x, kind: process.host}"},
        [
            "wippy.lock:2: directories.src is not a path;"
            " write a path relative to this file"
        ],
    ),
    "nesting without end": (
        {"a.yaml": "x:\n  " + "[" * 100_000},
        ["a.yaml:2: nested deeper than 100 levels; make it flatter"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), FILES.values(), ids=FILES.keys())
def test_a_bad_folder_is_told_with_its_place_and_remedy(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert problems(tmp_path) == [line.replace("{folder}", str(tmp_path)) for line in expected]


# The words of a syntax error are libyaml's; the place is ours.
@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (b"a: [1\nb: 2\n", "bad.yaml:2: not YAML: "),
        (b"a:\n\t- x", "bad.yaml:2: not YAML: "),
        (b"a: 1\nb: *nowhere", "bad.yaml:2: not YAML: found undefined alias"),
        (b"a: 1\nb: \x01", "bad.yaml:2: not YAML: "),
        (b"a: 1\nb: \xff\xfe", "bad.yaml:2: not UTF-8 text: invalid start byte"),
    ],
)
def test_text_that_is_not_yaml_is_told_with_its_line(
    tmp_path: Path, text: bytes, begins: str
) -> None:
    (tmp_path / "app.yaml").write_text(HEAD + "- {name: x, kind: process.hots}")
    (tmp_path / "bad.yaml").write_bytes(text)
    first, second = problems(tmp_path)
    assert first.startswith("app.yaml:3: app:x: ")
    assert second.startswith(begins)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("app:h:host.workers", "not an override; write namespace:name:field=value"),
        ("h:workers=1", "not an override; write namespace:name:field=value"),
        ("app:h:=1", "not an override; write namespace:name:field=value"),
        ("app:hh:host=1", 'app:hh: there is no such entry; did you mean "app:h"?'),
        ("app:h:name=x", "app:h: the name of an entry cannot be overridden;"
         " change it in its file"),
        ("app:h:isolation.deep=x", 'app:h: isolation is "shared", and has no field "deep";'
         " override isolation"),
        ("app:h:host.wrokers=1", 'app:h: host: unknown field "wrokers"; did you mean "workers"?'),
        ("app:h:host.workers=many", 'app:h: host.workers: "many" is not a whole number;'
         " write a whole number, at least 1"),
        ("app:h:kind=proces.host", 'app:h: "proces.host" is not a kind;'
         ' did you mean "process.host"?'),
        ("app:h:host.workers=99999999999999999999", "app:h: 99999999999999999999 does not fit into"
         " 64 bits; write it in quotes"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_as_it_was_given(
    tmp_path: Path, override: str, expected: str
) -> None:
    (tmp_path / "app.yaml").write_text(HEAD + "- {name: h, kind: process.host, isolation: shared}")
    assert problems(tmp_path, override) == [f"-o {override}: {expected}"]


def test_a_lock_file_that_is_not_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "wippy.lock").write_text("directories: {src: ${env:NOT_SET}}")
    (tmp_path / "app.yaml").write_text(HEAD + "- {name: h, kind: process.host}")
    (line,) = problems(tmp_path)
    assert line.startswith("wippy.lock:1: not YAML: ")


def test_a_variable_missing_in_a_lock_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "wippy.lock").write_text("directories:\n  src: ${env:SET}/${env:NOT_SET}")
    (tmp_path / "x").mkdir()
    (tmp_path / "app.yaml").write_text(HEAD + "- {name: h, kind: process.host}")
    assert problems(tmp_path) == [
        "wippy.lock:2: the environment variable NOT_SET is not set; set NOT_SET before starting"
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert problems(tmp_path) == [
        "dangling.yaml: cannot be read: No such file or directory; make it readable"
    ]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"{tmp_path}/nowhere: there is no such folder; name the folder that holds the"
        " application's YAML"
    )


def test_the_error_holds_its_problems_as_data(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(HEAD + "- {name: h, kind: process.hots}")
    with pytest.raises(PerdureError) as caught:
        load(tmp_path)
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert error.kind == Kind.INVALID
    (problem,) = error.problems
    assert problem.file == str(tmp_path / "app.yaml")
    assert (problem.line, problem.entry) == (3, "app:h")
    assert (problem.message, problem.hint) == (
        '"process.hots" is not a kind',
        'did you mean "process.host"?',
    )
