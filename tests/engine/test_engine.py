"""Whatever is served at once, and however it is cut up: each reply is what the reference loop says to that request alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from deixis.engine import Engine, EngineSettings, Reply, Sampling, Ticket
from deixis.engine.network import Network
from deixis.engine.step import KVPages, Step
from deixis.engine.stream import Prompt
from deixis.errors import DeixisError, EngineError, InputError, OptionError, PictureError, SchemaError
from deixis.model import Checkpoint, generate, open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.engine.stub import StubNetwork
from tests.model import tiny

MOST_TOKENS = 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Network:
    return Network(checkpoint.model)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def about(text: str, *pictures: int) -> list[dict[str, Any]]:
    images = [{"type": "image", "image": tiny.photo(64, 32 * (1 + seed), seed)} for seed in pictures]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


VIDEO = {"type": "video", "frames": tiny.clip(4, 64, 64, 1), "timestamps_s": [0.0, 0.5, 1.0, 1.5]}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "short": about("Hello"),
    "longer": about("Hello there, where is the red cup? Report bbox coordinates"),
    "longest": about("Locate every instance of the red cup. Report bbox coordinates in JSON format. " * 3),
    "one picture": about("Where is the cup?", 1),
    "same picture": about("Where is the blue book left of the keyboard?", 1),
    "same beginning": about("Where is the cup? yes", 1),
    "other picture": about("Where is the cup?", 2),
    "two pictures": about("Where is the cup?", 1, 2),
    "other order": about("Where is the cup?", 2, 1),
    "twice the same": about("Where is the cup?", 1, 1),
    "three": about("Where?", 1, 2, 3),
    "video": [{"role": "user", "content": [VIDEO, {"type": "text", "text": "What moves?"}]}],
    "video and picture": [{"role": "user", "content": [VIDEO, *about("Where?", 2)[0]["content"]]}],
    "turns": [*about("Where is the cup?", 1), {"role": "assistant", "content": "left"}, {"role": "user", "content": "Sure?"}],
}


@dataclass(frozen=True)
class Expected:
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str
    text: str


class Reference:
    """The reference loop's replies, each computed once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._longest = lru_cache(maxsize=None)(self._generate)

    def _generate(self, name: str, temperature: float, top_k: int, top_p: float, seed: int, ignore: bool) -> Any:
        return generate(
            self.checkpoint.model,
            self.checkpoint.processor.encode(CONVERSATIONS[name]),
            max_new_tokens=MOST_TOKENS,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=torch.Generator().manual_seed(seed),
            stop_ids=() if ignore else self.checkpoint.stop_ids,
        )

    def __call__(self, name: str, asked: Sampling, index: int = 0) -> Expected:
        settings = (asked.temperature, asked.top_k, asked.top_p, asked.seed + index, asked.ignore_stop_tokens)
        whole = self._longest(name, *settings)
        decode = self.checkpoint.processor.decode
        count = min(asked.max_new_tokens, len(whole.ids))
        finish = whole.finish if count == len(whole.ids) and count < MOST_TOKENS else "length"
        if whole.finish == "stop" and count == len(whole.ids):
            finish = "stop"
        text = decode(whole.ids[:count])
        for places in range(1, count + 1):
            said = decode(whole.ids[:places])
            if hits := [at for stop in asked.stop if (at := said.find(stop)) >= 0]:
                count, finish, text = places, "stop", said[: min(hits)]
                break
        return Expected(whole.ids[:count], whole.logprobs[:count], finish, text)


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> Reference:
    return Reference(checkpoint)


def same(reply: Reply, expected: Expected) -> None:
    assert reply.ids == expected.ids
    assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert (reply.finish, reply.text) == (expected.finish, expected.text)


def settings_with(checkpoint: Checkpoint, pages: int, **more: Any) -> EngineSettings:
    size = more.get("page_tokens", 16)
    page = KVPages.page_bytes(checkpoint.config.text, checkpoint.model.dtype, size)
    return EngineSettings(kv_bytes=pages * page, **more)


# --- two hundred mixes ------------------------------------------------------------------------------------------------------


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


# --- arriving together, streaming, stopping ---------------------------------------------------------------------------------


def test_many_questions_that_arrive_together_see_and_read_their_picture_once(checkpoint: Checkpoint, network: Network) -> None:
    engine = Engine(checkpoint, EngineSettings(page_tokens=4), network)
    questions = [about(f"Where is the {what}?", 3) for what in ("cup", "blue book", "mouse", "keyboard left of it")]
    lengths = [checkpoint.processor.encode(messages).length for messages in questions]
    tickets = [engine.submit(messages, Sampling(max_new_tokens=1)) for messages in questions]
    replies = [ticket.result() for ticket in tickets]
    stats = engine.stats()
    assert stats.pictures_seen == 1
    assert stats.rows == sum(length - reply.reused_tokens for length, reply in zip(lengths, replies, strict=True))
    assert replies[0].reused_tokens == 0 and all(reply.reused_tokens >= 16 for reply in replies[1:])


def test_a_known_picture_is_neither_seen_nor_cut_into_patches(
    checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(checkpoint, EngineSettings(page_tokens=1, vision_cache_bytes=0), network)
    engine.submit(about("Where?", 3), Sampling(max_new_tokens=2)).result()
    monkeypatch.setattr(checkpoint.processor, "part_patches", lambda part: pytest.fail("patched a known picture"))
    engine.submit(about("Who?", 3), Sampling(max_new_tokens=2)).result()  # from pages alone
    again = Engine(checkpoint, EngineSettings(), network)
    with pytest.raises(pytest.fail.Exception):
        again.runner.features(engine_prompt(again, about("Where?", 3)).pictures)


def engine_prompt(engine: Engine, messages: Any) -> Prompt:
    return Prompt.read(messages, engine.checkpoint.processor, engine.settings.page_tokens)


@pytest.mark.parametrize("background", [False, True])
def test_tokens_come_one_by_one(checkpoint: Checkpoint, network: Network, reference: Reference, background: bool) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    if background:
        engine.start()
    try:
        for name in ("short", "one picture"):
            asked = Sampling(max_new_tokens=8, n=2, temperature=1.0, seed=3, ignore_stop_tokens=True)
            ticket = engine.submit(CONVERSATIONS[name], asked)
            events = list(ticket.events())
            for index, reply in enumerate(ticket.results()):
                own = [event for event in events if event.reply == index]
                assert tuple(event.id for event in own if event.id is not None) == reply.ids
                assert "".join(event.text for event in own) == reply.text
                assert [event.top for event in own if event.id is not None] == list(reply.top)
            again = list(ticket.events())  # from the first on, replies one after the other
            assert sorted(again, key=lambda event: event.reply) == sorted(events, key=lambda event: event.reply)
    finally:
        engine.close()
    assert engine.stats().pages_in_use == 0


def test_a_stop_string_is_never_shown(checkpoint: Checkpoint, network: Network, reference: Reference) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    for name in CONVERSATIONS:
        free = reference(name, Sampling(max_new_tokens=MOST_TOKENS, ignore_stop_tokens=True))
        letters = [char for char in free.text if char.isprintable() and char != "\ufffd"]
        for stop in letters[::3]:
            asked = Sampling(max_new_tokens=MOST_TOKENS, ignore_stop_tokens=True, stop=(stop, stop + "never"))
            ticket = engine.submit(CONVERSATIONS[name], asked)
            shown = "".join(event.text for event in ticket.events())
            assert shown == ticket.result().text == free.text[: free.text.index(stop)]
            assert ticket.result().finish == "stop"


def test_a_cancelled_request_keeps_what_it_said_and_gives_its_pages_back(
    checkpoint: Checkpoint, network: Network, reference: Reference
) -> None:
    for overlap in (False, True):
        engine = Engine(checkpoint, EngineSettings(overlap=overlap), network)
        ticket = engine.submit(CONVERSATIONS["longest"], Sampling(max_new_tokens=8, ignore_stop_tokens=True))
        for _ in range(4):
            engine.step()
        assert engine.stats().pages_in_use > 0
        ticket.cancel()
        assert ticket.done and engine.stats().pages_in_use == 0  # at once, though nobody steps
        reply = ticket.result()
        assert reply.finish == "cancelled" and len(reply.ids) == 4 - overlap
        assert reply.ids == reference("longest", Sampling(max_new_tokens=8, ignore_stop_tokens=True)).ids[: len(reply.ids)]
        ticket.cancel()  # again: nothing
        while engine.step():
            pass
        engine.check()


def test_a_deadline_ends_with_what_was_said(checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deixis.engine.engine.time.monotonic", lambda: now[0])
    engine = Engine(checkpoint, EngineSettings(), network)
    late = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=50, ignore_stop_tokens=True, deadline_s=2.0))
    calm = engine.submit(CONVERSATIONS["longer"], Sampling(max_new_tokens=6, ignore_stop_tokens=True, deadline_s=60.0))
    for _ in range(3):
        engine.step()
    now[0] += 3.0
    assert len(late.result().ids) == 3 and late.result().finish == "deadline"
    assert len(calm.result().ids) == 6 and calm.result().finish == "length"


def test_threads_share_steps(checkpoint: Checkpoint, network: Network, reference: Reference) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    asked = Sampling(max_new_tokens=MOST_TOKENS, ignore_stop_tokens=True)
    names = list(CONVERSATIONS)[:8]
    replies: dict[str, Reply] = {}
    ready = threading.Barrier(len(names))

    def work(name: str) -> None:
        ready.wait()
        replies[name] = engine.submit(CONVERSATIONS[name], asked).result()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        same(replies[name], reference(name, asked))
    assert engine.stats().steps < len(names) * MOST_TOKENS  # fewer than one after another would take
    engine.check()


# --- what is asked wrongly, and what goes wrong -----------------------------------------------------------------------------

REFUSED: dict[str, tuple[type[DeixisError], str, Any]] = {
    "more pages than exist": (InputError, "pages", lambda: (about("Where?", 1), Sampling(max_new_tokens=3_000))),
    "longer than the context": (InputError, "4096", lambda: (about("where " * 5_000), Sampling())),
    "zero-size picture": (
        PictureError,
        "uint8",
        lambda: ([{"role": "user", "content": [{"type": "image", "image": np.zeros((0, 5, 3), np.uint8)}]}], Sampling()),
    ),
    "a million stop strings": (OptionError, "1000000", lambda: (about("Where?"), Sampling(stop=("x",) * 10**6))),
    "a long stop string": (OptionError, "256", lambda: (about("Where?"), Sampling(stop=("x" * 300,)))),
    "an empty stop string": (OptionError, "stop", lambda: (about("Where?"), Sampling(stop=("",)))),
    "impossible schema": (SchemaError, "minimum", lambda: (about("Where?"), Sampling(max_new_tokens=8, schema=IMPOSSIBLE))),
    "no replies": (OptionError, "n is 0", lambda: (about("Where?"), Sampling(n=0))),
    "temperature": (OptionError, "temperature", lambda: (about("Where?"), Sampling(temperature=float("nan")))),
    "top_p": (OptionError, "top_p", lambda: (about("Where?"), Sampling(top_p=0))),
    "top_k": (OptionError, "top_k", lambda: (about("Where?"), Sampling(top_k=-1))),
    "seed": (OptionError, "seed", lambda: (about("Where?"), Sampling(seed=-1))),
    "deadline": (OptionError, "deadline_s", lambda: (about("Where?"), Sampling(deadline_s=0))),
    "no tokens": (OptionError, "max_new_tokens", lambda: (about("Where?"), Sampling(max_new_tokens=0))),
}
IMPOSSIBLE = {"type": "integer", "minimum": 5, "maximum": 3}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_requests_are_refused_at_once_and_others_are_unharmed(
    what: str, checkpoint: Checkpoint, network: Network, reference: Reference
) -> None:
    engine = Engine(checkpoint, settings_with(checkpoint, 40), network)
    asked = Sampling(max_new_tokens=6, ignore_stop_tokens=True)
    before = engine.submit(CONVERSATIONS["one picture"], asked)
    engine.step()
    kind, found, make = REFUSED[what]
    with pytest.raises(kind, match=found):
        engine.submit(*make())
    same(before.result(), reference("one picture", asked))
    same(engine.submit(CONVERSATIONS["same picture"], asked).result(), reference("same picture", asked))
    engine.check()
    assert engine.stats().pages_in_use == 0


def test_a_memory_of_no_page_is_refused(checkpoint: Checkpoint, network: Network) -> None:
    with pytest.raises(OptionError, match="kv_bytes"):
        Engine(checkpoint, EngineSettings(kv_bytes=10), network)
    for wrong in ({"page_tokens": 0}, {"max_rows": 0}, {"vision_cache_bytes": -1}, {"max_rows": 4, "max_streams": 5}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            EngineSettings(**wrong)  # type: ignore[arg-type]


def served_by_a_stub(checkpoint: Checkpoint, break_at: Any, overlap: bool) -> tuple[Engine, list[Ticket]]:
    engine = Engine(checkpoint, EngineSettings(overlap=overlap), StubNetwork(checkpoint, break_at))  # type: ignore[arg-type]
    asked = Sampling(max_new_tokens=6, ignore_stop_tokens=True)
    return engine, [engine.submit(CONVERSATIONS[name], asked) for name in ("short", "longer", "longest")]


@pytest.mark.parametrize("overlap", [False, True])
def test_logits_that_are_no_numbers_end_their_own_request(checkpoint: Checkpoint, overlap: bool) -> None:
    def break_at(step: Step, logits: torch.Tensor) -> torch.Tensor:
        for row, span in enumerate(step.spans):
            if span.end == bad_end:
                logits[row, 5] = float("nan")
        return logits

    bad_end = checkpoint.processor.outline(CONVERSATIONS["longer"]).length + 2
    engine, (first, bad, last) = served_by_a_stub(checkpoint, break_at, overlap)
    with pytest.raises(EngineError, match="no numbers"):
        bad.result()
    assert len(first.result().ids) == len(last.result().ids) == 6
    engine.check()
    # Nothing that led to them is found again.
    bad_end = 0
    again = engine.submit(CONVERSATIONS["longer"], Sampling(max_new_tokens=6, ignore_stop_tokens=True))
    assert again.result().reused_tokens == 0 and len(again.result().ids) == 6


@pytest.mark.parametrize("overlap", [False, True])
def test_a_step_that_fails_ends_its_requests_and_the_engine_goes_on(checkpoint: Checkpoint, overlap: bool) -> None:
    failing = [True]

    def break_at(step: Step, logits: torch.Tensor) -> torch.Tensor:
        if failing[0] and step.spans[0].start > 0:
            failing[0] = False
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return logits

    engine, tickets = served_by_a_stub(checkpoint, break_at, overlap)
    engine.step()
    engine.step()
    late = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=3, ignore_stop_tokens=True))
    for ticket in tickets:
        with pytest.raises(EngineError, match="out of memory"):
            ticket.result()
    assert len(late.result().ids) == 3
    engine.check()
    assert engine.stats().pages_in_use == 0


def test_a_picture_that_fails_ends_only_those_who_show_it(
    checkpoint: Checkpoint, network: Network, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = network.see

    def fail(patches: torch.Tensor, grids: Any) -> Any:
        if any(w == 8 for _, _, w in grids):  # picture 3
            raise torch.OutOfMemoryError("no memory for this picture")
        return see(patches, grids)

    monkeypatch.setattr(network, "see", fail)
    engine = Engine(checkpoint, EngineSettings(), network)
    asked = Sampling(max_new_tokens=4)
    tickets = {name: engine.submit(CONVERSATIONS[name], asked) for name in ("one picture", "three", "short", "two pictures")}
    with pytest.raises(EngineError, match="no memory for this picture"):
        tickets.pop("three").result()
    for name, ticket in tickets.items():
        same(ticket.result(), reference(name, asked))
    engine.check()


def test_closing_ends_what_is_open(checkpoint: Checkpoint, network: Network) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    engine.start()
    engine.start()
    tickets = [engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=4_000, ignore_stop_tokens=True)) for _ in range(3)]
    next(tickets[0].events())
    engine.close()
    assert [ticket.result().finish for ticket in tickets] == ["cancelled"] * 3
    assert engine.stats().pages_in_use == 0
    engine.check()


def test_an_engine_that_breaks_in_its_own_thread_lets_nobody_wait(
    checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    monkeypatch.setattr(engine.scheduler, "plan", lambda: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # it is told there, too
    ticket = engine.submit(CONVERSATIONS["short"])
    engine.start()
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        ticket.result()


def test_who_is_interrupted_while_waiting_calls_the_request_off(
    checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    land = engine._land

    def interrupted(flight: Any) -> None:
        land(flight)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_land", interrupted)
    ticket = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=9, ignore_stop_tokens=True))
    with pytest.raises(KeyboardInterrupt):
        ticket.result()
    monkeypatch.undo()
    assert ticket.result().finish == "cancelled" and len(ticket.result().ids) == 1
    engine.check()
