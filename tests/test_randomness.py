"""UUIDs and seeds of runs are random, and nobody gets those of another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

from hosts.durable.randomness import new_seed, new_uuid


@pytest.mark.parametrize("draw", [new_uuid, new_seed])
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


def test_a_seed_has_32_bytes() -> None:
    assert {len(new_seed()) for _ in range(100)} == {32}


FORK = """
import os
from hosts.durable.randomness import new_seed, new_uuid
new_seed(), new_uuid()
ear, bell = os.pipe()
child = os.fork()
drawn = new_seed().hex() + new_uuid()
if child == 0:
    os.write(bell, drawn.encode())
    os._exit(0)
print(drawn)
print(os.read(ear, 1000).decode())
"""


def test_a_forked_child_draws_others_than_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    parent, child = done.stdout.split()
    assert len(parent) == len(child) == 100
    assert not {parent[:64], parent[64:]} & {child[:64], child[64:]}
