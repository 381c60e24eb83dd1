"""A whole checkpoint of a few thousand random weights, as fast as a test likes it."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from deixis.model import Qwen3VL, Qwen3VLConfig, builtin_template, save_checkpoint
from tests.model import tiny


def write_checkpoint(directory: Path, *, seed: int = 0, card: dict[str, object] | None = None) -> Path:
    """Config, weights, tokenizer and template in `directory`; with `card`, a deixis.json too."""
    config = tiny.config_dict()
    tiny.write_processor(directory, config, builtin_template())
    model = Qwen3VL(Qwen3VLConfig.from_dict(config))
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator, std=0.15)
    with torch.no_grad():
        model.language.embed_tokens.weight.mul_(0.1)  # tied: a token must not simply call for itself
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases too, or the same token comes forever
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(directory, model, shard_bytes=60_000, dtype=torch.float32)
    if card is not None:
        (directory / "deixis.json").write_text(json.dumps(card), encoding="utf-8")
    return directory
