"""The decoder: embeddings and three-axis positions to hidden states, with DeepStack features added in its first layers.

Knows embeddings, positions and caches. Does not know pixels, sampling or files.
Source: transformers 5.17 ``Qwen3VLTextModel``. Attention is a callable, so that training, serving and tests may bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.model.cache import KVCache, LayerCache
from deixis.model.config import TextConfig
from deixis.model.layers import RMSNorm
from deixis.model.moe import SparseMLP
from deixis.model.rope import MRope, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q (b, heads, t, head_dim), k and v (b, kv_heads, s, head_dim), s >= t -> (b, heads, t, head_dim)."""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend to all earlier tokens; the last query belongs to the last key. Shapes as in ``Attend``."""
    t, s = q.shape[2], k.shape[2]
    if t == s or t == 1:
        return F.scaled_dot_product_attention(q, k, v, is_causal=t > 1, enable_gqa=True)
    mask = torch.ones(t, s, dtype=torch.bool, device=q.device).tril(s - t)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


class TextAttention(nn.Module):
    """Grouped-query attention with per-head norms on queries and keys."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        inner, shared, bias = (
            config.num_attention_heads * config.head_dim,
            config.num_key_value_heads * config.head_dim,
            config.attention_bias,
        )
        self.q_proj = nn.Linear(config.hidden_size, inner, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, shared, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, shared, bias=bias)
        self.o_proj = nn.Linear(inner, config.hidden_size, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, cache: LayerCache | None) -> Tensor:
        """(b, t, hidden), cos and sin (b, 1, t, head_dim/2) -> (b, t, hidden)."""
        b, t, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, t, -1, self.head_dim)).transpose(1, 2)  # (b, heads, t, head_dim)
        k = self.k_norm(self.k_proj(x).view(b, t, -1, self.head_dim)).transpose(1, 2)  # (b, kv_heads, t, head_dim)
        v = self.v_proj(x).view(b, t, -1, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.append(k, v)
        out = attend(q, k, v).transpose(1, 2).reshape(b, t, -1)
        return self.o_proj(out)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden) -> same."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """One pre-norm block: attention, then an MLP or experts."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = TextAttention(config)
        self.mlp: nn.Module = SparseMLP(config) if config.is_sparse(layer) else MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend = causal_attention, cache: LayerCache | None = None
    ) -> Tensor:
        """(b, t, hidden) -> same."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, attend, cache)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class TextModel(nn.Module):
    """Token table, decoder layers and the last norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rope = MRope(config)

    def forward(
        self,
        embeds: Tensor,
        positions: Tensor,
        *,
        visual_index: Tensor | None = None,
        deepstack: Sequence[Tensor] | None = None,
        cache: KVCache | None = None,
        attend: Attend = causal_attention,
    ) -> Tensor:
        """Hidden states (b, t, hidden) after the last norm.

        ``embeds`` (b, t, hidden); ``positions`` (3, b, t) int64; ``deepstack[i]`` (visual tokens, hidden) is added after layer i
        at the tokens ``visual_index`` (flat indices into b*t, in the order of the features).
        """
        cos, sin = self.rope(positions)
        x = embeds
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, attend, None if cache is None else cache.layers[i])
            if deepstack is not None and visual_index is not None and i < len(deepstack):
                x = x.flatten(0, 1).index_add(0, visual_index, deepstack[i].to(x.dtype)).view_as(x)
        return self.norm(x)  # type: ignore[no-any-return]
