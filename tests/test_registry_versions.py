"""Random change sets, applied and rolled back, against a dict; versions; the export as YAML."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.codec import encode
from runtime.config.changes import Change, change, entry_map
from runtime.config.export import files
from runtime.config.loader import load
from runtime.config.problems import ConfigurationError
from runtime.config.registry import Registry
from runtime.config.versions import Version, Versions
from runtime.errors import Kind
from tests.machine_harness import error_of

HERE = Path("/app")
IDS = [f"app:e{number}" for number in range(5)]
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(
    allow_nan=False
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.text(min_size=1).filter(lambda key: key not in ("kind", "meta", "name")), VALUES, max_size=3
)
SOURCES = st.text(st.characters(codec="utf-8", exclude_characters="\r"))
Model = dict[str, dict[str, Any]]


@st.composite
def a_change(draw: st.DrawFn) -> Change:
    verb = draw(st.sampled_from(["create", "update", "delete"]))
    entry_id = draw(st.sampled_from(IDS))
    if verb == "delete":
        return Change("delete", entry_id)
    entry: dict[str, Any] = {"id": entry_id, "kind": "registry.entry"}
    for part in ("meta", "data"):
        if draw(st.booleans()):
            entry[part] = draw(FIELDS)
    return Change(verb, entry_id, entry)  # type: ignore[arg-type]


def applied(model: Model, changes: list[Change]) -> Model | None:
    """The model after the changes; None where one of them cannot be."""
    model = dict(model)
    for each in changes:
        if (each.id in model) == (each.verb == "create"):
            return None
        if each.verb == "delete":
            del model[each.id]
        else:
            old = model.get(each.id, {"meta": {}, "data": {}})
            assert isinstance(each.entry, dict)
            model[each.id] = {**old, **each.entry}
    return model


def maps(registry: Registry) -> bytes:
    return encode({entry.id: entry_map(entry) for entry in registry.all()})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(a_change(), max_size=4) | st.integers(0, 6), max_size=8))
def test_a_registry_is_what_its_change_sets_make_of_it(
    steps: list[list[Change] | int],
) -> None:
    versions: Versions[Registry] = Versions(Registry(), 0)
    models: dict[int, Model] = {1: {}}
    for at, step in enumerate(steps):
        here = versions.current.id
        if isinstance(step, int):
            if step in models:
                assert versions.go_to(step).id == step
            else:
                assert error_of(lambda step=step: versions.go_to(step)).kind == Kind.NOT_FOUND  # type: ignore[misc]
                assert versions.current.id == here
        else:
            model = applied(models[here], step)
            try:
                changed = change(versions.state(here), step, HERE, HERE)
            except ConfigurationError:
                assert model is None
            else:
                assert model is not None
                version = versions.add(changed.registry, at)
                assert version == Version(max(models) + 1, here, at)
                models[version.id] = model
        for number, expected in models.items():
            assert maps(versions.state(number)) == encode(expected)


@settings(max_examples=100, deadline=None)
@given(
    data=FIELDS, meta=FIELDS, source=st.text(st.characters(codec="utf-8", exclude_characters="\r"))
)
def test_what_is_exported_boots_to_the_same(
    data: dict[str, Any], meta: dict[str, Any], source: str
) -> None:
    changes = [
        Change("create", "a.b:data", {"kind": "registry.entry", "meta": meta, "data": data}),
        Change("create", "a:code", {"kind": "library.lua", "data": {"source": f"--{source}"}}),
    ]
    registry = change(Registry(), changes, HERE, HERE).registry
    with TemporaryDirectory() as folder:
        write(Path(folder), registry)
        again = load(folder, environ={}).registry
    assert maps(again) == maps(registry)


def write(folder: Path, registry: Registry) -> None:
    for path, text in files(registry).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())


APP = """
version: "1.0"
namespace: app
entries:
  - name: journal
    kind: journal.lmdb
    path: ./data/journal
    lifecycle: {stop_timeout: "${env:STOP}"}
  - name: host
    kind: workflow.host
    journal: journal
    limits: {memory: 64MB}
  - name: f
    kind: function.lua
    meta: {secret: "${env:SECRET}", literal: "$${env:SECRET}"}
    source: file://f.lua
    pool: {type: static, workers: 2}
"""
ENVIRON = {"STOP": "5s", "SECRET": "hush"}


def test_an_export_keeps_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APP)
    (tmp_path / "f.lua").write_text("return 1\n-- ${env:SECRET}")
    registry = load(tmp_path, environ=ENVIRON).registry
    assert registry.get("app:f").meta == {"secret": "hush", "literal": "${env:SECRET}"}
    host = Change("update", "app:host", {"data": {"journal": "journal"}})
    updated = change(registry, [host], tmp_path, tmp_path).registry
    texts = files(updated)
    assert set(texts) == {"app/_index.yaml", "app/f.lua"}
    assert "hush" not in texts["app/_index.yaml"]
    assert "${env:STOP}" in texts["app/_index.yaml"]
    assert "memory" not in texts["app/_index.yaml"]
    write(tmp_path / "out", updated)
    again = load(tmp_path / "out", environ=ENVIRON).registry
    assert maps(again) == maps(updated)
    assert again.get("app:journal").data["lifecycle"]["stop_timeout"] == 5_000_000_000
    assert again.get("app:journal").data["path"] == str(tmp_path / "out/data/journal")


def test_a_bounded_number_of_versions_is_kept() -> None:
    versions = Versions("state 1", 0, kept=3)
    for number in range(2, 6):
        versions.add(f"state {number}", number)
    assert versions.all() == [Version(3, None, 3), Version(4, 3, 4), Version(5, 4, 5)]
    assert error_of(lambda: versions.state(2)).message == (
        "the registry has no version 2: it keeps 3 to 5"
    )
    versions.go_to(3)
    assert versions.add("state 6", 6) == Version(6, 3, 6)
    assert versions.all() == [Version(4, None, 4), Version(5, 4, 5), Version(6, None, 6)]
    assert versions.after(4) == Version(5, 4, 5)
    assert versions.after(6) is None


def test_what_did_not_change_is_shared_by_all_versions() -> None:
    first = change(
        Registry(),
        [Change("create", each, {"id": each, "kind": "registry.entry"}) for each in IDS],
        HERE,
        HERE,
    ).registry
    second = change(first, [Change("delete", IDS[0])], HERE, HERE)
    assert second.touched == {IDS[0]}
    assert all(second.registry.get(each) is first.get(each) for each in IDS[1:])
