"""The text that nano's tokenizer is trained on: questions and answers of all worlds, rendered small on the CPU or a GPU.

Knows where text comes from. Does not know tokenizers.
"""

import json
from collections.abc import Iterator

import numpy as np

from deixis.lab.batch_render import BatchRenderer
from deixis.lab.data import draw
from deixis.lab.observe import observe, silhouettes_of
from deixis.lab.questions import ask_everything
from deixis.lab.truth import observed
from deixis.lab.video.case import case_of
from deixis.lab.video.questions import ask_about
from deixis.lab.worlds import WORLDS

SIZE = (256, 256)
PICTURES_A_CLIP = 32


def corpus(pictures: int, seed: int, device: str = "cpu") -> Iterator[str]:
    """Prompts and answers of ``pictures`` pictures of each world, then of a video for every PICTURES_A_CLIP of them."""
    renderer = BatchRenderer(32, [SIZE], device)
    for world in WORLDS:
        for first in range(0, pictures, 32):
            drawn = draw(world, seed, first, 32, 2, SIZE)
            frames = renderer.render(drawn.rows, SIZE)
            seen = observe(frames.things, frames.depth_m, silhouettes_of(drawn.silhouettes, frames.things.device))
            for row, truth in enumerate(json.loads(drawn.truths)):
                for question in ask_everything(observed(truth, seen, row), np.random.default_rng([seed, first, row]), per_kind=2):
                    yield question.prompt
                    yield question.answer
    for index in range(pictures // PICTURES_A_CLIP):
        for question in ask_about(case_of(seed, index), np.random.default_rng([seed, index, 3])):
            yield question.prompt
            yield question.answer
