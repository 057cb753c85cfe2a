"""Keys sort as their numbers do, and a value comes back as it was or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import keys
from journal.databases import ACTIVITIES, HISTORY
from journal.encoding import OVERHEAD, decode, encode, pack
from journal.errors import BadRecordError, UnitError

numbers = st.integers(0, keys.NUMBER_MAX)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1), inner)
    ),
    max_leaves=20,
)


@given(st.lists(st.tuples(numbers, numbers, numbers)))
def test_keys_sort_as_their_numbers(triples: list[tuple[int, int, int]]) -> None:
    assert sorted(triples) == [
        keys.numbers(key) for key in sorted(keys.three(*triple) for triple in triples)
    ]
    pairs = [triple[:2] for triple in triples]
    assert sorted(pairs) == [keys.numbers(key) for key in sorted(keys.two(*p) for p in pairs)]
    ones = [triple[0] for triple in triples]
    assert sorted(ones) == [keys.numbers(key)[0] for key in sorted(map(keys.one, ones))]


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "1", None])
def test_a_number_that_fits_no_key_is_refused(value: Any) -> None:
    with pytest.raises(UnitError, match="integer from 0"):
        keys.two(1, value)


@given(st.lists(st.binary(min_size=1, max_size=600), unique=True))
def test_every_text_has_a_key_of_its_own_that_lmdb_takes(texts: list[bytes]) -> None:
    made = [keys.text(text) for text in texts]
    assert len(set(made)) == len(texts)
    assert all(1 <= len(key) <= 511 for key in made)
    assert [keys.is_hashed(key) for key in made] == [len(text) > keys.TEXT_MAX for text in texts]


@pytest.mark.parametrize("text", ["", b"", "\ud800"])
def test_a_text_that_can_be_no_key_is_refused(text: str | bytes) -> None:
    with pytest.raises(UnitError):
        keys.text(text)


@given(plain, st.binary(min_size=1, max_size=40))
def test_a_value_comes_back_as_it_was(value: Any, key: bytes) -> None:
    data = encode(key, value)
    assert decode(ACTIVITIES, key, data) == value
    assert len(data) == OVERHEAD + len(pack(value))


@given(plain, st.data())
def test_any_flipped_bit_is_found(value: Any, data: st.DataObject) -> None:
    key = keys.two(7, 3)
    whole = bytearray(encode(key, value))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadRecordError) as caught:
        decode(HISTORY, key, bytes(whole))
    assert (caught.value.db, caught.value.key, caught.value.run) == ("history", key, 7)


def test_a_value_under_another_key_and_a_cut_value_are_found() -> None:
    data = encode(keys.two(7, 3), "value")
    with pytest.raises(BadRecordError, match="checksum"):
        decode(HISTORY, keys.two(7, 4), data)
    for length in range(len(data)):
        with pytest.raises(BadRecordError):
            decode(HISTORY, keys.two(7, 3), data[:length])


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64, "\ud800", [object()]])
def test_what_messagepack_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(UnitError, match="cannot write"):
        encode(b"key", value)


def test_a_value_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnitError):
        encode(b"key", endless)
