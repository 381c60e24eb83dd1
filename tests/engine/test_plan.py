"""The pieces that attention is cut into: run one by one they are the attention; shared beginnings are read once."""

import pytest
import torch
from torch import Tensor

from deixis.engine.ops import TorchOps
from deixis.engine.plan import BLOCK_KEYS, Plan, Shape, work_plan
from deixis.engine.step import Span
from tests.engine.steps import MIXES, PAGE, disjoint, random_cache, sharing

HEADS, KV_HEADS, SIZE = 4, 2, 8


def run(plan: Plan, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What a GPU makes of a plan, item by item, in plain words."""
    out = torch.full((len(q), HEADS, SIZE), float("nan"))
    partial: dict[int, tuple[Tensor, Tensor]] = {}
    for first, count, table, start, end, to in plan.items.tolist():
        rows = plan.row_list[first : first + count].tolist()
        at = torch.arange(start, end)
        slot = torch.as_tensor(plan.pages)[table + at // PAGE] * PAGE + at % PAGE
        k, v = (cache[slot].repeat_interleave(HEADS // KV_HEADS, 1) for cache in (keys, values))
        for i, row in enumerate(rows):
            scores = torch.einsum("hd,thd->ht", q[row], k) / SIZE**0.5
            scores[:, at >= int(plan.limits[row])] = -torch.inf
            total = scores.logsumexp(-1)
            seen = torch.einsum("ht,thd->hd", (scores - total.clamp(min=-1e30)[:, None]).exp(), v)
            if to < 0:
                assert out[row].isnan().all(), "written twice"
                out[row] = seen
            else:
                assert to + i not in partial
                partial[to + i] = seen, total
    assert len(partial) == plan.partials
    for row in range(len(q)):
        parts = [partial[int(p)] for p in plan.parts[plan.part_starts[row] : plan.part_starts[row + 1]]]
        if parts:
            assert out[row].isnan().all(), "written at once and in parts"
            weights = torch.stack([total for _, total in parts]).softmax(0)
            out[row] = sum(weight[:, None] * seen for weight, (seen, _) in zip(weights, parts, strict=True))
    return out.flatten(1)


@pytest.mark.parametrize("shape", [Shape(KV_HEADS, 8, 264), Shape(KV_HEADS, 32, 264), Shape(KV_HEADS, 4, 4)], ids=str)
@pytest.mark.parametrize("name", MIXES)
def test_the_pieces_are_the_attention(name: str, shape: Shape) -> None:
    spans = MIXES[name]
    keys, values = random_cache(spans, KV_HEADS, SIZE, torch.float32)
    q = torch.randn(sum(span.count for span in spans), HEADS, SIZE, generator=torch.Generator().manual_seed(1))
    plan = work_plan(spans, PAGE, shape)
    expected = TorchOps().attend(q, keys, values, spans, [torch.tensor(span.pages) for span in spans], PAGE)
    torch.testing.assert_close(run(plan, q, keys, values), expected, atol=2e-6, rtol=1e-5)
    assert (plan.items[:, 1] <= shape.tile_rows).all()


def test_a_common_beginning_is_read_once() -> None:
    plan = work_plan(sharing(60, [(3, 1)] * 32), PAGE, Shape(8, 32))
    read = int((plan.items[:, 4] - plan.items[:, 3]).sum())
    assert read == 60 * PAGE + 32 * 4


def test_pictures_behind_one_system_prompt_are_each_shared() -> None:
    head = list(range(10))
    spans = [Span(900, 1, [*head, *range(100 * p, 100 * p + 40), 1000 + 20 * i + p, *range(2000, 2010)])
             for i in range(4) for p in (1, 2)]  # fmt: skip
    plan = work_plan(spans, PAGE, Shape(8, 32))
    read = int((plan.items[:, 4] - plan.items[:, 3]).sum())
    assert read == 10 * PAGE + 2 * 40 * PAGE + 8 * (901 - 50 * PAGE)


def test_one_long_stream_keeps_a_gpu_busy() -> None:
    plan = work_plan(disjoint([(5000, 1)]), PAGE, Shape(8, 32))
    lengths = plan.items[:, 4] - plan.items[:, 3]
    assert 24 <= len(plan.items) <= 33
    assert lengths.max() <= 5001 / 33 + 2 * BLOCK_KEYS


def test_rows_enough_are_not_cut() -> None:
    assert work_plan(disjoint([(1000, 1)] * 64), PAGE, Shape(8, 32)).partials == 0
