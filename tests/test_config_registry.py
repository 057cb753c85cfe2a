"""The registry answers by id, by kind and by criteria, and helps with a misspelt id."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.config.registry import Entry, Registry
from runtime.errors import Kind, PerdureError


def entry(entry_id: str, kind: str = "registry.entry", **meta: Any) -> Entry:
    return Entry(entry_id, kind, meta, {"size": {"width": 3}})


REGISTRY = Registry(
    [
        entry("app:order", "workflow.lua", type="test", tags={"level": 1}),
        entry("app:charge", "function.lua", type="test"),
        entry("app.mail:send", "function.lua"),
    ]
)


def test_get_gives_the_entry() -> None:
    found = REGISTRY.get("app.mail:send")
    assert (found.id, found.namespace, found.name) == ("app.mail:send", "app.mail", "send")
    assert "app.mail:send" in REGISTRY
    assert len(REGISTRY) == 3


@pytest.mark.parametrize(
    ("entry_id", "message"),
    [
        ("app:ordr", 'entry "app:ordr" not found; did you mean "app:order"?'),
        ("zzz", 'entry "zzz" not found'),
    ],
)
def test_get_of_an_unknown_id_names_the_nearest(entry_id: str, message: str) -> None:
    with pytest.raises(PerdureError) as caught:
        REGISTRY.get(entry_id)
    assert (caught.value.kind, caught.value.message) == (Kind.NOT_FOUND, message)


@pytest.mark.parametrize(
    ("criteria", "ids"),
    [
        ({}, ["app.mail:send", "app:charge", "app:order"]),
        ({"kind": "function.lua"}, ["app.mail:send", "app:charge"]),
        ({"kind": "function.lua", "meta.type": "test"}, ["app:charge"]),
        ({"meta.tags.level": 1}, ["app:order"]),
        ({"meta.type.deeper": "test"}, []),
        ({"namespace": "app", "name": "order"}, ["app:order"]),
        ({"data.size.width": 3, "id": "app:order"}, ["app:order"]),
        ({"kind": "no.such"}, []),
    ],
)
def test_find_gives_what_meets_all_criteria(criteria: dict[str, Any], ids: list[str]) -> None:
    assert [found.id for found in REGISTRY.find(criteria)] == ids


def test_find_by_an_unknown_key_is_refused() -> None:
    with pytest.raises(PerdureError, match='"knid"') as caught:
        REGISTRY.find({"knid": "function.lua"})
    assert caught.value.kind == Kind.INVALID


def test_all_and_of_kind_are_sorted() -> None:
    assert [each.id for each in REGISTRY.all()] == ["app.mail:send", "app:charge", "app:order"]
    kinds = REGISTRY.of_kind("workflow.lua", "function.lua")
    assert [each.id for each in kinds] == ["app:order", "app.mail:send", "app:charge"]
