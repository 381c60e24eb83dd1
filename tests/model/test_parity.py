"""The network computes what transformers 5.17.0 computes: logits, features and generated tokens, dense and mixture of experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deixis.model import generate
from tests.model import tiny
from tests.model.conftest import Pair

TEXT = {"type": "text", "text": "Is the red cup left of the book? 鼠标在哪里?"}


def image(height: int, width: int, seed: int) -> dict[str, Any]:
    return {"type": "image", "image": tiny.photo(height, width, seed)}


def video(name: str) -> dict[str, Any]:
    frames, times = tiny.VIDEOS[name]
    return {"type": "video", "frames": frames, "timestamps_s": times}


CASES: dict[str, list[dict[str, Any]]] = {
    "one image": [image(100, 140, 0), TEXT],
    "three images of different sizes": [image(64, 64, 1), TEXT, image(150, 60, 2), image(70, 200, 3), TEXT],
    "two images of one size": [image(80, 90, 8), image(80, 90, 9), TEXT],
    "a video": [video("even"), TEXT],
    "a video of an odd number of frames": [TEXT, video("odd")],
    "text only": [TEXT],
    "image and video mixed": [video("tiny"), TEXT, image(120, 90, 4), video("shrunk"), image(64, 96, 5), TEXT],
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_transformers(pair: Pair, case: str) -> None:
    inputs = pair.ours.processor.encode([{"role": "user", "content": CASES[case]}])
    with torch.inference_mode():
        ours = pair.ours.model.logits(pair.ours.model(inputs))
        theirs = pair.theirs(**pair.their_inputs(inputs)).logits
    assert ours.shape == theirs.shape == (1, inputs.length, tiny.VOCAB)
    assert float(ours.std()) > 0.5  # the comparison means something
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens_equal_transformers(pair: Pair, case: str) -> None:
    inputs = pair.ours.processor.encode([{"role": "user", "content": CASES[case]}])
    ours = generate(pair.ours.model, inputs, max_new_tokens=16, stop_ids=pair.ours.stop_ids)
    theirs = pair.theirs.generate(
        **pair.their_inputs(inputs), max_new_tokens=16, do_sample=False, eos_token_id=sorted(pair.ours.stop_ids), pad_token_id=0
    )[0, inputs.length :]
    assert list(ours.ids) == theirs.tolist()
    assert len(set(ours.ids)) > 5  # no network that only repeats itself


def test_positions_equal_transformers(dense: Pair) -> None:
    inputs = dense.ours.processor.encode([{"role": "user", "content": CASES["image and video mixed"]}])
    given = dense.their_inputs(inputs)
    theirs, delta = dense.theirs.model.get_rope_index(
        given["input_ids"], given["mm_token_type_ids"], given["image_grid_thw"], given["video_grid_thw"]
    )
    assert torch.equal(inputs.positions, theirs[:, 0])
    assert inputs.next_position == inputs.length + int(delta[0, 0])


def test_yarn_equals_transformers(make_pair: Callable[..., Pair]) -> None:
    """Beyond the trained context the frequencies are blended, and attention is sharpened."""
    rope = {
        "rope_type": "yarn",
        "mrope_interleaved": True,
        "mrope_section": [4, 2, 2],
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    pair = make_pair(rope_scaling=rope, max_position_embeddings=256)
    yarn = pair.ours.config.text.yarn
    assert yarn is not None
    assert yarn.factor == 4.0
    inputs = pair.ours.processor.encode(
        [{"role": "user", "content": [*CASES["one image"], {"type": "text", "text": "where? " * 40}]}]
    )
    assert inputs.length > 64
    with torch.inference_mode():
        ours = pair.ours.model.logits(pair.ours.model(inputs))
        theirs = pair.theirs(**pair.their_inputs(inputs)).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_dense_layers_between_sparse_ones_equal_transformers(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(sparse=True, decoder_sparse_step=2, mlp_only_layers=[3], attention_bias=True)
    kinds = [type(layer.mlp).__name__ for layer in pair.ours.model.language.layers]
    assert kinds == ["MLP", "SparseMLP", "MLP", "MLP"]
    inputs = pair.ours.processor.encode([{"role": "user", "content": CASES["one image"]}])
    with torch.inference_mode():
        torch.testing.assert_close(
            pair.ours.model.logits(pair.ours.model(inputs)), pair.theirs(**pair.their_inputs(inputs)).logits, atol=1e-4, rtol=0
        )


def test_image_patches_and_ids_equal_transformers(dense: Pair) -> None:
    pictures = [tiny.photo(*size, seed) for seed, size in enumerate([(100, 140), (33, 200), (480, 640), (20, 20), (64, 64)])]
    messages = [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "\n\nAnd 12.5?"}, {"type": "image"}]},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nNo, the cup."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "don't "}, {"type": "image"}, {"type": "image"}, {"type": "image"}],
        },
    ]
    text = dense.their_processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    theirs = dense.their_processor(text=[text], images=pictures, return_tensors="np")
    left = iter(pictures)
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image":
                part["image"] = next(left)
    ours = dense.ours.processor.encode(messages)
    assert ours.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert [list(grid) for grid in ours.image_grids] == theirs["image_grid_thw"].tolist()
    assert ours.patches is not None
    assert np.abs(ours.patches.numpy() - theirs["pixel_values"]).max() <= 2 / 255
