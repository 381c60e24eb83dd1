"""Requests side by side: pictures seen once, tokens as they come, stop strings, ends at any time."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from deixis.engine import Engine, EngineSettings, Reply, Sampling
from deixis.engine.network import Network
from deixis.engine.stream import Prompt
from deixis.model import Checkpoint
from tests.engine.asked import CONVERSATIONS, MOST_TOKENS, Reference, about, same

pytestmark = pytest.mark.usefixtures("_one_thread")


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
