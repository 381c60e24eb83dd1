"""float8 weights: half of bfloat16's memory traffic when decoding, and twice its matrix rate on a Hopper GPU.

Knows matrices. Does not know steps or requests. Weights are E4M3 with a float32 scale per output channel. A few rows multiply the
weights alone in float8 (the activations stay as they are, `kernels/gemv.py`); many rows are quantised, too, each with a scale of
its own, where the GPU has such products. Embeddings, head, norms and ViT stay as they are. Block scales of released FP8
checkpoints are read as bfloat16 by `model/weights.py` and become scales per channel here: the numbers are rounded twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deixis.engine.network import Network, network_for
from deixis.engine.weights import Weight
from deixis.errors import OptionError
from deixis.model import Qwen3VL

E4M3 = torch.float8_e4m3fn
_LARGEST = torch.finfo(E4M3).max
_LEAST = 1e-12  # a row of zeros has a scale too
_HOPPER = (8, 9)  # the first compute capability with float8 products


class Fp8Weight:
    """A matrix (out, in) as E4M3 `numbers` and `scale` (out,) float32."""

    def __init__(self, weight: Tensor) -> None:
        self.numbers, self.scale = quantised(weight)
        self.shape = weight.shape

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, in) -> (n, out)."""
        if not self.multiplies(x):
            return F.linear(x, self.dequantized(x.dtype), bias)
        return self.scaled_product(*quantised(x), bias, x.dtype)

    def multiplies(self, x: Tensor) -> bool:
        """Whether this device multiplies float8 by float8 in these shapes."""
        if not x.is_cuda or x.dtype != torch.bfloat16 or any(size % 16 for size in self.shape):
            return False
        return torch.cuda.get_device_capability(x.device) >= _HOPPER

    def scaled_product(self, numbers: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The product of quantised rows, where the device `multiplies` them."""
        scales = scale.unsqueeze(1), self.scale.unsqueeze(0)
        return torch._scaled_mm(numbers, self.numbers.t(), *scales, bias=bias, out_dtype=dtype, use_fast_accum=True)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """(out, in): what the product multiplies by."""
        return (self.numbers.float() * self.scale.unsqueeze(1)).to(dtype)


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, size) as E4M3, and what each was divided by (n,) float32."""
    wide = x.detach().float()
    scale = wide.abs().amax(-1).clamp_(min=_LEAST) / _LARGEST
    return (wide / scale.unsqueeze(-1)).to(E4M3), scale


@torch.no_grad()
def fp8_network(model: Qwen3VL) -> Network:
    """A network with float8 weights in the decoder. `model` keeps its other weights; its decoder's matrices are let go.

    Raises OptionError for a mixture of experts.
    """
    if model.config.text.num_experts:
        raise OptionError("float8 weights are for dense networks; load this mixture of experts in bfloat16")
    network = network_for(model)
    layers: Any = model.language.layers
    for i, (block, layer) in enumerate(zip(network.blocks, layers, strict=True)):
        assert isinstance(block.mlp, tuple)
        gate_up, down = block.mlp
        qkv, out = (Fp8Weight(_matrix(weight)) for weight in (block.qkv, block.out))
        network.blocks[i] = replace(block, qkv=qkv, out=out, mlp=(Fp8Weight(_matrix(gate_up)), Fp8Weight(_matrix(down))))
        attention, mlp = layer.self_attn, layer.mlp
        for owner, names in ((attention, ("q_proj", "k_proj", "v_proj", "o_proj")), (mlp, ("gate_proj", "up_proj", "down_proj"))):
            for name in names:
                getattr(owner, name).weight = None
    return network


@torch.no_grad()
def round_weights(model: Qwen3VL) -> None:
    """Round the decoder's matrices to what `fp8_network` multiplies by: for measuring what that costs in accuracy, anywhere."""
    for name, parameter in model.language.named_parameters():
        if parameter.ndim == 2 and name.endswith("_proj.weight"):
            parameter.copy_(Fp8Weight(parameter).dequantized(parameter.dtype))


def _matrix(weight: Weight) -> Tensor:
    assert isinstance(weight, Tensor)
    return weight
