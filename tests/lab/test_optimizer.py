"""Muon's steps are orthogonal, fused maps turn separately, and both halves learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.lab.optimizer import MATCH_ADAMW, MuonAdamW, orthogonal

RATE = 0.02


class Toy(nn.Module):
    """A token table, a fused map, a norm and a head: every sort of parameter that nano has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(12, 16)
        self.qkv = nn.Linear(16, 48)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.embed_tokens(tokens)).chunk(3, -1)
        return self.head(self.norm(torch.sigmoid(q) * k + v))


def loss_of(model: Toy) -> Tensor:
    tokens = torch.arange(12)
    return F.cross_entropy(model(tokens), tokens * 5 % 4)


@pytest.mark.parametrize("shape", [(3, 24, 96), (3, 96, 24), (1, 320, 768), (2, 7, 300)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_values_come_near_one(shape: tuple[int, int, int], scale: float) -> None:
    batch = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(batch)
    assert found.shape == batch.shape and found.dtype == batch.dtype
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.25
    u, _, vh = torch.linalg.svd(batch, full_matrices=False)
    exact = u @ vh
    alike = (found * exact).sum((1, 2)) / found.norm(dim=(1, 2)) / exact.norm(dim=(1, 2))
    assert alike.min() > 0.97


def test_a_batch_is_as_good_as_one_by_one() -> None:
    batch = torch.randn(4, 8, 20, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(orthogonal(batch), torch.cat([orthogonal(one[None]) for one in batch]), atol=1e-5)


def test_zero_gradients_stay_zero() -> None:
    assert not orthogonal(torch.zeros(1, 4, 6)).any()


def test_it_learns_a_toy_problem() -> None:
    model = Toy()
    optimizer = MuonAdamW(model)
    first = loss_of(model).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step(RATE)
    assert loss_of(model).item() < 0.05 < 1 < first


def test_every_parameter_moves_and_gradients_are_cleared() -> None:
    model = Toy()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = MuonAdamW(model)
    loss_of(model).backward()
    optimizer.step(RATE)
    for name, p in model.named_parameters():
        assert not torch.equal(p, before[name]), name
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_fused_maps_turn_separately_and_steps_are_as_long_as_adamw_s() -> None:
    model = Toy()
    before = model.qkv.weight.detach().clone()
    optimizer = MuonAdamW(model, weight_decay=0.0)
    loss_of(model).backward()
    assert model.qkv.weight.grad is not None
    third = model.qkv.weight.grad[16:32].clone()
    optimizer.step(RATE)
    moved = (before - model.qkv.weight.detach()).chunk(3)
    expected = RATE * MATCH_ADAMW * 16**0.5 * orthogonal(third[None])[0]
    assert torch.allclose(moved[1], expected, atol=1e-6)


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    model = Toy()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = MuonAdamW(model, weight_decay=0.5)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step(RATE)
    for name, p in model.named_parameters():
        kept = 1 - RATE * 0.5 if p.ndim > 1 else 1.0
        assert torch.allclose(p, before[name] * kept), name
