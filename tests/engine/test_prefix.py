"""A page's name says everything that its content depends on; names lead to pages, or to who fills them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from deixis.engine.pages import PagePool
from deixis.engine.prefix import PrefixCache, extend_names

TOKENS = st.lists(st.integers(0, 3), max_size=24)


def names_of(tokens: list[int], size: int, digests: dict[int, list[bytes]] | None = None) -> list[bytes]:
    names: list[bytes] = []
    extend_names(names, tokens, size, digests or {})
    return names


@given(TOKENS, TOKENS, st.integers(1, 5))
def test_names_are_equal_as_far_as_whole_pages_are(one: list[int], other: list[int], size: int) -> None:
    first, second = names_of(one, size), names_of(other, size)
    assert len(first) == len(one) // size
    for page in range(min(len(first), len(second))):
        same = one[: (page + 1) * size] == other[: (page + 1) * size]
        assert (first[page] == second[page]) == same


@given(TOKENS, st.integers(1, 5), st.integers(0, 24))
def test_names_made_bit_by_bit_are_the_same(tokens: list[int], size: int, cut: int) -> None:
    names: list[bytes] = []
    extend_names(names, tokens[:cut], size, {})
    extend_names(names, tokens, size, {})
    assert names == names_of(tokens, size)


def test_pictures_are_part_of_their_pages_and_of_all_behind() -> None:
    tokens = [7] * 12
    plain, shown, other = (names_of(tokens, 4, {1: [digest] * bool(digest)}) for digest in (b"", b"a" * 32, b"b" * 32))
    assert plain[0] == shown[0] == other[0]
    assert len({plain[1], shown[1], other[1]}) == len({plain[2], shown[2], other[2]}) == 3
    swapped = [names_of(tokens, 4, {1: pair}) for pair in ([b"a" * 32, b"b" * 32], [b"b" * 32, b"a" * 32])]
    assert swapped[0][1] != swapped[1][1]


def test_found_are_unbroken_beginnings_only() -> None:
    cache = PrefixCache()
    names = names_of(list(range(12)), 2)
    cache.filled(names[0], 5)
    cache.filled(names[1], 3)
    cache.filled(names[3], 1)
    assert cache.found(names) == [5, 3]
    cache.filled(names[1], 4)  # the same content once more
    assert cache.found(names) == [5, 3] and not cache.knows(4)
    cache.forget(5)
    assert cache.found(names) == []
    cache.forget(5)  # twice is once
    assert sorted(cache.named_pages) == [1, 3]


def test_expectations_end_when_filled_or_given_up() -> None:
    cache = PrefixCache()
    names = names_of(list(range(8)), 2)
    cache.expect(names, "first")
    cache.expect(names, "second")
    cache.give_up(names[2:], "second")  # never its own
    assert all(cache.expects(name) for name in names)
    cache.filled(names[0], 0)
    cache.give_up(names, "first")
    assert cache.expected == 0


def test_pool_and_names_agree_under_random_use() -> None:
    rng = random.Random(800_006)
    cache = PrefixCache()
    pool = PagePool(10, cache.forget)
    running: list[list[int]] = []
    for _ in range(3_000):
        if running and (rng.random() < 0.5 or pool.available < 4):
            for page in reversed(running.pop(rng.randrange(len(running)))):
                pool.give_back(page, keep=cache.knows(page))
        else:
            names = names_of([rng.randrange(2) for _ in range(4)], 1)
            pages = cache.found(names)
            for page in pages:
                pool.share(page)
            while len(pages) < 4 and (page := pool.take()) is not None:
                pages.append(page)
                cache.filled(names[len(pages) - 1], page)
            running.append(pages)
        pool.check((page for pages in running for page in pages), cache.named_pages)
