"""The embedded checkpoint: in transformers' own format, small, read alike by transformers, and able to see.

Pictures are rendered from seeds between 800000 and 899999, which training never used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, Qwen2VLImageProcessorPil, Qwen3VLForConditionalGeneration
from transformers.utils import logging

from deixis import Deixis
from deixis.backends.catalog import nano_directory
from deixis.lab.make import example
from deixis.model import Checkpoint, generate, open_checkpoint
from deixis.spatial.language.prompts import PROMPTS
from tests.model.conftest import ImagesOnly, Pair

NANO = nano_directory()
EXAMPLES = Path(__file__).parents[1] / "examples"
DESK_CAMERA = (740.5, 740.5, 320.0, 240.0)
SIZES = [(256, 256), (320, 256), (256, 320), (300, 270)]  # (width, height); the last one is resized on the way in
ENDS = {".json", ".jinja", ".md", ".safetensors"}

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ours() -> Checkpoint:
    return open_checkpoint(NANO, dtype=torch.float32)


@pytest.fixture(scope="module")
def pair(ours: Checkpoint) -> Pair:
    """The checkpoint as this package and as transformers read it, both in float32."""
    logging.disable_progress_bar()
    theirs, info = Qwen3VLForConditionalGeneration.from_pretrained(NANO, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    images, tokenizer = Qwen2VLImageProcessorPil.from_pretrained(NANO), AutoTokenizer.from_pretrained(NANO)
    return Pair(ours, theirs.eval(), ImagesOnly(images, tokenizer, None, chat_template=tokenizer.chat_template))


@pytest.fixture(scope="module")
def asked() -> list[tuple[Pixels, str]]:
    """20 rendered pictures of both worlds, each with one request: every kind of prompt, both languages."""
    found = []
    kinds = cycle(PROMPTS)
    for index in range(20):
        made = example(("primitives", "desk")[index % 2], 800_100, index, SIZES[index % len(SIZES)])
        kind = next(kinds)
        language = ("en", "zh")[index // 2 % 2]
        question = next(q for q in made.questions if q.prompt_kind == kind and q.language == language)
        found.append((made.pixels, PROMPTS[kind](question.question, question.language)))
    return found


@pytest.fixture(scope="module")
def session() -> Deixis:
    return Deixis("nano")


def messages(pixels: Pixels, text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "image": pixels}, {"type": "text", "text": text}]}]


# --- the files ------------------------------------------------------------------------------------------------------------


def test_it_is_small_and_holds_nothing_that_runs() -> None:
    files = [path for path in NANO.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 48_000_000
    assert all(path.stat().st_size <= 16 * 2**20 for path in files)
    assert {path.suffix for path in files} <= ENDS


def test_weights_are_bfloat16_and_the_index_is_complete() -> None:
    index = json.loads((NANO / "model.safetensors.index.json").read_text())["weight_map"]
    found = {}
    for shard in sorted(NANO.glob("*.safetensors")):
        with safe_open(shard, "pt") as tensors:
            found |= dict.fromkeys(tensors.keys(), shard.name)
            assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"BF16"}  # noqa: SIM118
    assert index == found


def test_the_tokenizer_is_small_and_has_single_digits(ours: Checkpoint) -> None:
    tokenizer = ours.processor.tokenizer
    assert tokenizer.size <= ours.config.text.vocab_size <= 8_192
    theirs = AutoTokenizer.from_pretrained(NANO)
    assert len(theirs("0123456789")["input_ids"]) == 10
    for name in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"):
        assert len(theirs(name)["input_ids"]) == 1
    assert AutoConfig.from_pretrained(NANO).architectures == ["Qwen3VLForConditionalGeneration"]


def test_the_card_tells_what_it_knows() -> None:
    card = (NANO / "README.md").read_text(encoding="utf-8")
    assert json.loads((NANO / "deixis.json").read_text())["knows"] in card
    assert "Apache-2.0" in card
    training = json.loads((NANO / "training.json").read_text())
    assert f"{training['steps']:,} steps" in card
    assert f"{training['pictures']:,} picture" in card


# --- the same for transformers --------------------------------------------------------------------------------------------


def test_transformers_prepares_the_same_input(pair: Pair, asked: list[tuple[Pixels, str]]) -> None:
    for pixels, text in asked[:4]:  # one of every size
        inputs = pair.ours.processor.encode(messages(pixels, text))
        prompt = pair.their_processor.apply_chat_template(messages(pixels, text), tokenize=False, add_generation_prompt=True)
        theirs = pair.their_processor(text=[prompt], images=[Image.fromarray(pixels)], return_tensors="pt")
        assert inputs.input_ids.tolist() == theirs["input_ids"][0].tolist()
        assert theirs["image_grid_thw"].tolist() == [list(grid) for grid in inputs.image_grids]
        assert inputs.patches is not None
        assert float((inputs.patches - theirs["pixel_values"]).abs().max()) <= 2 / 127.5


@pytest.mark.parametrize("index", range(20))
def test_greedy_tokens_equal_transformers(pair: Pair, asked: list[tuple[Pixels, str]], index: int) -> None:
    inputs = pair.ours.processor.encode(messages(*asked[index]))
    ours = generate(pair.ours.model, inputs, max_new_tokens=48, stop_ids=pair.ours.stop_ids)
    theirs = pair.theirs.generate(
        **pair.their_inputs(inputs), max_new_tokens=48, do_sample=False, eos_token_id=sorted(pair.ours.stop_ids), pad_token_id=0
    )[0, inputs.length :]
    assert list(ours.ids) == theirs.tolist()


# --- it sees --------------------------------------------------------------------------------------------------------------


def test_the_questions_of_the_demo(session: Deixis) -> None:
    desk = EXAMPLES / "desk.png"
    row = session.ask(desk, "Is the yellow cup in front of the black box?", camera=DESK_CAMERA).to_json()
    contract = {"answer", "verdict", "confidence", "objects", "claims", "camera", "model", "timings_ms"}
    assert contract <= set(row)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["verdict"], row["model"], row["camera"]["source"]) == ("yes", "nano", "user")
    assert [(claim["geometry"], claim["agrees"]) for claim in row["claims"]] == [("yes", True)]
    boxes = {item["label"]: item["box_px"] for item in row["objects"]}
    # The truth that the picture was rendered with.
    for label, truth in {"yellow cup": (316, 189, 391, 268), "black box": (307, 107, 442, 205)}.items():
        assert np.abs(np.subtract(boxes[label], truth)).max() <= 12
    far = session.ask(desk, "How far is the yellow cup from the camera?", camera=DESK_CAMERA)
    assert float(far.verdict.removesuffix(" m")) == pytest.approx(1.16, rel=0.1)
    count = session.ask(desk, "图中有几个杯子?")
    assert (count.verdict, len(count.objects), count.language) == ("2", 2, "zh")
    assert session.ask(desk, "Is the red cup left of the black router?").verdict == "absent"
    assert session.locate(desk, "phone").absent


@pytest.mark.parametrize(
    "size", [(256, 256), (768, 768), (768, 384), (384, 768), (512, 256), (3840, 2160), (2160, 3840), (60, 50)]
)
def test_every_size_is_read(session: Deixis, size: tuple[int, int]) -> None:
    with Image.open(EXAMPLES / "desk.png") as desk:
        picture = desk.convert("RGB").resize(size)
    found = session.locate(picture, "cups").to_json()
    for item in found["objects"]:
        x1, y1, x2, y2 = item["box_px"]
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
    assert found["objects"] or size == (60, 50)
    assert session.ask(picture, "What is the viewpoint?").verdict in ("oblique", "eye-level", "top-down")
