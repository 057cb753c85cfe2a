"""Tables of the command line: laid out for people, and quick however long they are."""

from __future__ import annotations

import pytest

from supervision.cli.output import table


def test_a_long_table_has_its_columns_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    table(
        ["n", "what", "more"], ([n, "wide 世界" if n % 2 else "a\nb", "end"] for n in range(3000))
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "n     what       more"
    assert lines[1] == "0     a\\nb       end"
    assert lines[2] == "1     wide 世界  end"
    assert lines[-1] == "2999  wide 世界  end"
    assert len(lines) == 3001
