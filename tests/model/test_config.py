"""config.json to frozen values and back; what the network cannot do is refused."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from deixis.errors import CheckpointError
from deixis.model import Qwen3VLConfig, YarnConfig
from tests.model import tiny

YARN = {"rope_type": "yarn", "mrope_section": [4, 2, 2], "factor": 4.0, "original_max_position_embeddings": 1024}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("rope", [{}, {"rope_scaling": YARN}])
def test_round_trip(sparse: bool, rope: dict[str, Any]) -> None:
    config = Qwen3VLConfig.from_dict(tiny.config_dict(sparse=sparse, **rope))
    assert Qwen3VLConfig.from_dict(config.to_dict()) == config
    assert (config.text.num_experts > 0) == sparse
    assert config.tie_word_embeddings != sparse


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_written_is_what_transformers_reads(sparse: bool) -> None:
    config = Qwen3VLConfig.from_dict(tiny.config_dict(sparse=sparse))
    raw = config.to_dict()
    theirs = (transformers.Qwen3VLMoeConfig if sparse else transformers.Qwen3VLConfig)(**raw)
    assert theirs.text_config.rope_parameters["rope_theta"] == config.text.rope_theta
    assert list(theirs.text_config.rope_parameters["mrope_section"]) == list(config.text.mrope_section)
    assert theirs.tie_word_embeddings == config.tie_word_embeddings
    for name in ("hidden_size", "head_dim", "num_key_value_heads", "vocab_size", *(["num_experts"] if sparse else [])):
        assert getattr(theirs.text_config, name) == getattr(config.text, name), name
    # and what transformers writes is read back to the same
    assert Qwen3VLConfig.from_dict(theirs.to_dict()) == config


def test_newer_rope_parameters_are_read() -> None:
    raw = tiny.config_dict()
    scaling = raw["text_config"].pop("rope_scaling")
    theta = raw["text_config"].pop("rope_theta")
    raw["text_config"]["rope_parameters"] = scaling | {"rope_theta": theta}
    assert Qwen3VLConfig.from_dict(raw) == Qwen3VLConfig.from_dict(tiny.config_dict())


def test_yarn_defaults() -> None:
    rope = {"rope_type": "yarn", "mrope_section": [4, 2, 2], "factor": 3.0}
    assert Qwen3VLConfig.from_dict(tiny.config_dict(rope_scaling=rope)).text.yarn == YarnConfig(3.0, 4096)


@pytest.mark.parametrize(
    ("where", "change", "told"),
    [
        ("", {"model_type": "qwen2_5_vl"}, "qwen2_5_vl"),
        ("", {"text_config": None}, "text_config"),
        ("", {"quantization_config": {"quant_method": "awq"}}, "awq"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act"),
        ("text_config", {"attention_dropout": 0.1}, "attention_dropout"),
        ("text_config", {"rope_scaling": {"rope_type": "longrope"}}, "longrope"),
        ("text_config", {"rope_scaling": {"mrope_interleaved": False}}, "mrope_interleaved"),
        ("text_config", {"rope_scaling": {"mrope_section": [4, 4]}}, "mrope_section"),
        ("text_config", {"rope_scaling": {"mrope_section": [4, 2, 3]}}, "mrope_section"),
        ("text_config", {"num_key_value_heads": 3}, "key-value heads"),
        ("vision_config", {"hidden_act": "relu"}, "hidden_act"),
        ("vision_config", {"out_hidden_size": 31}, "out_hidden_size"),
        ("vision_config", {"num_position_embeddings": 35}, "square"),
        ("vision_config", {"deepstack_visual_indexes": [0, 9]}, "deepstack"),
    ],
)
def test_refusals_name_the_field(where: str, change: dict[str, Any], told: str) -> None:
    raw = tiny.config_dict()
    (raw[where] if where else raw).update(change)
    with pytest.raises(CheckpointError, match=told):
        Qwen3VLConfig.from_dict(raw)


@pytest.mark.parametrize(
    ("change", "told"), [({"norm_topk_prob": False}, "norm_topk_prob"), ({"num_experts_per_tok": 9}, "within")]
)
def test_refusals_of_experts(change: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        Qwen3VLConfig.from_dict(tiny.config_dict(sparse=True, **change))


def test_experts_need_their_numbers() -> None:
    raw = tiny.config_dict(sparse=True)
    del raw["text_config"]["moe_intermediate_size"]
    with pytest.raises(CheckpointError, match="moe_intermediate_size"):
        Qwen3VLConfig.from_dict(raw)
