"""The whole network: ViT, decoder and output head.

Knows how visual features enter the token stream. Does not know files, text or sampling.
Source: transformers 5.17 ``Qwen3VLForConditionalGeneration``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.model.cache import KVCache
from deixis.model.config import Qwen3VLConfig
from deixis.model.inputs import ModelInput, VisualFeatures
from deixis.model.layers import LayerNorm, RMSNorm, fill_normal
from deixis.model.moe import Experts, Router
from deixis.model.text import Attend, TextModel, causal_attention
from deixis.model.vision import VisionModel


class Qwen3VL(nn.Module):
    """Qwen3-VL, dense or mixture of experts. With tied embeddings there is no ``lm_head``."""

    # Prefix in a checkpoint file -> prefix here. Everything else has the same name in both.
    WEIGHT_PREFIXES: ClassVar[dict[str, str]] = {
        "model.visual.": "visual.",
        "model.language_model.": "language.",
        "lm_head.": "lm_head.",
    }

    def __init__(self, config: Qwen3VLConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionModel(config.vision)
        self.language = TextModel(config.text)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.language.embed_tokens.weight.dtype

    def embed(self, input_ids: Tensor) -> Tensor:
        """(..., t) int64 -> (..., t, hidden)."""
        return self.language.embed_tokens(input_ids)  # type: ignore[no-any-return]

    def place(self, embeds: Tensor, visual_index: Tensor, merged: Tensor) -> Tensor:
        """Put visual features (visual tokens, hidden) at flat places ``visual_index`` of ``embeds`` (b, t, hidden)."""
        return embeds.flatten(0, 1).index_copy(0, visual_index, merged.to(embeds.dtype)).view_as(embeds)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden) -> (..., vocab)."""
        if not self.config.tie_word_embeddings:
            return self.lm_head(hidden)  # type: ignore[no-any-return]
        return F.linear(hidden, self.language.embed_tokens.weight)

    def encode(self, inputs: ModelInput) -> VisualFeatures | None:
        """Features of all pictures and videos of ``inputs`` in the order of ``visual_index``; None where there are none."""
        given = [x for x in (inputs.patches, inputs.video_patches) if x is not None]
        if not given:
            return None
        merged, deepstack = self.visual(torch.cat(given), inputs.image_grids + inputs.video_grids)
        return VisualFeatures(merged, tuple(deepstack))

    def forward(
        self,
        inputs: ModelInput,
        *,
        features: VisualFeatures | None = None,
        cache: KVCache | None = None,
        attend: Attend = causal_attention,
    ) -> Tensor:
        """Hidden states (1, t, hidden) of one conversation; ``features`` from ``encode`` spare the ViT."""
        features = features if features is not None else self.encode(inputs)
        embeds = self.embed(inputs.input_ids).unsqueeze(0)
        positions = inputs.positions.unsqueeze(1)
        if features is None:
            return self.language(embeds, positions, cache=cache, attend=attend)  # type: ignore[no-any-return]
        embeds = self.place(embeds, inputs.visual_index, features.merged)
        return self.language(  # type: ignore[no-any-return]
            embeds, positions, visual_index=inputs.visual_index, deepstack=features.deepstack, cache=cache, attend=attend
        )

    def init_weights(self, generator: torch.Generator, std: float = 0.02) -> None:
        """Fresh weights for training from scratch: N(0, std²), norms one, biases zero.

        Projections that write into the residual stream are narrower by sqrt(2 * layers) (GPT-2), so that its variance does not
        grow with depth.
        """
        narrow = {"attn.proj": self.config.vision.depth, "mlp.linear_fc2": self.config.vision.depth}
        narrow |= {"self_attn.o_proj": self.config.text.num_hidden_layers, "mlp.down_proj": self.config.text.num_hidden_layers}
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Conv3d | nn.Embedding | Router):
                depth = next((layers for end, layers in narrow.items() if name.endswith(end)), 0)
                fill_normal(module.weight, std / (2 * depth) ** 0.5 if depth else std, generator)
            elif isinstance(module, Experts):
                fill_normal(module.gate_up_proj, std, generator)
                fill_normal(module.down_proj, std / (2 * self.config.text.num_hidden_layers) ** 0.5, generator)
            elif isinstance(module, RMSNorm | LayerNorm):
                nn.init.ones_(module.weight)
            bias = getattr(module, "bias", None)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
