"""The life of a service is a table: every pair of state and trigger leads where it says."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from supervision.state import TRANSITIONS, IllegalTransition, State, Trigger, mermaid, next_state

#: The table once more, as a person reads it: one line a state, `trigger>state`.
EXPECTED = {
    "unknown": "start>starting",
    "starting": "started>running fail>failed exit>exited stop>stopping",
    "running": "fail>failed exit>exited stop>stopping",
    "stopping": "stopped>stopped fail>failed exit>exited abandon>exited",
    "stopped": "start>starting",
    "failed": "start>starting stop>stopped",
    "exited": "start>starting",
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_every_pair(state: State, trigger: Trigger) -> None:
    expected = dict(arrow.split(">") for arrow in EXPECTED[state].split())
    if trigger in expected:
        assert next_state(state, trigger) == expected[trigger]
    else:
        with pytest.raises(IllegalTransition, match=f'{state} has no transition for "{trigger}"'):
            next_state(state, trigger)


def test_the_diagram_has_an_arrow_for_each_entry() -> None:
    lines = mermaid().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> unknown"]
    assert "    stopping --> exited: abandon" in lines
    assert len(lines) == 2 + len(TRANSITIONS)


def test_the_diagram_of_the_manual_is_that_of_the_table() -> None:
    page = Path(__file__).parent.parent / "docs" / "supervision.md"
    _, _, rest = page.read_text(encoding="utf-8").partition("```mermaid\n")
    how = "python -c 'from supervision.state import mermaid; print(mermaid())'"
    assert rest.partition("```")[0] == mermaid(), f"{page} is stale: put in the output of {how}"
