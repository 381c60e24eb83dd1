"""The mixture-of-experts block that replaces the decoder's MLP in the MoE checkpoints.

Knows tokens and experts. Source: transformers 5.17 ``Qwen3VLMoeTextSparseMoeBlock`` (router probabilities over all experts in
float32, the best ``num_experts_per_tok`` renormalised to sum 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.model.config import TextConfig


class Router(nn.Module):
    """Which experts a token goes to, and with what weight."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.zeros(config.num_experts, config.hidden_size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, hidden) -> weights (n, k) summing to 1 in x's dtype, and expert numbers (n, k)."""
        scores = F.linear(x, self.weight)
        best, experts = scores.softmax(-1, dtype=torch.float32).topk(self.top_k, dim=-1)
        return (best / best.sum(-1, keepdim=True)).to(scores.dtype), experts


class Experts(nn.Module):
    """All experts' weights as two stacked tensors."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        n, inner, hidden = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.gate_up_proj = nn.Parameter(torch.zeros(n, 2 * inner, hidden))
        self.down_proj = nn.Parameter(torch.zeros(n, hidden, inner))

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """(n, hidden), weights and expert numbers (n, k) -> (n, hidden). Tokens are sorted by expert, so each one runs once."""
        order = experts.flatten().argsort(stable=True)  # (n*k,) token slots, grouped by expert
        tokens = order // experts.shape[1]
        counts = torch.bincount(experts.flatten(), minlength=len(self.gate_up_proj)).tolist()
        parts = torch.split(x[tokens], counts)
        out = []
        for expert, part in enumerate(parts):
            if part.shape[0] == 0:
                continue
            gate, up = F.linear(part, self.gate_up_proj[expert]).chunk(2, -1)
            out.append(F.linear(F.silu(gate) * up, self.down_proj[expert]))
        weighted = torch.cat(out) * weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(x).index_add(0, tokens, weighted.to(x.dtype))


class SparseMLP(nn.Module):
    """Router and experts."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, hidden) -> same."""
        flat = x.flatten(0, -2)
        weights, experts = self.gate(flat)
        return self.experts(flat, weights, experts).view_as(x)  # type: ignore[no-any-return]
