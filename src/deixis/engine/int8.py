"""int8 weights for decoding on a CPU: a quarter of float32's memory traffic, which is what bounds it.

Knows matrices and PyTorch's packed int8 products (FBGEMM, x86). Does not know steps or requests.

Weight-only: a weight has 8 bits with a scale per output channel, activations keep 14. FBGEMM multiplies 8 by 8 bits, and on
processors without VNNI no more than 7 by 8 without overflow, so each row of activations goes in as two digits of base 126, one
row each. For a few rows the weights' traffic decides and the second digit is free; for hundreds of rows it costs as much as
float32. All else (norms, embeddings, positions, attention, keys and values) is float32, which every CPU computes well; many only
emulate bfloat16, at a tenth of the speed.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deixis.engine.network import Network
from deixis.engine.weights import Weight
from deixis.errors import OptionError
from deixis.model import Qwen3VL

_ENGINE = "fbgemm"
_LARGEST = 127  # of a weight
_DIGIT = 63  # the largest digit of an activation: 63 + 64 and 63 - 126 fit into 7 bits, and pairs of products into 16
_BASE = 2 * _DIGIT
_LEAST = 1e-30  # a row of zeros has a scale too
_BLOCK_ROWS = 256  # of a weight that are quantised at a time: the float32 copy stays in a processor's cache


def can_pack_int8() -> bool:
    """Whether this processor and this PyTorch have the packed products."""
    return _ENGINE in torch.backends.quantized.supported_engines


class Int8Weight:
    """A matrix (out, in) as int8 with a float32 scale per row, packed for products. Raises OptionError where none are."""

    def __init__(self, weight: Tensor) -> None:
        if not can_pack_int8():
            raise OptionError("int8 weights need an x86 processor and a PyTorch with FBGEMM; use bfloat16 or float32 here")
        self.shape = weight.shape
        numbers = torch.empty(weight.shape, dtype=torch.int8)
        scales = torch.empty(len(weight))
        for first in range(0, len(weight), _BLOCK_ROWS):
            part = slice(first, first + _BLOCK_ROWS)
            wide = weight[part].detach().to(torch.float32, copy=True)
            scales[part] = wide.abs().amax(1).clamp(min=_LEAST) / _LARGEST
            numbers[part] = wide.mul_(scales[part, None].reciprocal()).round_()
        self._packed = _pack(numbers, scales)

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, in) -> (n, out)."""
        wide = x.float()
        scale = wide.abs().amax(-1, keepdim=True).clamp_(min=_LEAST).div_(_DIGIT)  # (n, 1)
        exact = wide / scale
        high = exact.round()
        low = exact.sub_(high).mul_(_BASE).round_()
        digits = torch.cat((high, low))  # (2 n, in), whole numbers
        both = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(digits, 1.0, _DIGIT + 1, self._packed)
        out = torch.add(both[: len(x)], both[len(x) :], alpha=1 / _BASE).mul_(scale)
        return (out if bias is None else out.add_(bias)).to(x.dtype)

    def dequantized(self) -> Tensor:
        """(out, in) float32: what the product multiplies by."""
        weight: Tensor = torch.ops.quantized.linear_unpack(self._packed)[0].dequantize()
        return weight


class Int8Linear(nn.Module):
    """`nn.Linear` on some output rows of an int8 weight, for whoever calls the model's own modules."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None, rows: slice = slice(None)) -> None:
        super().__init__()
        self._weight = weight
        self._rows = rows
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        out = self._weight.product(x.flatten(0, -2))[:, self._rows]
        return (out if self.bias is None else out + self.bias).view(*x.shape[:-1], -1)


@torch.no_grad()
def int8_network(model: Qwen3VL) -> Network:
    """A network with int8 weights in decoder, head and ViT, and float32 elsewhere. `model` becomes it, and works as before.

    Peak memory is the model as it was, plus its int8 weights and one matrix. Raises OptionError without packed products, for a
    model that is not on the CPU, and for a mixture of experts.
    """
    if model.device.type != "cpu" or model.config.text.num_experts:
        raise OptionError("int8 weights are for dense networks on the CPU; use bfloat16 or FP8 here")
    network = Network(model)
    layers: Any = model.language.layers
    for i, (block, layer) in enumerate(zip(network.blocks, layers, strict=True)):
        attention, mlp = layer.self_attn, layer.mlp
        assert isinstance(block.mlp, tuple)
        qkv = Int8Weight(_matrix(block.qkv))
        at = 0
        for name in ("q_proj", "k_proj", "v_proj"):
            plain = getattr(attention, name)
            size = len(plain.weight)
            setattr(attention, name, Int8Linear(qkv, _wide(plain.bias), slice(at, at + size)))
            at += size
        out = Int8Weight(attention.o_proj.weight)
        attention.o_proj = Int8Linear(out, _wide(attention.o_proj.bias))
        gate_up, down = (Int8Weight(_matrix(weight)) for weight in block.mlp)
        half = gate_up.shape[0] // 2
        mlp.gate_proj, mlp.up_proj = (Int8Linear(gate_up, None, rows) for rows in (slice(half), slice(half, None)))
        mlp.down_proj = Int8Linear(down, None)
        for norm in (layer.input_layernorm, layer.post_attention_layernorm, attention.q_norm, attention.k_norm):
            norm.float()
        network.blocks[i] = replace(
            block,
            norms=(layer.input_layernorm.weight, layer.post_attention_layernorm.weight),
            head_norms=(attention.q_norm.weight, attention.k_norm.weight),
            qkv=qkv,
            qkv_bias=_wide(block.qkv_bias),
            out=out,
            out_bias=_wide(block.out_bias),
            mlp=(gate_up, down),
        )
    head = Int8Weight(_matrix(network.head))
    network.head = head
    if not model.config.tie_word_embeddings:
        model.lm_head = Int8Linear(head, None)  # type: ignore[assignment]
    for parent in list(model.visual.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(Int8Weight(child.weight), _wide(child.bias)))
    model.float()
    return network


def _matrix(weight: Weight) -> Tensor:
    assert isinstance(weight, Tensor)
    return weight


def _wide(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach().float()


def _pack(numbers: Tensor, scales: Tensor) -> torch.ScriptObject:
    """FBGEMM's form of int8 `numbers` (out, in) with `scales` (out,)."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        with warnings.catch_warnings():
            # PyTorch means to retire tensors of quantised dtypes; FBGEMM's weights are packed from nothing else (2.13).
            warnings.filterwarnings("ignore", ".*quantized tensor creation functions", UserWarning)
            zeros = torch.zeros(len(scales), dtype=torch.int64)
            quantized = torch._make_per_channel_quantized_tensor(numbers, scales.double(), zeros, 0)
            packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantized, None)
            return packed
    finally:
        torch.backends.quantized.engine = before
