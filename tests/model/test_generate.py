"""The reference loop: stopping, sampling, shared prefixes, and the cache underneath."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from deixis.errors import InputError, OptionError
from deixis.model import KVCache, ModelInput, VisualFeatures, causal_attention, generate, prefill
from deixis.model.generate import distribution
from tests.model import tiny
from tests.model.conftest import Pair


def ask(pair: Pair, *parts: Any) -> ModelInput:
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return pair.ours.processor.encode([{"role": "user", "content": content}])


def image(seed: int) -> dict[str, Any]:
    return {"type": "image", "image": tiny.photo(90, 100, seed)}


def video(name: str) -> dict[str, Any]:
    return {"type": "video", "frames": tiny.VIDEOS[name][0], "timestamps_s": tiny.VIDEOS[name][1]}


def test_logprobs_are_the_networks(pair: Pair) -> None:
    inputs = ask(pair, image(0), "where?")
    got = generate(pair.ours.model, inputs, max_new_tokens=8, temperature=0.7, generator=torch.Generator().manual_seed(3))
    ids = torch.cat([inputs.input_ids, torch.tensor(got.ids)])
    tail = torch.arange(len(got.ids)) + inputs.next_position
    whole = ModelInput(
        ids,
        torch.cat([inputs.positions, tail.expand(3, -1)], 1),
        inputs.next_position + len(got.ids),
        inputs.visual_index,
        inputs.patches,
        inputs.image_grids,
    )
    with torch.inference_mode():
        logits = pair.ours.model.logits(pair.ours.model(whole))[0, inputs.length - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(got.ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(got.logprobs), expected, atol=1e-4, rtol=0)


def test_stops_at_a_stop_token_or_at_the_limit(dense: Pair) -> None:
    model, inputs = dense.ours.model, ask(dense, "hello")
    free = generate(model, inputs, max_new_tokens=6)
    assert (len(free.ids), free.finish) == (6, "length")
    stop = free.ids[3]
    stopped = generate(model, inputs, max_new_tokens=6, stop_ids={stop})
    first = free.ids.index(stop)
    assert (stopped.ids, stopped.finish) == (free.ids[: first + 1], "stop")
    assert len(stopped.logprobs) == len(stopped.ids)


def test_a_full_context_ends_generation(make_pair: Any) -> None:
    pair = make_pair(max_position_embeddings=30)
    inputs = ask(pair, "hi")
    got = generate(pair.ours.model, inputs, max_new_tokens=100)
    assert (inputs.length + len(got.ids), got.finish) == (30, "length")
    with pytest.raises(InputError, match="expected 1 to 29"):
        generate(pair.ours.model, ask(pair, "where is the red cup " * 5), max_new_tokens=1)


def test_sampling_replays_from_its_seed(dense: Pair) -> None:
    def draw(seed: int, **more: Any) -> tuple[int, ...]:
        generator = torch.Generator().manual_seed(seed)
        return generate(dense.ours.model, inputs, max_new_tokens=12, temperature=1.5, generator=generator, **more).ids

    inputs = ask(dense, image(1), "describe")
    assert draw(1) == draw(1) != draw(2)
    greedy = generate(dense.ours.model, inputs, max_new_tokens=12).ids
    assert draw(1, top_k=1) == greedy
    assert draw(2, top_p=1e-6) == greedy


@given(
    st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=30, unique=True),
    st.floats(0.1, 3),
    st.integers(0, 40),
    st.floats(0.05, 1),
)
def test_sampled_distribution_equals_transformers(logits: list[float], temperature: float, top_k: int, top_p: float) -> None:
    given_logits = torch.tensor(logits)
    scores = TemperatureLogitsWarper(temperature)(None, given_logits[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        cumulative = scores.softmax(-1).sort(descending=True).values.cumsum(-1)
        if float((cumulative - top_p).abs().min()) < 1e-5:
            return  # on the edge, rounding decides
        scores = TopPLogitsWarper(top_p)(None, scores)
    torch.testing.assert_close(distribution(given_logits, temperature, top_k, top_p), scores.softmax(-1)[0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": -1}]
)
def test_options_out_of_range_are_refused(dense: Pair, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        generate(dense.ours.model, ask(dense, "hi"), **({"max_new_tokens": 4} | options))


def test_questions_share_a_prefix(pair: Pair) -> None:
    """The second question about a picture pays only for its own words, with equal results, over and over."""
    model, config = pair.ours.model, pair.ours.config
    first, second = ask(pair, image(2), "where is the cup?"), ask(pair, image(2), "how many books are there here?")
    common = next(i for i, (a, b) in enumerate(zip(first.input_ids, second.input_ids, strict=False)) if a != b)
    prefix = prefill(model, first.split(common, config)[0])
    assert prefix.length == common
    for inputs in (first, second, first):
        shared = generate(model, inputs, max_new_tokens=10, prefix=prefix)
        alone = generate(model, inputs, max_new_tokens=10)
        assert shared.ids == alone.ids
        torch.testing.assert_close(torch.tensor(shared.logprobs), torch.tensor(alone.logprobs), atol=1e-4, rtol=0)
        assert prefix.cache.length == common
    whole = prefill(model, first)
    assert generate(model, first, max_new_tokens=10, prefix=whole).ids == generate(model, first, max_new_tokens=10).ids


def test_a_prefix_must_fit(dense: Pair) -> None:
    prefix = prefill(dense.ours.model, ask(dense, image(2), "where?"))
    with pytest.raises(InputError, match="does not begin"):
        generate(dense.ours.model, ask(dense, image(2), "when will it move?"), max_new_tokens=1, prefix=prefix)
    empty = ask(dense, "x").split(0, dense.ours.config)[0]
    with pytest.raises(InputError, match="no tokens"):
        prefill(dense.ours.model, empty)
    with pytest.raises(InputError, match="has 0 tokens"):
        generate(dense.ours.model, empty, max_new_tokens=1)


def test_any_split_continues_equally(dense: Pair) -> None:
    """Cut anywhere but inside a picture: the two parts give what the whole gives."""
    model, config = dense.ours.model, dense.ours.config
    inputs = ask(dense, "a", image(3), "b", video("odd"), "c", image(4))
    with torch.inference_mode():
        expected = model(inputs)
        refused = 0
        for count in range(1, inputs.length, 3):
            try:
                head, tail = inputs.split(count, config)
            except InputError as error:
                refused += "through a picture" in str(error)
                continue
            assert (head.length, tail.length) == (count, inputs.length - count)
            assert head.next_position == int(inputs.positions[0, count])
            cache = KVCache(config.text.num_hidden_layers)
            got = torch.cat([model(head, cache=cache), model(tail, cache=cache)], 1)
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert refused > 3


def test_features_spare_the_vit(dense: Pair) -> None:
    model = dense.ours.model
    inputs = ask(dense, image(5), "and", image(6), "here")
    one, other = (model.encode(ask(dense, image(seed))) for seed in (5, 6))
    assert one is not None
    assert other is not None
    joined = VisualFeatures.join([one, other])
    assert joined.nbytes == one.nbytes + other.nbytes == 4 * joined.merged.nbytes
    assert generate(model, inputs, max_new_tokens=6, features=joined) == generate(model, inputs, max_new_tokens=6)
    assert model.encode(ask(dense, "no picture")) is None


def test_cache_grows_crops_and_copies() -> None:
    generator = torch.Generator().manual_seed(0)
    cache = KVCache(2, capacity=4)
    parts = [torch.randn(1, 2, n, 8, generator=generator) for n in (3, 2, 7)]
    for part in parts:
        keys, values = cache.layers[0].append(part, -part)
        cache.layers[1].append(part, part)
    assert torch.equal(keys, torch.cat(parts, 2))
    assert torch.equal(values, -torch.cat(parts, 2))
    assert cache.length == 12
    cache.crop(4)
    twin = cache.copy(capacity=32)
    assert (twin.length, cache.length) == (4, 4)
    twin.layers[0].append(parts[0], parts[0])
    keys, _ = cache.layers[0].append(parts[1], parts[1])
    assert torch.equal(keys, torch.cat([torch.cat(parts, 2)[:, :, :4], parts[1]], 2))
    assert twin.nbytes > cache.copy().nbytes > 0
    assert KVCache(1).copy().nbytes == 0


@given(st.integers(1, 9), st.integers(0, 9))
@settings(max_examples=25)
def test_causal_attention_lets_the_last_query_see_the_last_key(queries: int, before: int) -> None:
    generator = torch.Generator().manual_seed(queries * 10 + before)
    q = torch.randn(2, 4, queries, 8, generator=generator)
    k, v = torch.randn(2, 2, 2, before + queries, 8, generator=generator)
    out = causal_attention(q, k, v)
    for i in range(queries):
        seen = slice(0, before + i + 1)
        wide_k, wide_v = (x[:, :, seen].repeat_interleave(2, 1) for x in (k, v))
        weights = (q[:, :, i : i + 1] @ wide_k.mT / 8**0.5).softmax(-1)
        torch.testing.assert_close(out[:, :, i : i + 1], weights @ wide_v, atol=1e-5, rtol=0)
