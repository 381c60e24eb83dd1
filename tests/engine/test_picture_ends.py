"""Another question about a picture goes on where the picture ends, in the middle of a page: from a copy, with the same tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deixis.engine import Engine, EngineSettings, Reply, Sampling
from deixis.engine.network import Network
from deixis.engine.prefix import PrefixCache
from deixis.engine.step import KVPages
from deixis.engine.stream import Prompt
from deixis.model import Checkpoint, TextConfig, generate, open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.model import tiny

PAGE = 16
TOKENS = 4
PHOTO = tiny.photo(64, 96, 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


def asked(before: str, question: str, photo: Any = PHOTO) -> list[dict[str, Any]]:
    shown = [{"type": "text", "text": before}, {"type": "image", "image": photo}, {"type": "text", "text": question}]
    return [{"role": "user", "content": shown}]


def expected(checkpoint: Checkpoint, messages: Any) -> tuple[int, ...]:
    inputs = checkpoint.processor.encode(messages)
    return generate(checkpoint.model, inputs, max_new_tokens=TOKENS, stop_ids=()).ids


def ask(engine: Engine, *conversations: Any) -> list[Reply]:
    wanted = Sampling(max_new_tokens=TOKENS, ignore_stop_tokens=True)
    tickets = [engine.submit(messages, wanted) for messages in conversations]
    replies = [ticket.result() for ticket in tickets]
    engine.check()
    assert engine.stats().pages_in_use == 0
    return replies


def with_pages(checkpoint: Checkpoint, count: int, **more: Any) -> EngineSettings:
    return EngineSettings(kv_bytes=count * KVPages.page_bytes(checkpoint.config.text, checkpoint.model.dtype, PAGE), **more)


def end_of_picture(checkpoint: Checkpoint, messages: Any) -> int:
    return int(Prompt.read(messages, checkpoint.processor, PAGE).pictures[-1].places[-1]) + 1


def test_a_picture_may_end_anywhere_in_a_page(checkpoint: Checkpoint) -> None:
    network = Network(checkpoint.model)
    offsets = set()
    for letters in range(PAGE):
        before = "x" * letters
        first, second = asked(before, "Where?"), asked(before, "yes, who?")
        end = end_of_picture(checkpoint, first)
        offsets.add(end % PAGE)
        engine = Engine(checkpoint, EngineSettings(), network)
        (known,) = ask(engine, first)
        (reply,) = ask(engine, second)
        closed = end % PAGE == PAGE - 1  # with the token that closes the picture, the page is full
        assert reply.reused_tokens == end + closed, "every visual token, and nothing of the other question"
        assert [one.ids for one in (known, reply)] == [expected(checkpoint, messages) for messages in (first, second)]
        assert engine.stats().pictures_seen == 1
    assert offsets == set(range(PAGE))


@pytest.mark.parametrize("chunk_rows", [3, 1000])
def test_questions_that_arrive_together_wait_for_the_pictures_end(checkpoint: Checkpoint, chunk_rows: int) -> None:
    conversations = [asked("see", f"{word}, where?") for word in ("cup", "mouse", "yes", "no", "blue")]
    engine = Engine(checkpoint, EngineSettings(chunk_rows=chunk_rows), Network(checkpoint.model))
    replies = ask(engine, *conversations)
    assert [reply.ids for reply in replies] == [expected(checkpoint, messages) for messages in conversations]
    end = end_of_picture(checkpoint, conversations[0])
    assert end % PAGE and [reply.reused_tokens for reply in replies] == [0, *[end] * 4]


def test_what_is_copied_may_be_evicted_for_its_copy(checkpoint: Checkpoint) -> None:
    first, second = asked("see", "Where?"), asked("see", "yes, where is the blue cup?" * 4)
    lengths = [checkpoint.processor.outline(messages).length for messages in (first, second)]
    end = end_of_picture(checkpoint, first)
    # No page beyond those of the longer one: with the pages before the end in use, the one it ends in has to go.
    engine = Engine(checkpoint, with_pages(checkpoint, -(-(lengths[1] + TOKENS) // PAGE)), Network(checkpoint.model))
    (known,) = ask(engine, first)
    (reply,) = ask(engine, second)
    assert reply.reused_tokens == end and end % PAGE
    assert [known.ids, reply.ids] == [expected(checkpoint, messages) for messages in (first, second)]


def test_another_picture_or_another_beginning_is_not_taken_for_the_same(checkpoint: Checkpoint) -> None:
    engine = Engine(checkpoint, EngineSettings(), Network(checkpoint.model))
    photo = PHOTO.copy()
    photo[-1, -1, -1] ^= 1  # seen by the last visual token
    conversations = [asked("see", "Where?"), asked("see", "yes?", photo), asked("sea", "yes?")]
    replies = [ask(engine, messages)[0] for messages in conversations]
    assert [reply.ids for reply in replies] == [expected(checkpoint, messages) for messages in conversations]
    assert [reply.reused_tokens for reply in replies] == [0, 0, 0]


def test_a_page_loses_all_its_names_at_once() -> None:
    cache = PrefixCache()
    for name in (b"cut", b"full"):
        cache.filled(name, 3)
    cache.filled(b"cut", 4)  # the same in another page: the first stays
    assert cache.page_of(b"cut") == 3 and cache.knows(3) and not cache.knows(4)
    cache.forget(3)
    assert cache.page_of(b"cut") is None and cache.found([b"full"]) == [] and not cache.knows(3)


def test_all_is_read_before_anything_is_written() -> None:
    config = TextConfig(num_hidden_layers=3, num_key_value_heads=2, head_dim=4, num_attention_heads=2)
    kv = KVPages(config, 4, "cpu", torch.float32, 2)
    kv.keys.normal_()
    kv.values.normal_()
    before = kv.keys.clone(), kv.values.clone()
    kv.copy(torch.tensor([[0, 5, 7], [5, 6, 0]]))  # one slot is both read and written
    for cache, old in zip((kv.keys, kv.values), before, strict=True):
        wanted = old.clone()
        wanted[:, 5], wanted[:, 6], wanted[:, 0] = old[:, 0], old[:, 5], old[:, 7]
        assert torch.equal(cache, wanted)
