"""Tiny checkpoints, ours and transformers' reading of them. Built once for all tests of the room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    Qwen2VLImageProcessorPil,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.utils import logging

from deixis.model import Checkpoint, ModelInput, Qwen3VL, Qwen3VLConfig, builtin_template, open_checkpoint, save_checkpoint
from tests.model import tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny products are slower on two
    yield
    torch.set_num_threads(before)


class ImagesOnly(Qwen3VLProcessor):
    """transformers' processor without its video half, which needs torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> type:
        return type(argument)


@dataclass(frozen=True)
class Pair:
    """One checkpoint directory, read by this package and by transformers."""

    ours: Checkpoint
    theirs: Any
    their_processor: ImagesOnly

    def their_inputs(self, inputs: ModelInput) -> dict[str, torch.Tensor]:
        """Keyword arguments for transformers' forward and generate."""
        ids = inputs.input_ids[None]
        kinds = (ids == self.ours.config.image_token_id).int() + 2 * (ids == self.ours.config.video_token_id).int()
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds}
        if inputs.patches is not None:
            given |= {"pixel_values": inputs.patches, "image_grid_thw": torch.tensor(inputs.image_grids)}
        if inputs.video_patches is not None:
            given |= {"pixel_values_videos": inputs.video_patches, "video_grid_thw": torch.tensor(inputs.video_grids)}
        return given


def random_model(config: dict[str, Any], seed: int = 0) -> Qwen3VL:
    """A network with weights large enough that every part shows in the logits, norms and biases included."""
    model = Qwen3VL(Qwen3VLConfig.from_dict(config))
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator, std=0.3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
            elif "pos_embed" in name:
                parameter *= 3
    return model.eval()


@pytest.fixture(scope="session")
def make_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """Writes a tiny checkpoint with random weights and opens it twice."""
    logging.disable_progress_bar()

    def make(*, sparse: bool = False, **text: Any) -> Pair:
        directory: Path = tmp_path_factory.mktemp("checkpoint")
        config = tiny.config_dict(sparse=sparse, **text)
        tiny.write_processor(directory, config, builtin_template())
        save_checkpoint(directory, random_model(config), shard_bytes=60_000, dtype=torch.float32)
        kind = Qwen3VLMoeForConditionalGeneration if sparse else Qwen3VLForConditionalGeneration
        theirs, info = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
        assert not any(info.values()), info
        images = Qwen2VLImageProcessorPil.from_pretrained(directory)
        processor = ImagesOnly(images, AutoTokenizer.from_pretrained(directory), None, chat_template=builtin_template())
        return Pair(open_checkpoint(directory), theirs.eval(), processor)

    return make


@pytest.fixture(scope="session")
def dense(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


@pytest.fixture(scope="session")
def sparse(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(sparse=True)


@pytest.fixture(params=["dense", "sparse"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)
