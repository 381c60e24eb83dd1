"""Pages have one state at a time, users are counted right, and the longest unused content goes first."""

from __future__ import annotations

import random

import pytest

from deixis.engine.pages import PagePool


def test_states_and_users_under_random_use() -> None:
    rng = random.Random(800_005)
    for count in (1, 2, 7, 40):
        named: set[int] = set()
        pool = PagePool(count, named.discard)
        held: list[int] = []
        kept_in_order: list[int] = []
        for _ in range(2_000):
            act = rng.random()
            if act < 0.45:
                free = count - len(set(held)) - len(kept_in_order)
                page = pool.take(rng.randrange(-1, count))
                if free == 0 and kept_in_order:
                    assert page == kept_in_order.pop(0)  # least recently used
                assert (page is None) == (len(set(held)) == count)
                if page is not None:
                    assert page not in held and page not in named
                    held.append(page)
                    if rng.random() < 0.6:
                        named.add(page)
            elif act < 0.6 and named:
                page = rng.choice(sorted(named))
                pool.share(page)
                held.append(page)
                if page in kept_in_order:
                    kept_in_order.remove(page)
            elif act < 0.95 and held:
                page = held.pop(rng.randrange(len(held)))
                pool.give_back(page, keep=page in named)
                if page in named and page not in held:
                    kept_in_order.append(page)
            elif named:
                page = rng.choice(sorted(named))
                named.discard(page)
                pool.free(page)
                if page in kept_in_order:
                    kept_in_order.remove(page)
            pool.check(held, named)
            assert pool.in_use == len(set(held))
            assert pool.kept == len(kept_in_order)
            assert pool.available == count - pool.in_use
            assert pool.unused(range(count)) == pool.available


def test_the_next_page_is_taken_where_it_is_free() -> None:
    pool = PagePool(6, lambda page: None)
    assert [pool.take(-1), pool.take(0), pool.take(3), pool.take(4), pool.take(0)] == [0, 1, 4, 5, 2]


@pytest.mark.parametrize(("used", "named"), [([0], [0]), ([], []), ([], [0, 1]), ([1], [0])])
def test_check_finds_what_is_wrong(used: list[int], named: list[int]) -> None:
    pool = PagePool(3, lambda page: None)
    assert pool.take() == 0
    pool.give_back(0, keep=True)
    pool.check([], [0])
    with pytest.raises(AssertionError):
        pool.check(used, named)
    with pytest.raises(AssertionError, match="no user"):
        pool.give_back(1, keep=False)


def test_a_touched_page_is_the_last_to_go() -> None:
    pool = PagePool(3, lambda _: None)
    for page in [pool.take() for _ in range(3)]:
        pool.give_back(page, keep=page != 2)
    pool.touch(0)
    pool.touch(2)  # is free, and stays so
    pool.check([], [0, 1])
    assert [pool.take() for _ in range(3)] == [2, 1, 0]
