"""What the pages of docs/ show is what happens: their code is run (see docs_lab.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs_lab import DOCS, run_page

PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    run_page(DOCS / page, tmp_path)


WRONG = {
    "another result": ('```lua\nprint("a")  --> b\n```\n', r"it printed \['a'\], and says \['b'\]"),
    "an error": ('```lua\nerror("oops")\n```\n', "oops"),
    "a result too few": ('```lua\nprint("a")\n```\n', r"it printed \['a'\], and says \[\]"),
    "a file of no name": ("```yaml\nversion: 1\n```\n", "line 1"),
    "a command that fails": ("```sh\nperdure services --app nowhere\n```\n", "nowhere"),
    "other words of Python": ("```python\nprint(node)  #> no\n```\n", "and says"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_page_that_says_otherwise_is_found(wrong: str, tmp_path: Path) -> None:
    text, message = WRONG[wrong]
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=message):
        run_page(page, tmp_path / "run")
