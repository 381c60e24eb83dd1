"""Every parameter name and shape of the released sizes equals transformers', on the meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen3VLConfig, Qwen3VLMoeConfig

from deixis.model import Qwen3VLConfig as OurConfig
from deixis.model import empty_model
from deixis.model.weights import file_name_of, internal_name

# layers, hidden, mlp, heads, kv heads, tied, ViT (depth, hidden, mlp), DeepStack taps, expert mlp (0: dense)
SIZES: dict[str, tuple[int, int, int, int, int, bool, tuple[int, int, int], list[int], int]] = {
    "2B": (28, 2048, 6144, 16, 8, True, (24, 1024, 4096), [5, 11, 17], 0),
    "4B": (36, 2560, 9728, 32, 8, True, (24, 1024, 4096), [5, 11, 17], 0),
    "8B": (36, 4096, 12288, 32, 8, False, (27, 1152, 4304), [8, 16, 24], 0),
    "32B": (64, 5120, 25600, 64, 8, False, (27, 1152, 4304), [8, 16, 24], 0),
    "30B-A3B": (48, 2048, 6144, 32, 4, False, (27, 1152, 4304), [8, 16, 24], 768),
    "235B-A22B": (94, 4096, 12288, 64, 4, False, (27, 1152, 4304), [8, 16, 24], 1536),
}


def config_dict(size: str) -> dict[str, Any]:
    """``config.json`` of a released size, as far as it concerns the network."""
    layers, hidden, mlp, heads, kv, tied, (depth, vit, vit_mlp), taps, expert_mlp = SIZES[size]
    kind = "qwen3_vl_moe" if expert_mlp else "qwen3_vl"
    moe = {
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": expert_mlp,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    }
    return {
        "model_type": kind,
        "tie_word_embeddings": tied,
        "image_token_id": 151655,
        "video_token_id": 151656,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "text_config": {
            "model_type": f"{kind}_text",
            "vocab_size": 151936,
            "hidden_size": hidden,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv,
            "head_dim": 128,
            "hidden_act": "silu",
            "attention_bias": False,
            "max_position_embeddings": 262144,
            "rms_norm_eps": 1e-6,
            "rope_theta": 5000000,
            "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [24, 20, 20]},
            "tie_word_embeddings": tied,
            **(moe if expert_mlp else {}),
        },
        "vision_config": {
            "model_type": kind,
            "depth": depth,
            "hidden_size": vit,
            "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": vit_mlp,
            "num_heads": 16,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": taps,
        },
    }


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_equal_transformers(size: str) -> None:
    raw = config_dict(size)
    ours = {file_name_of(name): tuple(p.shape) for name, p in empty_model(OurConfig.from_dict(raw)).named_parameters()}
    kind = Qwen3VLMoeConfig if "moe" in raw["model_type"] else Qwen3VLConfig
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(kind(**raw))
    assert ours == {name: tuple(p.shape) for name, p in model.named_parameters()}


def test_names_map_both_ways() -> None:
    model = empty_model(OurConfig.from_dict(config_dict("8B")))
    assert all(internal_name(file_name_of(name)) == name for name, _ in model.named_parameters())
    assert internal_name("model.audio.weight") is None


@pytest.mark.parametrize(("size", "billions"), [("2B", 2.13), ("8B", 8.77), ("30B-A3B", 31.07), ("235B-A22B", 235.7)])
def test_sizes_are_what_their_names_say(size: str, billions: float) -> None:
    count = sum(p.numel() for p in empty_model(OurConfig.from_dict(config_dict(size))).parameters())
    assert count / 1e9 == pytest.approx(billions, rel=0.01)
