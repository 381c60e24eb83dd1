"""A whole Qwen3-VL checkpoint small enough for tests: configs, a byte-level BPE, the files around them.

Everything follows from fixed seeds and texts, so that outputs recorded elsewhere fit. Imports no part of transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|box_start|>",
    "<|box_end|>",
]
NOT_SPECIAL = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
PLAIN_VOCAB = 400
VOCAB = PLAIN_VOCAB + len(SPECIAL) + len(NOT_SPECIAL)

# Qwen's pre-tokenizer, digits single.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CORPUS = [
    "user assistant system Locate every instance of the red cup. Report bbox coordinates in JSON format.",
    "Is the mouse left of the keyboard? yes no <0.2 seconds> <12.5 seconds> seconds",
    '[{"bbox_2d": [12, 34, 56, 78], "label": "blue book"}] the the there where what',
    "鼠标在键盘的左边吗?在图中找出所有的红色杯子。",
]


def token_id(name: str) -> int:
    """Id of a special or added token."""
    return PLAIN_VOCAB + [*SPECIAL, *NOT_SPECIAL].index(name)


def write_tokenizer(directory: Path) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``."""
    plain = tokenizers.Tokenizer(models.BPE())
    plain.normalizer = normalizers.NFC()
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    plain.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=PLAIN_VOCAB, initial_alphabet=alphabet, show_progress=False)
    plain.train_from_iterator(_CORPUS, trainer)
    assert plain.get_vocab_size() == PLAIN_VOCAB
    plain.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    plain.add_tokens([tokenizers.AddedToken(name, special=False, normalized=False) for name in NOT_SPECIAL])
    plain.save(str(directory / "tokenizer.json"))
    _write(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 4096,
            "clean_up_tokenization_spaces": False,
        },
    )


def config_dict(*, sparse: bool = False, **text: Any) -> dict[str, Any]:
    """A tiny ``config.json`` in the released checkpoints' layout. ``text`` overrides fields of ``text_config``."""
    kind = "qwen3_vl_moe" if sparse else "qwen3_vl"
    moe = {
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    return {
        "architectures": ["Qwen3VLMoeForConditionalGeneration" if sparse else "Qwen3VLForConditionalGeneration"],
        "model_type": kind,
        "tie_word_embeddings": not sparse,
        "image_token_id": token_id("<|image_pad|>"),
        "video_token_id": token_id("<|video_pad|>"),
        "vision_start_token_id": token_id("<|vision_start|>"),
        "vision_end_token_id": token_id("<|vision_end|>"),
        "text_config": {
            "model_type": f"{kind}_text",
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "intermediate_size": 56,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_theta": 5_000_000,
            "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [4, 2, 2]},
            "tie_word_embeddings": not sparse,
            **(moe if sparse else {}),
            **text,
        },
        "vision_config": {
            "model_type": kind,
            "depth": 5,
            "hidden_size": 32,
            "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": 48,
            "num_heads": 2,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2, 3],
        },
    }


IMAGE_LIMITS = {"shortest_edge": 4 * 1024, "longest_edge": 24 * 1024}
VIDEO_LIMITS = {"shortest_edge": 4 * 1024, "longest_edge": 24 * 1024}


def write_processor(directory: Path, config: dict[str, Any], template: str) -> None:
    """Everything but the weights."""
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory)
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    common = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    _write(
        directory / "preprocessor_config.json",
        common | {"size": IMAGE_LIMITS, "image_processor_type": "Qwen2VLImageProcessorFast"},
    )
    _write(
        directory / "video_preprocessor_config.json",
        common | {"size": VIDEO_LIMITS, "video_processor_type": "Qwen3VLVideoProcessor", "fps": 2},
    )
    _write(directory / "generation_config.json", {"eos_token_id": [token_id("<|im_end|>"), token_id("<|endoftext|>")]})
    _write(directory / "config.json", config)


def photo(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A picture with smooth regions, edges and a little noise: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(2 * np.pi * (rng.uniform(1, 6) * x + rng.uniform(1, 6) * y + rng.uniform())) for _ in range(3)]
    pixels = 128 + 90 * np.stack(waves, -1)
    top, left = int(height * rng.uniform(0.1, 0.5)), int(width * rng.uniform(0.1, 0.5))
    pixels[top : top + height // 3, left : left + width // 3] = rng.integers(0, 256, 3)
    return np.clip(np.rint(pixels + rng.normal(0, 6, pixels.shape)), 0, 255).astype(np.uint8)


def clip(frames: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A video: a picture that shifts: (frames, height, width, 3) uint8."""
    still = photo(height, width, seed)
    return np.stack([np.roll(still, 5 * i, axis=1) for i in range(frames)])


# Videos that transformers' own processor was run on: name -> frames (n, h, w, 3), their times.
VIDEOS: dict[str, tuple[NDArray[np.uint8], list[float]]] = {
    "even": (clip(4, 90, 120, 1), [0.0, 0.5, 1.0, 1.5]),
    "odd": (clip(5, 64, 96, 2), [10.0, 12.5, 15.0, 17.5, 20.0]),
    "tiny": (clip(2, 20, 50, 3), [0.0, 0.25]),
    "shrunk": (clip(6, 240, 180, 4), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
