"""UUIDs and seeds of runs are random, and nobody gets those of another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

from hosts.durable.randomness import Randomness, new_uuid


@pytest.mark.parametrize("draw", [new_uuid, Randomness(32).draw], ids=["uuids", "seeds"])
def test_threads_never_draw_the_same(draw: Callable[[], object]) -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: [draw() for _ in range(1000)], range(8)))
    assert len({each for some in drawn for each in some}) == 8000


def test_a_uuid_is_one_of_version_4_with_every_variant_digit() -> None:
    texts = [new_uuid() for _ in range(500)]
    for text in texts:
        parsed = UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, RFC_4122)
    assert {text[19] for text in texts} == set("89ab")
    for place in (0, 15, 20, 35):
        assert {text[place] for text in texts} == set("0123456789abcdef")


def test_a_piece_has_the_size_that_was_asked_for() -> None:
    assert {len(Randomness(32).draw()) for _ in range(3)} == {32}
