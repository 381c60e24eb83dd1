"""Checkpoints of the real shapes with random weights, made on the spot: speed does not depend on what a network has learnt.

Knows layer sizes, a byte-level tokenizer and the files that peers read. Does not know how anything is measured.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from deixis.backends.catalog import nano_directory
from deixis.errors import OptionError
from deixis.model import (
    ChatTemplate,
    Checkpoint,
    Processor,
    Qwen3VL,
    Qwen3VLConfig,
    TextConfig,
    VisionConfig,
    builtin_template,
    empty_model,
    open_checkpoint,
)
from deixis.model import Tokenizer as ModelTokenizer

# Text hidden, mlp, layers, heads; tied; ViT depth, hidden, mlp, taps (FACTS: the released checkpoints).
_SIZES: dict[str, tuple[int, int, int, int, bool, int, int, int, tuple[int, ...]]] = {
    "2B": (2048, 6144, 28, 16, True, 24, 1024, 4096, (5, 11, 17)),
    "4B": (2560, 9728, 36, 32, True, 24, 1024, 4096, (5, 11, 17)),
    "8B": (4096, 12288, 36, 32, False, 27, 1152, 4304, (8, 16, 24)),
}
SHAPES = ("nano", *_SIZES)
_PLAIN_IDS = 151_643
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_BLOCK = 2**20
_STD = 0.02


def config_of(shape: str) -> Qwen3VLConfig:
    """The architecture of a size. Raises OptionError for an unknown one."""
    if shape not in _SIZES:
        raise OptionError(f"model shape is {shape!r}, expected one of {', '.join(SHAPES)}")
    hidden, mlp, layers, heads, tied, depth, vision, vision_mlp, taps = _SIZES[shape]
    text = TextConfig(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        max_position_embeddings=262_144,
        rope_theta=5_000_000.0,
    )
    sight = VisionConfig(
        depth=depth, hidden_size=vision, intermediate_size=vision_mlp, out_hidden_size=hidden, deepstack_visual_indexes=taps
    )
    return Qwen3VLConfig(text, sight, tie_word_embeddings=tied)


def checkpoint_of(shape: str, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """nano itself, or random weights of a size, on a device. Raises OptionError for an unknown size."""
    if shape == "nano":
        return open_checkpoint(nano_directory(), device, dtype)
    config = config_of(shape)
    tokenizer = ModelTokenizer(json.loads(_tokenizer_text()))
    processor = Processor(config, tokenizer, ChatTemplate.builtin())
    stop = tokenizer.token_id("<|im_end|>")
    assert stop is not None
    return Checkpoint(Path(shape), config, random_model(config, device, dtype), processor, frozenset({stop}))


@torch.no_grad()
def random_model(config: Qwen3VLConfig, device: torch.device, dtype: torch.dtype) -> Qwen3VL:
    """Random weights, norms one, biases zero. The same million numbers over and over: drawing two billion takes a minute."""
    model = empty_model(config).to(dtype).to_empty(device=device)
    block = torch.empty(_BLOCK, device=device).normal_(0, _STD, generator=torch.Generator(device).manual_seed(0)).to(dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 1:
            parameter.zero_()
            continue
        for piece in torch.split(parameter.view(-1), _BLOCK):
            piece.copy_(block[: len(piece)])
    for module in model.modules():
        if type(module).__name__ in ("RMSNorm", "LayerNorm"):
            module.weight.fill_(1)  # type: ignore[operator]
    return model.eval()


def write_files(shape: str, directory: Path) -> Path:
    """A size's config, tokenizer and preprocessor files, for a peer that makes its own random weights; nano's folder itself."""
    if shape == "nano":
        return nano_directory()
    directory.mkdir(parents=True, exist_ok=True)
    patches: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    patches |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "processor_class": "Qwen3VLProcessor"}
    files: dict[str, dict[str, Any]] = {
        "config.json": config_of(shape).to_dict(),
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2TokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 262_144,
            "clean_up_tokenization_spaces": False,
        },
        "chat_template.json": {"chat_template": builtin_template()},
        "preprocessor_config.json": patches
        | {"size": {"longest_edge": 16_777_216, "shortest_edge": 65_536}, "image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": patches
        | {
            "size": {"longest_edge": 25_165_824, "shortest_edge": 4096},
            "video_processor_type": "Qwen3VLVideoProcessor",
            "fps": 2,
            "min_frames": 4,
            "max_frames": 768,
            "do_sample_frames": True,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(builtin_template(), encoding="utf-8")
    (directory / "tokenizer.json").write_text(_tokenizer_text(), encoding="utf-8")
    return directory


@cache
def _tokenizer_text() -> str:
    """A byte-level tokenizer with the released ones' ids for structure; every id in between has a name."""
    names = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    names["hi"] = len(names)
    for number in range(len(names), _PLAIN_IDS):
        names[f"<unused{number}>"] = number
    made = Tokenizer(models.BPE(vocab=names, merges=[("h", "i")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in _SPECIAL])
    text: str = made.to_str()
    return text
