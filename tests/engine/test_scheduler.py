"""Who is served next, page by page and row by row, without a network."""

from __future__ import annotations

import numpy as np
import pytest

from deixis.engine.prefix import extend_names
from deixis.engine.request import Sampling
from deixis.engine.scheduler import Chunk, Limits, Scheduler
from deixis.engine.stream import Prompt, Stream

SIZE = 4
ROOMY = Limits(max_rows=100, chunk_rows=100, max_streams=10)


def stream(number: int, ids: list[int], room: int = 50) -> Stream:
    names: list[bytes] = []
    extend_names(names, ids, SIZE, {})
    prompt = Prompt(ids, np.zeros((3, len(ids)), np.int64), len(ids), (), names, {})
    return Stream(number, 0, prompt, Sampling(), room)


def own(number: int, length: int) -> list[int]:
    """Tokens that no other stream's prompt begins with."""
    return [1000 * number + i for i in range(length)]


def step(scheduler: Scheduler, *, say: int = 5) -> list[tuple[int, int, int, bool]]:
    """Plan a step, run it, and let every stream that is asked say a token: (stream, start, rows, wanted) of each chunk."""
    chunks = scheduler.plan()
    scheduler.launched(chunks)
    for chunk in chunks:
        if chunk.wanted:
            chunk.stream.unknown -= 1
            chunk.stream.tokens.append(say)
            scheduler.enter(chunk.stream)
    scheduler.check()
    return [told(chunk) for chunk in chunks]


def told(chunk: Chunk) -> tuple[int, int, int, bool]:
    return chunk.stream.number, chunk.start, chunk.count, chunk.wanted


def test_replies_go_on_before_prompts_are_read_and_prompts_in_order_of_arrival() -> None:
    scheduler = Scheduler(100, SIZE, Limits(max_rows=10, chunk_rows=6, max_streams=10))
    scheduler.add(stream(0, own(0, 3)))
    assert step(scheduler) == [(0, 0, 3, True)]
    for number, length in ((2, 9), (1, 8)):
        scheduler.add(stream(number, own(number, length)))
    assert step(scheduler) == [(0, 3, 1, True), (1, 0, 6, False), (2, 0, 3, False)]
    assert step(scheduler) == [(0, 4, 1, True), (1, 6, 2, True), (2, 3, 6, True)]
    assert step(scheduler) == [(0, 5, 1, True), (1, 8, 1, True), (2, 9, 1, True)]


def test_no_more_streams_than_allowed_run() -> None:
    scheduler = Scheduler(100, SIZE, Limits(100, 100, max_streams=2))
    for number in range(3):
        scheduler.add(stream(number, own(number, 2)))
    assert [told[0] for told in step(scheduler)] == [0, 1]
    scheduler.remove(scheduler.running[0])
    assert [told[0] for told in step(scheduler)] == [1, 2]


def test_a_request_waits_for_pages_that_another_is_filling() -> None:
    scheduler = Scheduler(100, SIZE, Limits(100, 8, 10))
    shared = own(7, 18)
    for number in range(4):
        scheduler.add(stream(number, [*shared, 50 + number, 60 + number]))
    scheduler.add(stream(4, own(4, 3)))  # who shares nothing goes on
    assert step(scheduler) == [(0, 0, 8, False), (4, 0, 3, True)]
    assert step(scheduler) == [(4, 3, 1, True), (0, 8, 8, False)]
    # Four pages are full; the fifth holds each one's own words, so all may read theirs side by side.
    assert step(scheduler) == [(4, 4, 1, True), (0, 16, 4, True), *((number, 16, 4, True) for number in (1, 2, 3))]
    assert scheduler.rows_reused == 3 * 16
    assert len({page for one in scheduler.running for page in one.pages[:4]}) == 4 + 2  # shared, and what stream 4 has


@pytest.mark.parametrize("fails", [False, True])
def test_if_who_fills_pages_leaves_another_does_it(fails: bool) -> None:
    scheduler = Scheduler(100, SIZE, Limits(100, 8, 10))
    for number in range(3):
        scheduler.add(stream(number, [*own(7, 18), number]))
    step(scheduler)
    scheduler.remove(scheduler.running[0], keep_pages=not fails)
    scheduler.check()
    begun = 0 if fails else 8  # what was read well is not read again
    assert step(scheduler) == [(1, begun, 8, False)]


def test_a_request_starts_when_there_are_pages_for_its_prompt_and_first_token() -> None:
    scheduler = Scheduler(4, SIZE, ROOMY)
    scheduler.add(stream(0, own(0, 7)))  # two pages
    scheduler.add(stream(1, own(1, 8)))  # two pages, and one for the first token
    scheduler.add(stream(2, own(2, 2)))  # would fit, and comes later
    assert step(scheduler) == [(0, 0, 7, True)]
    scheduler.remove(scheduler.running[0])
    assert step(scheduler) == [(1, 0, 8, True), (2, 0, 2, True)]


def test_kept_pages_make_room_longest_unused_first() -> None:
    scheduler = Scheduler(6, SIZE, ROOMY)
    for number in (0, 1):
        scheduler.add(stream(number, own(number, 9)))
        step(scheduler)
        scheduler.remove(scheduler.running[0])
    assert scheduler.pool.kept == 4
    scheduler.add(stream(2, own(2, 13)))
    step(scheduler)  # four pages: two were free
    scheduler.remove(scheduler.running[0])
    scheduler.add(stream(3, [*own(1, 8), 5]))
    assert step(scheduler) == [(3, 8, 1, True)]  # the last one's beginning is still there
    scheduler.remove(scheduler.running[0])
    scheduler.add(stream(4, own(0, 9)))
    assert step(scheduler) == [(4, 0, 9, True)]  # the first one's is not


def test_when_pages_run_out_the_youngest_starts_again_and_says_on() -> None:
    scheduler = Scheduler(4, SIZE, ROOMY)
    for number in (0, 1):
        scheduler.add(stream(number, own(number, 7)))
    old, young = scheduler.waiting
    assert step(scheduler) == [(0, 0, 7, True), (1, 0, 7, True)]
    assert step(scheduler) == [(0, 7, 1, True), (1, 7, 1, True)]
    assert step(scheduler) == [(0, 8, 1, True)]  # its third page is one of the other's
    assert scheduler.preemptions == 1
    assert (young.pages, young.computed, young.said) == ([], 0, 2)
    assert step(scheduler) == [(0, 9, 1, True)]  # for what the other needs now there is no room
    scheduler.remove(old)
    assert step(scheduler) == [(1, 4, 5, True)]  # all it knew, but for the page that could still be found
    assert young.said == 3


def test_a_stream_alone_may_use_every_page() -> None:
    scheduler = Scheduler(3, SIZE, ROOMY)
    scheduler.add(stream(0, own(0, 5)))
    for _ in range(8):
        assert len(step(scheduler)) == 1
    assert scheduler.pool.available == 0


def test_a_token_that_is_on_its_way_is_counted() -> None:
    scheduler = Scheduler(10, SIZE, ROOMY)
    scheduler.add(stream(0, own(0, 4), room=2))
    first = scheduler.plan()
    scheduler.launched(first)
    second = scheduler.plan()
    assert [told(chunk) for chunk in second] == [(0, 4, 1, True)]  # reads the token that nobody knows yet
    scheduler.launched(second)
    first[0].stream.unknown -= 1
    first[0].stream.tokens.append(9)
    assert scheduler.plan() == []  # its last token is on its way


def test_without_sharing_nothing_is_found_and_nothing_kept() -> None:
    scheduler = Scheduler(10, SIZE, ROOMY, share_prefixes=False)
    for number in (0, 1):
        scheduler.add(stream(number, own(0, 9)))
    assert step(scheduler) == [(0, 0, 9, True), (1, 0, 9, True)]
    scheduler.remove(scheduler.running[0])
    assert scheduler.pool.kept == 0 and scheduler.pool.in_use == 3
