"""Whatever is served at once, and however it is cut up: each reply is what the reference loop says to that request alone."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

import pytest

from deixis.engine import Engine, EngineStats, Sampling, Ticket
from deixis.engine.network import Network
from deixis.model import Checkpoint
from tests.engine.asked import CONVERSATIONS, MOST_TOKENS, Reference, same, settings_with

pytestmark = pytest.mark.usefixtures("_one_thread")


@dataclass
class Asked:
    name: str
    sampling: Sampling
    arrives: int
    cancelled: int | None
    ticket: Ticket | None = None


def random_sampling(rng: random.Random, reference: Reference, name: str) -> Sampling:
    asked = Sampling(max_new_tokens=rng.randint(1, MOST_TOKENS), n=rng.choice([1, 1, 1, 2]))
    if rng.random() < 0.3:
        asked = replace(asked, **rng.choice([{"temperature": 0.8}, {"temperature": 1.3, "top_k": 5, "top_p": 0.8}]))
    else:
        asked = replace(asked, ignore_stop_tokens=rng.random() < 0.3)
    if rng.random() < 0.25:
        text = reference(name, replace(asked, max_new_tokens=MOST_TOKENS)).text.replace("\ufffd", "")
        at = rng.randrange(max(len(text), 1))
        asked = replace(asked, stop=tuple({text[at : at + rng.randint(1, 4)] or "x", "never said"}))
    return asked


def random_engine(rng: random.Random, checkpoint: Checkpoint, network: Network, names: list[str]) -> Engine:
    size = rng.choice([1, 2, 3, 4, 8, 16])
    longest = max(checkpoint.processor.outline(CONVERSATIONS[name]).length for name in names) + MOST_TOKENS
    pages = -(-longest // size)
    settings = settings_with(
        checkpoint,
        # Room for one of the longest, for a few, or for all.
        pages + rng.choice([0, 1, pages // 4, pages // 2, pages, 20 * pages]),
        page_tokens=size,
        max_rows=rng.choice([8, 40, 1000]),
        chunk_rows=rng.choice([1, 3, 7, 16, 1000]) if rng.random() < 0.5 else 1000,
        max_streams=rng.choice([1, 4, 8]),
        vision_cache_bytes=rng.choice([0, 3_000, 10**6]),
        prefix_cache=rng.random() < 0.8,
        overlap=rng.random() < 0.5,
    )
    return Engine(checkpoint, settings, network)


def serve_mix(seed: int, checkpoint: Checkpoint, network: Network, reference: Reference) -> Engine:
    rng = random.Random(seed)
    names = rng.sample(list(CONVERSATIONS), rng.randint(1, 4))
    engine = random_engine(rng, checkpoint, network, names)
    mix = []
    for _ in range(rng.randint(2, 6)):
        name = rng.choice(names)
        arrives = rng.choice([0, 0, rng.randrange(12)])
        cancelled = arrives + rng.randrange(10) if rng.random() < 0.25 else None
        mix.append(Asked(name, random_sampling(rng, reference, name), arrives, cancelled))
    at, busy = 0, True
    while busy or any(one.ticket is None for one in mix):
        for one in mix:
            if one.arrives == at:
                one.ticket = engine.submit(CONVERSATIONS[one.name], one.sampling)
            if one.cancelled == at and one.ticket is not None:
                one.ticket.cancel()
        busy = engine.step()
        engine.check()
        at += 1
        assert at < 5_000
    for one in mix:
        assert one.ticket is not None
        for index, reply in enumerate(one.ticket.results()):
            expected = reference(one.name, one.sampling, index)
            if reply.finish == "cancelled":
                assert one.cancelled is not None
                assert reply.ids == expected.ids[: len(reply.ids)]
                assert len(reply.ids) < len(expected.ids)
            else:
                same(reply, expected)
    stats = engine.stats()
    assert (stats.pages_in_use, stats.waiting, stats.running) == (0, 0, 0)
    return engine


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_any_mix_equals_the_reference(first: int, checkpoint: Checkpoint, network: Network, reference: Reference) -> None:
    done = [serve_mix(seed, checkpoint, network, reference).stats() for seed in range(first, first + 50)]
    assert sum(stats.rows_reused for stats in done) > 0
    assert sum(stats.preemptions for stats in done) > 0


ORDER = ("short", "one picture", "same picture", "two pictures")


@pytest.mark.parametrize("overlap", [False, True])
def test_every_order_of_arrival(overlap: bool, checkpoint: Checkpoint, network: Network, reference: Reference) -> None:
    """Too few pages for all, chunks of a few rows, a newcomer at every step: who comes first waits for whom differs each time."""
    asked = Sampling(max_new_tokens=6, ignore_stop_tokens=True)
    longest = max(checkpoint.processor.outline(CONVERSATIONS[name]).length for name in ORDER) + 6
    settings = settings_with(
        checkpoint, longest // 4 + 3, page_tokens=4, max_rows=24, chunk_rows=12, overlap=overlap, max_streams=3
    )
    ends: set[tuple[str, ...]] = set()
    preempted = 0
    for order in itertools.permutations(ORDER):
        engine = Engine(checkpoint, settings, network)
        tickets: dict[str, Ticket] = {}
        finished: list[str] = []
        while len(finished) < len(ORDER):
            if len(tickets) < len(order):
                name = order[len(tickets)]
                tickets[name] = engine.submit(CONVERSATIONS[name], asked)
            engine.step()
            engine.check()
            finished += [name for name, ticket in tickets.items() if ticket.done and name not in finished]
        for name, ticket in tickets.items():
            same(ticket.result(), reference(name, asked))
        stats: EngineStats = engine.stats()
        assert stats.pages_in_use == 0
        preempted += stats.preemptions
        ends.add(tuple(finished))
    assert len(ends) > 4 and preempted > 0
