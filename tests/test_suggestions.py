"""A hint names what may have been meant, and nothing that is only of the same namespace."""

from __future__ import annotations

import pytest

from runtime.config.problems import nearest, suggest


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("sorce", ["source", "kind"], "source"),
        ("kidn", ["kind", "find"], "kind"),
        ("TOKEN", ["app:tokens", "Token"], "Token"),
        ("app:prise", ["app:price", "app:prose"], "app:price"),
        ("app:ordr", ["app:order", "app:orders"], "app:order"),
        ("ordres:price", ["orders:price", "stock:price"], "orders:price"),
        ("process.hots", ["process.host", "process.lua"], "process.host"),
        ("warehouse.orders:tax", ["warehouse.orders:fee", "warehouse.orders:approve"], None),
        ("shop.north:price", ["shop.north:stock", "shop.north:print_labels"], None),
        ("a", ["b"], None),
        ("", ["a"], None),
        ("anything", [], None),
    ],
)
def test_what_is_near(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant
    assert suggest(word, known, "there are {}") == (
        f'did you mean "{meant}"?' if meant else "there are " + ", ".join(sorted(known))
    )
