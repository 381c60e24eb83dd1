"""Muon for matrices and AdamW for the rest, batched over equal shapes.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) steps along the orthogonal part of the momentum;
scaled so that a step is as long as AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982), both share one rate.
"""

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Newton-Schulz quintic that drives singular values to about 1
MATCH_ADAMW = 0.2


class MuonAdamW:
    """Steps every parameter of ``model`` at the rate given to ``step``."""

    def __init__(self, model: nn.Module, weight_decay: float = 0.05) -> None:
        self.weight_decay = weight_decay
        matrices: dict[tuple[int, int], list[tuple[nn.Parameter, int]]] = {}
        others: list[nn.Parameter] = []
        for name, p in model.named_parameters():
            if p.ndim == 2 and "embed" not in name and "lm_head" not in name:
                fused = 3 if name.endswith("qkv.weight") else 1  # three maps in one tensor turn separately
                matrices.setdefault((p.shape[0] // fused, p.shape[1]), []).append((p, fused))
            else:
                others.append(p)
        self._groups = list(matrices.values())
        self._momenta: list[Tensor | None] = [None] * len(self._groups)
        decayed, free = [p for p in others if p.ndim > 1], [p for p in others if p.ndim <= 1]
        self._adam = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}], lr=0.0, betas=(0.9, 0.98)
        )

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        for k, members in enumerate(self._groups):
            grads = torch.stack([piece for p, fused in members for piece in p.grad.chunk(fused)])  # type: ignore[union-attr]
            momentum = self._momenta[k]
            if momentum is None:
                momentum = self._momenta[k] = torch.zeros_like(grads)
            momentum.lerp_(grads, 1 - MOMENTUM)
            update = orthogonal(grads.lerp(momentum, MOMENTUM))
            update *= rate * MATCH_ADAMW * max(update.shape[-2:]) ** 0.5
            pieces = iter(update)
            for p, fused in members:
                p.mul_(1 - rate * self.weight_decay)
                for piece in p.chunk(fused):
                    piece.sub_(next(pieces))

    def zero_grad(self) -> None:
        self._adam.zero_grad(set_to_none=True)
        for members in self._groups:
            for p, _ in members:
                p.grad = None


def orthogonal(batch: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) -> for each matrix about U V^T of its singular value decomposition.

    Five steps bring singular values to between 0.68 and 1.21, which is near enough for a direction; those below a hundredth of
    the matrix's norm stay smaller.
    """
    a, b, c = COEFFICIENTS
    x = batch.to(torch.bfloat16 if batch.is_cuda else batch.dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found.to(batch.dtype)
