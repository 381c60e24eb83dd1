"""The CPU's operations against the reference, one by one and in a whole network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deixis.engine.cpu_ops import CpuOps
from deixis.engine.network import Network
from deixis.engine.ops import TorchOps
from deixis.engine.step import Step
from deixis.model import open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.engine.steps import MIXES, PAGE, pages_of, slots


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7])
def test_each_operation_equals_the_reference(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    fast, slow = CpuOps(), TorchOps()
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    x, y, weight, norm = drawn(rows, 24), drawn(rows, 16), drawn(24, 16), drawn(24)
    torch.testing.assert_close(fast.rms_norm(x, norm, 1e-6), slow.rms_norm(x, norm, 1e-6), **near)
    torch.testing.assert_close(fast.silu_mul(x.clone()), slow.silu_mul(x), **near)
    torch.testing.assert_close(fast.add_linear(x.clone(), y, weight), slow.add_linear(x, y, weight), **near)
    qkv, norms = drawn(rows, (4 + 2 * 2) * 8), (drawn(8), drawn(8))
    angles = torch.rand(rows, 4, generator=generator) * 6
    places = torch.randperm(32, generator=generator)[:rows]
    found = []
    for ops in (fast, slow):
        keys, values = (torch.zeros(32, 2, 8, dtype=dtype) for _ in range(2))
        q = ops.place_qkv(qkv.clone(), norms, 1e-6, angles.cos(), angles.sin(), keys, values, places)
        found.append((q, keys, values))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **near)


@torch.inference_mode()
@pytest.mark.parametrize("mix", MIXES)
def test_a_step_equals_the_reference(mix: str, tmp_path: Path) -> None:
    model = open_checkpoint(write_checkpoint(tmp_path)).model
    spans = MIXES[mix]
    rows = sum(span.count for span in spans)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 300, (rows,), generator=generator)
    positions = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1)
    step = Step(spans, ids, positions, slots(spans), torch.arange(rows))
    hidden = []
    for ops in (CpuOps(), TorchOps()):
        network = Network(model, ops)
        kv = network.pages(pages_of(spans), PAGE)
        kv.keys.normal_(generator=torch.Generator().manual_seed(2))
        kv.values.normal_(generator=torch.Generator().manual_seed(3))
        hidden.append(network.forward(step, kv))
    torch.testing.assert_close(*hidden, rtol=1e-4, atol=1e-4)
