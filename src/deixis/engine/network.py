"""A checkpoint's network laid out for serving: packed products, many sequences in one pass, keys and values in pages.

Knows weights and steps. Does not know requests. Equals `model.Qwen3VL` (test), whose weights it shares: packing turns the
model's own matrices into views of the packed ones, so that nothing is held twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from deixis.engine.ops import Attention, TorchOps
from deixis.engine.step import KVPages, Step
from deixis.engine.weights import Weight
from deixis.model import Grid, Qwen3VL, VisualFeatures
from deixis.model.checkpoint import FLOAT32_PARAMETERS
from deixis.model.moe import SparseMLP


@dataclass(frozen=True, eq=False)
class Block:
    """One decoder layer's weights. `mlp` is (gate and up, down), or the experts' module."""

    norms: tuple[Tensor, Tensor]
    head_norms: tuple[Tensor, Tensor]
    qkv: Weight
    qkv_bias: Tensor | None
    out: Weight
    out_bias: Tensor | None
    mlp: tuple[Weight, Weight] | SparseMLP


class Network:
    """One checkpoint, ready to run steps."""

    def __init__(self, model: Qwen3VL, ops: TorchOps | None = None) -> None:
        self.model = model
        self.config = model.config
        self.ops = ops if ops is not None else TorchOps()
        self.blocks = [_block(layer) for layer in model.language.layers]
        head: Any = model.language.embed_tokens if self.config.tie_word_embeddings else model.lm_head
        self.head: Weight = head.weight

    @property
    def capturable(self) -> bool:
        """Whether a pass asks the GPU for nothing in its midst, so that a graph can hold it."""
        return all(isinstance(block.mlp, tuple) or self.ops.groups_experts(block.mlp) for block in self.blocks)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def pages(self, count: int, page_tokens: int) -> KVPages:
        """Fresh room for so many pages."""
        return KVPages(self.config.text, count, self.device, self.model.dtype, page_tokens)

    def warm(self, kv: KVPages) -> None:
        """Whatever the first steps would otherwise wait for."""

    def see(self, patches: Tensor, grids: Sequence[Grid]) -> VisualFeatures:
        """The ViT's features of pictures and videos, one after another; `patches` (n, patch_dim)."""
        merged, deepstack = self.model.visual(patches, grids)
        return VisualFeatures(merged, tuple(deepstack))

    def forward(self, step: Step, kv: KVPages) -> Tensor:
        """Hidden states (w, hidden) of the wanted rows, after the last norm; keys and values of all rows are written."""
        step = step.to(self.device)
        if step.copies is not None:
            kv.copy(step.copies)
        return self.pass_over(step, self.ops.attention(step, kv, self.config.text), kv)

    def pass_over(self, step: Step, attention: Attention, kv: KVPages) -> Tensor:
        """`forward` with the attention planned. It reads no spans, only tensors of the step: a graph may hold it."""
        ops, eps = self.ops, self.config.text.rms_norm_eps
        language: Any = self.model.language
        table = language.embed_tokens.weight
        x, cos, sin = ops.begin(step.input_ids, step.positions, table, language.rope.tables(table.device))
        features = step.features
        if features is not None and step.visual_rows is not None:
            x = x.index_copy_(0, step.visual_rows, features.merged.to(x.dtype))
        for i, block in enumerate(self.blocks):
            keys, values = kv.keys[i], kv.values[i]
            qkv = ops.norm_linear(x, block.norms[0], eps, block.qkv, block.qkv_bias)
            seen = attention(qkv, block.head_norms, cos, sin, keys, values)
            x = ops.add_linear(x, seen, block.out)
            if block.out_bias is not None:
                x = x + block.out_bias
            if isinstance(block.mlp, tuple):
                gate_up, down = block.mlp
                x = ops.add_linear(x, ops.norm_gate_up(x, block.norms[1], eps, gate_up), down)
            else:
                x = x + ops.experts(ops.rms_norm(x, block.norms[1], eps), block.mlp)
            if features is not None and step.visual_rows is not None and i < len(features.deepstack):
                x = x.index_add_(0, step.visual_rows, features.deepstack[i].to(x.dtype))
        return ops.last_norm(x, step.wanted, language.norm.weight, eps) if len(step.wanted) else x[:0]

    def logits(self, hidden: Tensor) -> Tensor:
        """(w, hidden) -> (w, vocab) float32."""
        if not len(hidden):  # a part of a prompt: nobody's next token is asked for, and kernels take no empty rows
            return hidden.new_empty(0, self.config.text.vocab_size, dtype=torch.float32)
        return self.ops.scores(hidden, self.head)


def network_for(model: Qwen3VL) -> Network:
    """The fastest network for where the model's weights are.

    Triton kernels and CUDA graphs on an NVIDIA GPU with triton; int8 weights on a CPU for a dense model that is too large for
    float32 there (`model` then becomes that, too); else plain PyTorch.
    """
    if model.device.type == "cuda" and find_spec("triton") is not None:
        from deixis.engine.graphs import GraphNetwork

        return GraphNetwork(model)
    large = sum(parameter.numel() for parameter in model.parameters()) > FLOAT32_PARAMETERS
    if model.device.type == "cpu" and large and model.dtype == torch.bfloat16 and not model.config.text.num_experts:
        from deixis.engine.int8 import can_pack_int8, int8_network

        if can_pack_int8():
            return int8_network(model)
    return Network(model)


def _block(layer: Any) -> Block:
    attention = layer.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    bias = None if attention.q_proj.bias is None else _packed(projections, "bias")
    mlp = layer.mlp
    return Block(
        (layer.input_layernorm.weight, layer.post_attention_layernorm.weight),
        (attention.q_norm.weight, attention.k_norm.weight),
        _packed(projections, "weight"),
        bias,
        attention.o_proj.weight,
        attention.o_proj.bias,
        mlp if isinstance(mlp, SparseMLP) else (_packed((mlp.gate_proj, mlp.up_proj), "weight"), mlp.down_proj.weight),
    )


@torch.no_grad()
def _packed(layers: Sequence[nn.Module], name: str) -> Tensor:
    """The layers' tensors in one, of which each layer's own becomes a view."""
    parts = [getattr(layer, name) for layer in layers]
    first, ends = parts[0], itertools.accumulate(part.nbytes for part in parts)
    joined = all(part.data_ptr() == first.data_ptr() + end for part, end in zip(parts[1:], ends, strict=False))
    if joined and len({part.untyped_storage().data_ptr() for part in parts}) == 1:
        # Packed before, for another engine.
        shape = (sum(len(part) for part in parts), *first.shape[1:])
        return torch.as_strided(first.detach(), shape, first.stride(), first.storage_offset())
    whole = torch.cat([part.detach() for part in parts])
    for layer, view in zip(layers, torch.split(whole, [len(part) for part in parts]), strict=True):
        setattr(layer, name, nn.Parameter(view, requires_grad=False))
    return whole
