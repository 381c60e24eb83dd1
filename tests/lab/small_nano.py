"""nano in miniature: its own tokenizer and files, random weights, a network that a test can afford."""

import dataclasses
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from deixis.backends.catalog import nano_directory
from deixis.lab.batch_render import Frames
from deixis.lab.data import Packed, write
from deixis.lab.nano import nano_config, write_companions
from deixis.lab.observe import Observation, observe, silhouette_arrays, silhouettes_of, stacked
from deixis.lab.truth import truth_of
from deixis.model import Processor, Qwen3VL, Qwen3VLConfig
from tests.lab.rendered import SEED, Shot

TOKENIZER = nano_directory() / "tokenizer.json"


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


def small_config() -> Qwen3VLConfig:
    whole = nano_config(tokenizer())
    text = dataclasses.replace(
        whole.text, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1
    )
    vision = dataclasses.replace(
        whole.vision,
        depth=2,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        out_hidden_size=48,
        deepstack_visual_indexes=(0,),
    )
    return dataclasses.replace(whole, text=text, vision=vision)


def small_model(seed: int = 0) -> Qwen3VL:
    """Random weights, large enough that every token seen shows in the logits."""
    model = Qwen3VL(small_config())
    model.init_weights(torch.Generator().manual_seed(seed), std=0.3)
    return model.eval()


def processor(directory: Path) -> Processor:
    """Reads the files that training writes beside the weights."""
    write_companions(directory, tokenizer())
    (directory / "config.json").write_text(json.dumps(small_config().to_dict()), encoding="utf-8")
    return Processor.from_directory(directory)


def measured(shots: list[Shot]) -> tuple[bytes, Observation]:
    """Truths without pixels as they travel between workers, and what was seen of the things."""
    truths = [truth_of(SEED, index, s.scene, s.view) for index, s in enumerate(shots)]
    outlines = silhouettes_of(stacked([silhouette_arrays(s.scene, s.view) for s in shots]))
    things, depth_m = (torch.stack([torch.from_numpy(getattr(s, name)) for s in shots]) for name in ("things", "depth_m"))
    return json.dumps(truths).encode(), observe(things, depth_m, outlines)


def asked(shots: list[Shot], tokens: int, seed: int = 1, only: tuple[str, ...] = ()) -> Packed:
    """Questions about the shots, packed as training packs them."""
    return write(*measured(shots), seed, str(TOKENIZER), tokens, only)


def plain_renderer(worlds: int = 4) -> Any:
    """Stands in for BatchRenderer: pictures of nothing, in a gray that follows from the camera."""

    def render(rows: dict[str, np.ndarray], size: tuple[int, int]) -> Frames:
        n = len(rows["size"])
        gray = torch.from_numpy(rows["eye_position"][:, :1] % 1)  # (n, 1)
        pixels = gray[:, :, None, None].expand(n, 3, size[1], size[0])
        return Frames(pixels, torch.full((n, size[1], size[0]), -1, dtype=torch.int8), torch.ones(n, size[1], size[0]))

    return SimpleNamespace(worlds=worlds, render=render)
