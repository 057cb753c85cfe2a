"""What docs/temporal.md says of the tests is so."""

from __future__ import annotations

import re

from tests.docs_lab import DOCS, ROOT, rows_of

PAGE = (DOCS / "temporal.md").read_text(encoding="utf-8")


def test_every_promise_says_by_what_it_holds_and_names_its_tests() -> None:
    rows = rows_of(PAGE, "What is promised")
    assert [row[0].partition(".")[0] for row in rows] == [str(number) for number in range(1, 17)]
    for promise, means, tests in rows:
        named = re.findall(r"`(tests/test_\w+\.py)`", tests)
        assert means, promise
        assert tests == ", ".join(f"`{name}`" for name in named), promise
        sources = [(ROOT / name).read_text(encoding="utf-8") for name in named]
        assert any(re.search("host: Host|temporal_server|dev_server", each) for each in sources)
