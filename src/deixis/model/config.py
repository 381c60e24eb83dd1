"""What a Qwen3-VL checkpoint's ``config.json`` says, as frozen values.

Knows the fields that change the network. Does not know tensors, files or tokenizers. A field that asks for something the
network does not do (another activation, dropout, an unknown rope) raises instead of being dropped.
Source: transformers 5.17 ``configuration_qwen3_vl.py`` and ``configuration_qwen3_vl_moe.py``, and the ``config.json`` of the
released checkpoints, which write ``rope_theta`` and ``rope_scaling`` where newer files write ``rope_parameters``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deixis.errors import CheckpointError

DENSE = "qwen3_vl"
MOE = "qwen3_vl_moe"
ARCHITECTURES = {DENSE: "Qwen3VLForConditionalGeneration", MOE: "Qwen3VLMoeForConditionalGeneration"}


@dataclass(frozen=True)
class YarnConfig:
    """Context extension by YaRN (https://arxiv.org/abs/2309.00071); names as in ``rope_scaling``."""

    factor: float
    original_max_position_embeddings: int
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True)
class VisionConfig:
    """The ViT. ``deepstack_visual_indexes`` are the blocks whose output is tapped, in order."""

    depth: int = 27
    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_heads: int = 16
    out_hidden_size: int = 3584
    deepstack_visual_indexes: tuple[int, ...] = (8, 16, 24)
    in_channels: int = 3
    patch_size: int = 16
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    num_position_embeddings: int = 2304
    rope_theta: float = 10_000.0

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def patch_dim(self) -> int:
        """Values in one flat patch: channels x frames x rows x columns."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def position_side(self) -> int:
        """Side of the square learned position table."""
        return math.isqrt(self.num_position_embeddings)


@dataclass(frozen=True)
class TextConfig:
    """The decoder. ``num_experts`` 0 means dense."""

    vocab_size: int = 151_936
    hidden_size: int = 4096
    intermediate_size: int = 22_016
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    max_position_embeddings: int = 128_000
    rms_norm_eps: float = 1e-6
    rope_theta: float = 500_000.0
    mrope_section: tuple[int, int, int] = (24, 20, 20)
    yarn: YarnConfig | None = None
    attention_bias: bool = False
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()

    def is_sparse(self, layer: int) -> bool:
        """Whether decoder layer ``layer`` (from 0) holds experts instead of one MLP."""
        return self.num_experts > 0 and layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0


@dataclass(frozen=True)
class Qwen3VLConfig:
    """A whole checkpoint's architecture."""

    text: TextConfig
    vision: VisionConfig
    image_token_id: int = 151_655
    video_token_id: int = 151_656
    vision_start_token_id: int = 151_652
    vision_end_token_id: int = 151_653
    tie_word_embeddings: bool = False
    fp8_block: tuple[int, int] | None = None  # rows, columns that share a scale, where the files hold float8 weights

    def __post_init__(self) -> None:
        _check_shapes(self)

    @property
    def model_type(self) -> str:
        """transformers' name of the architecture."""
        return MOE if self.text.num_experts else DENSE

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Qwen3VLConfig:
        """From the parsed ``config.json``. Raises CheckpointError for another architecture or an unsupported setting."""
        found = raw.get("model_type")
        if found not in ARCHITECTURES:
            raise CheckpointError(
                f"config.json has model_type {found!r}, expected one of {sorted(ARCHITECTURES)}: use a Qwen3-VL checkpoint"
            )
        return cls(
            text=_text_from_dict(_section(raw, "text_config"), sparse=found == MOE),
            vision=_vision_from_dict(_section(raw, "vision_config")),
            # Released files carry the flag again under text_config; the top one decides, as in transformers.
            tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
            fp8_block=_fp8_from_dict(raw.get("quantization_config")),
            **{name: int(raw[name]) for name in _TOKEN_FIELDS if name in raw},
        )

    def to_dict(self) -> dict[str, Any]:
        """A ``config.json`` that transformers and servers load, in the layout of the released checkpoints; never quantized."""
        kind = self.model_type
        return {
            "architectures": [ARCHITECTURES[kind]],
            "model_type": kind,
            "dtype": "bfloat16",
            "tie_word_embeddings": self.tie_word_embeddings,
            **{name: getattr(self, name) for name in _TOKEN_FIELDS},
            "text_config": _text_to_dict(self.text, f"{kind}_text", self.tie_word_embeddings),
            "vision_config": {
                "model_type": kind,
                "hidden_act": "gelu_pytorch_tanh",
                "initializer_range": 0.02,
                "deepstack_visual_indexes": list(self.vision.deepstack_visual_indexes),
                **{name: getattr(self.vision, name) for name in _VISION_INTS},
            },
        }


_TOKEN_FIELDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_VISION_INTS = (
    "depth",
    "hidden_size",
    "intermediate_size",
    "num_heads",
    "out_hidden_size",
    "in_channels",
    "patch_size",
    "temporal_patch_size",
    "spatial_merge_size",
    "num_position_embeddings",
)
_TEXT_INTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
_MOE_INTS = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step")
_YARN_FIELDS = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")


def _section(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = raw.get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(
            f"config.json has no {name!r} section, expected Qwen3-VL's nested layout: fetch the checkpoint again"
        )
    return section


def _require(section: Mapping[str, Any], where: str, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise where a setting that the network fixes has another value. Absent settings are fine."""
    for name, values in allowed.items():
        if name in section and section[name] not in values:
            raise CheckpointError(f"config.json {where}.{name} is {section[name]!r}, this network supports only {values[0]!r}")


def _fp8_from_dict(raw: Mapping[str, Any] | None) -> tuple[int, int] | None:
    if not raw:
        return None
    _require(raw, "quantization_config", {"quant_method": ("fp8",), "fmt": ("e4m3", "float8_e4m3fn")})
    rows, columns = raw.get("weight_block_size") or (128, 128)
    return int(rows), int(columns)


def _vision_from_dict(raw: Mapping[str, Any]) -> VisionConfig:
    _require(raw, "vision_config", {"hidden_act": ("gelu_pytorch_tanh",)})
    rope = raw.get("rope_parameters") or {}
    _require(rope, "vision_config.rope_parameters", {"rope_type": ("axial",)})
    fields: dict[str, Any] = {name: int(raw[name]) for name in _VISION_INTS if name in raw}
    if "deepstack_visual_indexes" in raw:
        fields["deepstack_visual_indexes"] = tuple(int(i) for i in raw["deepstack_visual_indexes"])
    return VisionConfig(rope_theta=float(rope.get("rope_theta", 10_000.0)), **fields)


def _text_from_dict(raw: Mapping[str, Any], *, sparse: bool) -> TextConfig:
    allowed: dict[str, tuple[Any, ...]] = {"hidden_act": ("silu",), "attention_dropout": (0, 0.0)}
    if sparse:
        allowed["norm_topk_prob"] = (True,)  # transformers' Qwen3-VL router always normalises
    _require(raw, "text_config", allowed)
    fields: dict[str, Any] = {name: int(raw[name]) for name in _TEXT_INTS if raw.get(name) is not None}
    heads = fields.setdefault("num_attention_heads", TextConfig.num_attention_heads)
    fields.setdefault("num_key_value_heads", heads)
    if sparse:
        fields.setdefault("head_dim", fields.get("hidden_size", TextConfig.hidden_size) // heads)
        for name in ("num_experts", "num_experts_per_tok", "moe_intermediate_size"):
            if name not in raw and not (name == "num_experts" and "num_local_experts" in raw):
                raise CheckpointError(f"config.json text_config lacks {name!r}, expected in a mixture-of-experts checkpoint")
        fields |= {name: int(raw[name]) for name in _MOE_INTS if name in raw}
        fields.setdefault("num_experts", int(raw.get("num_local_experts", 0)))
        fields["mlp_only_layers"] = tuple(int(i) for i in raw.get("mlp_only_layers") or ())
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("mrope", "default"):
        yarn = None
    elif kind == "yarn":
        yarn = _yarn_from_dict(rope, fields.get("max_position_embeddings", TextConfig.max_position_embeddings))
    else:
        raise CheckpointError(f"config.json text_config rope_type is {kind!r}, this network supports 'default' and 'yarn'")
    if not rope.get("mrope_interleaved", True):
        raise CheckpointError("config.json text_config mrope_interleaved is false, Qwen3-VL interleaves: fetch it again")
    section = tuple(int(i) for i in rope.get("mrope_section", TextConfig.mrope_section))
    if len(section) != 3:
        raise CheckpointError(f"config.json mrope_section has {len(section)} entries, expected 3 (time, height, width)")
    return TextConfig(
        rms_norm_eps=float(raw.get("rms_norm_eps", TextConfig.rms_norm_eps)),
        rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", TextConfig.rope_theta))),
        mrope_section=(section[0], section[1], section[2]),
        yarn=yarn,
        attention_bias=bool(raw.get("attention_bias", False)),
        **fields,
    )


def _yarn_from_dict(rope: Mapping[str, Any], max_positions: int) -> YarnConfig:
    original = int(rope.get("original_max_position_embeddings") or max_positions)
    factor = rope.get("factor")
    extra = {name: rope[name] for name in _YARN_FIELDS if rope.get(name) is not None}
    return YarnConfig(
        factor=float(factor) if factor is not None else max_positions / original,
        original_max_position_embeddings=original,
        **extra,
    )


def _text_to_dict(text: TextConfig, model_type: str, tied: bool) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": list(text.mrope_section)}
    if text.yarn is not None:
        rope |= {
            "rope_type": "yarn",
            "factor": text.yarn.factor,
            "original_max_position_embeddings": text.yarn.original_max_position_embeddings,
            **{name: value for name in _YARN_FIELDS if (value := getattr(text.yarn, name)) is not None},
        }
    raw: dict[str, Any] = {
        "model_type": model_type,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "dtype": "bfloat16",
        "attention_bias": text.attention_bias,
        "attention_dropout": 0.0,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": text.rope_theta,
        "rope_scaling": rope,
        "tie_word_embeddings": tied,
        **{name: getattr(text, name) for name in _TEXT_INTS},
    }
    if text.num_experts:
        raw |= {name: getattr(text, name) for name in _MOE_INTS}
        raw |= {"mlp_only_layers": list(text.mlp_only_layers), "norm_topk_prob": True}
    return raw


def _check_shapes(config: Qwen3VLConfig) -> None:
    text, vision = config.text, config.vision
    problems = {
        "text heads must be a multiple of key-value heads": text.num_attention_heads % text.num_key_value_heads,
        "text head_dim must be even": text.head_dim % 2,
        "vision hidden_size must be a multiple of num_heads": vision.hidden_size % vision.num_heads,
        "vision head_dim must be a multiple of 4": vision.head_dim % 4,
        "num_position_embeddings must be a square": vision.num_position_embeddings - vision.position_side**2,
        "vision out_hidden_size must equal text hidden_size": vision.out_hidden_size - text.hidden_size,
        "mrope_section must sum to half of head_dim": sum(text.mrope_section) - text.head_dim // 2,
        "deepstack taps must be blocks of the ViT": any(not 0 <= i < vision.depth for i in vision.deepstack_visual_indexes),
        "there are more deepstack taps than decoder layers": len(vision.deepstack_visual_indexes) > text.num_hidden_layers,
        "num_experts_per_tok must be within num_experts": text.num_experts > 0
        and not 0 < text.num_experts_per_tok <= text.num_experts,
    }
    broken = [what for what, wrong in problems.items() if wrong]
    if broken:
        raise CheckpointError(f"config.json is inconsistent: {'; '.join(broken)}")
