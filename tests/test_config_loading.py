"""A good application loads as written: the customer's page, defaults, sources, overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.loader import Loaded, load
from runtime.config.services import service_dependencies

SECOND = 1_000_000_000

HEAD = "version: '1.0'\nnamespace: app\nentries:\n"

#: The YAML blocks of the customer's page on workflows, and below them what they refer to.
PAGE = (
    HEAD
    + """
# 프로세스 정의
- name: session_handler
  kind: process.lua
  source: file://session_handler.lua
  method: main

# 프로세스를 래핑하는 감독 서비스
- name: session_manager
  kind: process.service
  process: app:session_handler
  host: app:processes
  lifecycle:
    auto_start: true
    restart:
      max_attempts: 10

- name: order_processor
  kind: workflow.lua
  source: file://order_processor.lua
  method: main
  modules:
    - funcs
    - time

- name: temporal_worker
  kind: temporal.worker
  client: app:temporal_client
  task_queue: "orders"
  lifecycle:
    auto_start: true

- name: temporal_client
  kind: journal.lmdb
  path: ./data/journal
- name: processes
  kind: process.host
"""
)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def loaded(folder: Path, entries: str, *overrides: str, **environ: str) -> Loaded:
    write(folder, {"app.yaml": HEAD + entries})
    return load(folder, overrides, environ)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    write(
        tmp_path,
        {
            "app.yaml": PAGE,
            "session_handler.lua": "return {}",
            "order_processor.lua": "local x = 1\nreturn x\n",
        },
    )
    return tmp_path


def test_the_blocks_of_the_page_load_as_written(page: Path) -> None:
    registry, warnings, folder, _ = load(page)
    assert (warnings, folder) == ((), page)
    order = registry.get("app:order_processor")
    assert order.data == {
        "source": "local x = 1\nreturn x\n",
        "source_path": str(page / "order_processor.lua"),
        "source_line": 1,
        "source_name": "order_processor.lua",
        "method": "main",
        "modules": ["funcs", "time"],
        "imports": {},
        "versioning": "pinned",
        "on_error": "fail",
    }
    assert (order.file, order.line) == (str(page / "app.yaml"), 21)
    worker = registry.get("app:temporal_worker").data
    assert (worker["client"], worker["journal"]) == ("app:temporal_client",) * 2
    assert worker["task_queue"] == "orders"
    assert worker["limits"]["memory"] == 512_000_000
    assert worker["retry_policy"] is None
    journal = registry.get("app:temporal_client").data
    assert journal["path"] == str(page / "data/journal")


def test_a_lifecycle_has_its_defaults(page: Path) -> None:
    registry = load(page).registry
    restart = {
        "initial_delay": None,  # 1s, and 0s under a supervisor
        "max_delay": 90 * SECOND,
        "backoff_factor": 2.0,
        "jitter": 0.1,
        "max_attempts": 0,
    }
    assert registry.get("app:processes").data["lifecycle"] == {
        "auto_start": True,
        "start_timeout": 10 * SECOND,
        "stop_timeout": 10 * SECOND,
        "stable_threshold": 5 * SECOND,
        "requires": [],
        "restart": restart,
    }
    manager = registry.get("app:session_manager").data["lifecycle"]
    assert manager["auto_start"] is True
    assert manager["restart"] == {**restart, "max_attempts": 10}


def test_services_depend_on_what_they_refer_to_and_require(page: Path) -> None:
    override = "app:temporal_worker:lifecycle.stop_timeout=1m"
    assert service_dependencies(load(page, [override]).registry) == {
        "app:session_manager": {"app:processes"},
        "app:temporal_worker": {"app:temporal_client"},
        "app:temporal_client": set(),
        "app:processes": set(),
    }


def test_depends_on_is_requires(tmp_path: Path) -> None:
    entries = """
- {name: a, kind: process.host, lifecycle: {depends_on: [b]}}
- {name: b, kind: terminal.host}
"""
    registry = loaded(tmp_path, entries).registry
    assert registry.get("app:a").data["lifecycle"]["requires"] == ["app:b"]
    assert service_dependencies(registry) == {"app:a": {"app:b"}, "app:b": set()}


def test_an_inline_source_knows_the_line_it_begins_on(tmp_path: Path) -> None:
    entries = """
- name: block
  kind: function.lua
  source: |
    return 1
- name: line
  kind: function.lua
  source: return 2
"""
    registry = loaded(tmp_path, entries).registry
    block, line = registry.get("app:block").data, registry.get("app:line").data
    assert (block["source"], block["source_line"]) == ("return 1\n", 8)
    assert (line["source"], line["source_line"]) == ("return 2", 11)
    assert block["source_path"] == str(tmp_path / "app.yaml")


def test_sources_are_relative_to_their_yaml_file_and_ids_to_their_namespace(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "mail/index.yml": "namespace: app.mail\nentries:\n"
            "  - {name: lib, kind: library.lua, source: 'file://lib/x.lua'}\n"
            "  - {name: f, kind: function.lua, source: return 1, imports: {x: lib}}\n",
            "mail/lib/x.lua": "return 'x'",
        },
    )
    registry = load(tmp_path).registry
    assert registry.get("app.mail:lib").data["source"] == "return 'x'"
    assert registry.get("app.mail:f").data["imports"] == {"x": "app.mail:lib"}


def test_a_file_can_be_one_entry(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "version: '1.0'\nnamespace: app\nname: h\nkind: process.host\n"})
    assert [each.id for each in load(tmp_path).registry.all()] == ["app:h"]


def test_a_lock_file_names_the_source_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "wippy.lock": "directories:\n  modules: .wippy\n  src: ./src\n",
            "src/app.yaml": HEAD + "- {name: j, kind: journal.lmdb, path: data/j}",
            "other.yaml": HEAD + "- {name: unread, kind: process.host}",
        },
    )
    registry, _, folder, *_ = load(tmp_path)
    assert folder == tmp_path / "src"
    assert [each.id for each in registry.all()] == ["app:j"]
    assert registry.get("app:j").data["path"] == str(tmp_path / "data/j")


def test_other_yaml_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".perdure/x.yaml": HEAD + "- {name: hidden, kind: process.host}",
            "compose.yaml": "services: {web: {image: '${env:NOT_SET}', x: !Ref y}}",
            "list.yaml": "- 1",
            "empty.yaml": "",
            "kustomization.yaml": "namespace: prod\nresources: []\n",
        },
    )
    registry, warnings, *_ = loaded(tmp_path, "- {name: h, kind: process.host}")
    assert [each.id for each in registry.all()] == ["app:h"]
    assert [str(each) for each in warnings] == [
        f"{tmp_path}/kustomization.yaml:1: passed over: it has a namespace and no entries;"
        " add entries: for it to be read"
    ]


def test_a_folder_that_a_link_leads_back_to_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(loaded(tmp_path, "- {name: h, kind: process.host}").registry) == 1


def test_the_environment_is_read_as_the_type_of_the_field(tmp_path: Path) -> None:
    entries = """
- name: h
  kind: process.host
  host: {workers: "${env:WORKERS}"}
  limits: {memory: "${env:MB}MB"}
  lifecycle: {auto_start: "${env:START}", restart: {jitter: "${env:JITTER}"}}
- name: data
  kind: registry.entry
  pin: ${env:WORKERS}
"""
    environ = {"WORKERS": "4", "MB": "8", "START": "true", "JITTER": "0.5"}
    registry = loaded(tmp_path, entries, **environ).registry
    data = registry.get("app:h").data
    assert data["host"]["workers"] == 4
    assert data["limits"]["memory"] == 8_000_000
    assert data["lifecycle"]["auto_start"] is True
    assert data["lifecycle"]["restart"]["jitter"] == 0.5
    assert registry.get("app:data").data == {"pin": "4"}


def test_plain_data_keeps_its_shape_and_reads_scalars_as_go_does(tmp_path: Path) -> None:
    entries = """
- name: data
  kind: ns.definition
  meta: {type: test, 1: one}
  base: &base {a: 1, b: 2}
  more: {<<: *base, b: 3}
  answers: [yes, off, true, ~, 22:30, 2024-01-01, 0x10, 1_000, 1.5, 1e3, "5", -7]
"""
    entry = loaded(tmp_path, entries).registry.get("app:data")
    assert entry.meta == {"type": "test", "1": "one"}
    assert entry.data["more"] == {"a": 1, "b": 3}
    answers = ["yes", "off", True, None, "22:30", "2024-01-01", 16, 1000, 1.5, 1000.0, "5", -7]
    assert entry.data["answers"] == answers


def test_overrides_set_fields_and_kinds_in_order(tmp_path: Path) -> None:
    entries = "- {name: h, kind: process.host, host: {workers: 2, max_processes: 9}, x: 1}\n"
    registry = loaded(
        tmp_path,
        entries + "- {name: w, kind: temporal.worker, client: c}\n- {name: c, kind: process.host}",
        "app:h:x=",
        "app:h:kind=registry.entry",
        "app:h:host.workers=7",
        "app:h:host.workers=8",
        'app:h:new.text="8"',
        "app:h:equation=a=b",
        "app:c:kind=journal.lmdb",
        "app:c:path=/var/j",
        "app:w:lifecycle.restart.max_attempts=3",
    ).registry
    assert registry.get("app:h").data == {
        "host": {"workers": 8, "max_processes": 9},
        "x": None,
        "new": {"text": "8"},
        "equation": "a=b",
    }
    assert registry.get("app:w").data["lifecycle"]["restart"]["max_attempts"] == 3
    assert registry.get("app:c").data["path"] == "/var/j"


def test_fields_of_the_wippy_runtime_are_accepted_with_a_warning(tmp_path: Path) -> None:
    entries = """
- name: h
  kind: process.host
  lifecycle:
    security: {actor: {id: x}}
- {name: f, kind: function.lua, source: return 1, pool: {buffer: 3}, limits: {}}
"""
    registry, warnings, *_ = loaded(tmp_path, entries)
    file = tmp_path / "app.yaml"
    assert [str(each) for each in warnings] == [
        f"{file}:8: app:h: lifecycle.security: it has no effect here",
        f"{file}:9: app:f: limits: it has no effect here",
        f"{file}:9: app:f: pool.buffer: it has no effect here",
    ]
    assert "security" not in registry.get("app:h").data["lifecycle"]


@pytest.mark.parametrize(
    ("entry", "starts"),
    [
        ("kind: process.host", True),
        ("kind: journal.lmdb, path: j", True),
        ("kind: workflow.host, journal: other", True),
        ("kind: temporal.worker, client: other", True),
        ("kind: terminal.host", False),
        ("kind: process.service, process: p, host: h", False),
    ],
)
def test_what_others_stand_on_starts_with_the_node(
    tmp_path: Path, entry: str, starts: bool
) -> None:
    others = """
- {name: other, kind: journal.lmdb, path: other}
- {name: p, kind: process.lua, source: return 1}
- {name: h, kind: process.host}
"""
    registry = loaded(tmp_path, f"{others}- {{name: it, {entry}}}").registry
    assert registry.get("app:it").data["lifecycle"]["auto_start"] is starts


def test_data_folders_with_our_names_are_no_conflict(tmp_path: Path) -> None:
    write(tmp_path, {"journal/data.mdb": "", "runtime/notes.txt": ""})
    assert len(loaded(tmp_path, "- {name: h, kind: process.host}").registry) == 1


def test_defaults_are_not_shared_between_entries(tmp_path: Path) -> None:
    registry = loaded(
        tmp_path, "- {name: a, kind: process.host}\n- {name: b, kind: process.host}"
    ).registry
    first, second = registry.of_kind("process.host")
    assert first.data["lifecycle"]["requires"] is not second.data["lifecycle"]["requires"]
