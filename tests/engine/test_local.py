"""The engine equals the reference loop, whatever it keeps between calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deixis.engine import AttentionTap, LocalEngine, Reply
from deixis.errors import InputError, OptionError
from deixis.model import Checkpoint, generate, open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.model import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def about(text: str, *pictures: int) -> list[dict[str, Any]]:
    """A message with pictures by seed, then text."""
    images = [{"type": "image", "image": tiny.photo(96, 128, seed)} for seed in pictures]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


def reference(
    checkpoint: Checkpoint, messages: list[dict[str, Any]], **settings: Any
) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    generation = generate(
        checkpoint.model, checkpoint.processor.encode(messages), stop_ids=checkpoint.stop_ids, max_new_tokens=12, **settings
    )
    return generation.ids, generation.logprobs, generation.finish


def same(reply: Reply, expected: tuple[tuple[int, ...], tuple[float, ...], str]) -> None:
    ids, logprobs, finish = expected
    assert reply.ids == ids
    assert reply.logprobs == pytest.approx(logprobs, abs=1e-4)
    assert reply.finish == finish


# What is asked in turn of one engine. Each reply must be what a fresh reference says.
TURNS: dict[str, list[tuple[str, tuple[int, ...]]]] = {
    "one": [("Where is the cup?", (1,))],
    "second question on the same picture": [("Where is the cup?", (1,)), ("Where is the red book?", (1,))],
    "same question twice": [("Where?", (1,)), ("Where?", (1,))],
    "shared beginning": [("Is the mouse left? yes", (1,)), ("Is the mouse left of the keyboard", (1,)), ("Is", (1,))],
    "another picture": [("Where?", (1,)), ("Where?", (2,)), ("Where?", (1,))],
    "two pictures": [("Where?", (1, 2)), ("Where is the other?", (1, 2)), ("Where?", (2, 1)), ("Where?", (1,))],
    "text only": [("Hello", ()), ("Hello there", ()), ("Where?", (3,)), ("Hello", ())],
}


@pytest.mark.parametrize("name", TURNS)
def test_equals_the_reference(checkpoint: Checkpoint, name: str) -> None:
    engine = LocalEngine(checkpoint)
    for text, pictures in TURNS[name]:
        messages = about(text, *pictures)
        same(engine.complete(messages, max_new_tokens=12), reference(checkpoint, messages))


def test_sampling_equals_the_reference(checkpoint: Checkpoint) -> None:
    messages = about("Where is the cup?", 1)
    for seed in (0, 1):
        expected = reference(checkpoint, messages, temperature=0.8, generator=torch.Generator().manual_seed(seed))
        same(LocalEngine(checkpoint).complete(messages, max_new_tokens=12, temperature=0.8, seed=seed), expected)


def test_second_question_reads_only_its_own_words(checkpoint: Checkpoint) -> None:
    engine = LocalEngine(checkpoint)
    first = engine.complete(about("Where is the cup?", 1), max_new_tokens=4)
    second = engine.complete(about("Count the books", 1), max_new_tokens=4)
    assert first.reused_tokens == 0
    length = checkpoint.processor.encode(about("Count the books", 1)).length
    assert 0 < length - second.reused_tokens < 20
    assert "vision" in first.timings_ms
    assert "vision" not in second.timings_ms


def test_a_kept_picture_is_not_seen_again(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(checkpoint)
    seen: list[object] = []
    visual = checkpoint.model.visual.forward
    monkeypatch.setattr(checkpoint.model.visual, "forward", lambda *args: (seen.append(args), visual(*args))[1])
    for pictures in ((1,), (2,), (1,), (2, 1)):
        engine.complete(about("Where?", *pictures), max_new_tokens=1)
    assert len(seen) == 2
    bare = LocalEngine(checkpoint, vision_cache_bytes=0)
    for pictures in ((1, 1), (2,), (1, 2)):  # within one conversation the same picture is seen once even so
        bare.complete(about("Where?", *pictures), max_new_tokens=1)
    assert len(seen) == 5


def test_alternatives_are_sorted_and_hold_the_choice(checkpoint: Checkpoint) -> None:
    reply = LocalEngine(checkpoint).complete(about("Where?", 1), max_new_tokens=6)
    for chosen, logprob, top in zip(reply.ids, reply.logprobs, reply.top, strict=True):
        assert len(top) == 10
        assert top[0] == (chosen, pytest.approx(logprob))
        assert [lp for _, lp in top] == sorted((lp for _, lp in top), reverse=True)


def test_video(checkpoint: Checkpoint) -> None:
    video = {"type": "video", "frames": tiny.clip(4, 64, 96, 1), "timestamps_s": [0.0, 0.5, 1.0, 1.5]}
    engine = LocalEngine(checkpoint)
    for text in ("What moves?", "What moves first?"):
        messages = [{"role": "user", "content": [video, {"type": "text", "text": text}]}]
        same(engine.complete(messages, max_new_tokens=12), reference(checkpoint, messages))


def test_refusals_leave_the_engine_usable(checkpoint: Checkpoint) -> None:
    engine = LocalEngine(checkpoint)
    with pytest.raises(OptionError, match="max_new_tokens"):
        engine.complete(about("Where?", 1), max_new_tokens=0)
    with pytest.raises(OptionError, match="temperature"):
        engine.complete(about("Where?", 1), max_new_tokens=1, temperature=-1)
    with pytest.raises(InputError, match="4096"):
        engine.complete(about("where " * 5_000), max_new_tokens=1)
    messages = about("Where?", 1)
    same(engine.complete(messages, max_new_tokens=12), reference(checkpoint, messages))


def test_a_full_context_ends_with_length(checkpoint: Checkpoint) -> None:
    words = 1
    while checkpoint.processor.encode(about("the " * words)).length < 4_094:
        words += max((4_094 - checkpoint.processor.encode(about("the " * words)).length) // 2, 1)
    reply = LocalEngine(checkpoint).complete(about("the " * words), max_new_tokens=50)
    assert len(reply.ids) <= 2


def test_threads_share_the_engine(checkpoint: Checkpoint) -> None:
    engine = LocalEngine(checkpoint)
    expected = {seed: reference(checkpoint, about("Where?", seed)) for seed in (1, 2, 3)}
    replies: dict[int, Reply] = {}

    def work(seed: int) -> None:
        replies[seed] = engine.complete(about("Where?", seed), max_new_tokens=12)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, one in expected.items():
        same(replies[seed], one)


def test_checkpoint_fixture_is_whole(tmp_path: Path) -> None:
    assert (write_checkpoint(tmp_path, card={"name": "x"}) / "deixis.json").is_file()


def test_attention_is_that_of_the_reference(checkpoint: Checkpoint) -> None:
    """The tap changes nothing, and each row of weights over the whole conversation is a causal softmax."""
    inputs = checkpoint.processor.encode(about("Where is the cup?", 1))
    everywhere = torch.arange(inputs.length)
    tap = AttentionTap(range(inputs.length), everywhere)
    with torch.inference_mode():
        tapped, plain = checkpoint.model(inputs, attend=tap), checkpoint.model(inputs)
    assert torch.equal(tapped, plain)
    weights = tap.result((1, inputs.length))[:, :, 0]  # (layers, queries, keys)
    assert weights.sum(-1) == pytest.approx(1.0, abs=1e-5)
    assert weights[:, 0, 1:] == pytest.approx(0.0)
    assert (weights[:, :, :][:, torch.ones(inputs.length, inputs.length).triu(1).bool().numpy()] == 0).all()


def test_attention_while_answering_is_read_at_the_places_that_chose_the_tokens(checkpoint: Checkpoint) -> None:
    engine, messages = LocalEngine(checkpoint), about("Where is the cup?", 1)
    reply = engine.complete(messages, max_new_tokens=4)
    seen = engine.attention(messages, reply.ids)
    _, h, w = checkpoint.processor.encode(messages).image_grids[0]
    layers = checkpoint.config.text.num_hidden_layers
    assert seen.answer.shape == (layers, len(reply.ids), h // 2, w // 2)
    assert seen.unasked.shape == (layers, h // 2, w // 2)
    # A longer answer does not change where its first tokens were chosen.
    assert engine.attention(messages, reply.ids[:2]).answer == pytest.approx(seen.answer[:, :2], abs=1e-6)
    same(engine.complete(messages, max_new_tokens=12), reference(checkpoint, messages))  # the kept conversation is unharmed


@pytest.mark.parametrize(("pictures", "answer"), [((), (5,)), ((1,), ())])
def test_attention_needs_a_picture_and_an_answer(
    checkpoint: Checkpoint, pictures: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="attention"):
        LocalEngine(checkpoint).attention(about("Where?", *pictures), answer)
