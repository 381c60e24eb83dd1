"""The network as a thing to train: fresh weights, mixed precision, compiled blocks, attention brought by the trainer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deixis.model
from deixis.model import Attend, Qwen3VL, Qwen3VLConfig, TextModel, VisionModel, causal_attention, patchify_batch
from tests.model import tiny

GRID = (1, 4, 6)
VISUAL = GRID[1] * GRID[2] // 4


def fresh(*, sparse: bool = False, seed: int = 0) -> Qwen3VL:
    model = Qwen3VL(Qwen3VLConfig.from_dict(tiny.config_dict(sparse=sparse)))
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def batch(size: int = 3, length: int = 20) -> tuple[Tensor, Tensor]:
    """Pictures (b, 3, 64, 96) in [-1, 1] and token ids (b, t)."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(size, 3, GRID[1] * 16, GRID[2] * 16, generator=generator) * 2 - 1
    return images, torch.randint(0, tiny.PLAIN_VOCAB, (size, length), generator=generator)


def loss(model: Qwen3VL, images: Tensor, ids: Tensor, attend: Attend = causal_attention) -> Tensor:
    """Next-token loss with each picture's tokens at places 1 … VISUAL of its row."""
    b, t = ids.shape
    merged, taps = model.visual(patchify_batch(images), [GRID] * b)
    places = (torch.arange(b)[:, None] * t + torch.arange(VISUAL) + 1).flatten()
    embeds = model.place(model.embed(ids), places, merged)
    positions = torch.arange(t).expand(3, b, t)
    hidden = model.language(embeds, positions, visual_index=places, deepstack=taps, attend=attend)
    logits = model.logits(hidden[:, VISUAL:-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, VISUAL + 1 :].flatten())


@pytest.mark.parametrize("sparse", [False, True])
def test_fresh_weights_are_sane_and_replayable(sparse: bool) -> None:
    model, twin, other = fresh(sparse=sparse), fresh(sparse=sparse), fresh(sparse=sparse, seed=1)
    for (name, p), q, r in zip(model.named_parameters(), twin.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name
        if p.ndim > 1:
            residual = any(part in name for part in ("o_proj", "down_proj", "attn.proj", "mlp.linear_fc2"))
            depth = 5 if "visual" in name else 4
            assert float(p.detach().std()) == pytest.approx(0.02 / (2 * depth) ** 0.5 if residual else 0.02, rel=0.1), name
            assert not torch.equal(p, r), name
        else:
            assert torch.equal(p, torch.full_like(p, 1.0 if "norm" in name and "weight" in name else 0.0)), name
    # Untrained, every token is as likely as every other.
    with torch.no_grad():
        assert loss(model, *batch()).item() == pytest.approx(torch.tensor(float(tiny.VOCAB)).log().item(), abs=0.2)


@pytest.mark.parametrize("sparse", [False, True])
def test_every_weight_learns(sparse: bool) -> None:
    model = fresh(sparse=sparse).train()
    loss(model, *batch(6)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    if sparse:  # an expert that no token chose learns nothing
        silent = [name for name in silent if "experts" not in name]
    assert silent == []


def test_a_few_steps_learn_a_batch_by_heart() -> None:
    model, (images, ids) = fresh().train(), batch(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = loss(model, images, ids).item()
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(model, images, ids)
        value.backward()
        optimizer.step()
    assert value.item() < 0.2 * first


def test_mixed_precision_keeps_float32_weights() -> None:
    model, (images, ids) = fresh().train(), batch()
    exact = loss(model, images, ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(model, images, ids)
    mixed.backward()
    assert mixed.item() == pytest.approx(exact.item(), rel=0.02)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_bfloat16_stream_with_float32_norms_stays_bfloat16() -> None:
    model = fresh()
    layer = model.language.layers[0]
    cos, sin = model.language.rope(torch.arange(6).expand(3, 2, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(torch.randn(2, 6, 32).bfloat16(), cos, sin)
    assert out.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # the compiler's own
def test_compiled_blocks_give_the_same() -> None:
    images, ids = batch()
    model = fresh().train()
    expected = loss(model, images, ids)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for block in [*model.visual.blocks, *model.language.layers]:
        block.compile(backend="aot_eager", fullgraph=True)
    got = loss(model, images, ids)
    got.backward()
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    for name, p in model.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradients[name], atol=1e-5, rtol=1e-3)
    assert not any("_orig_mod" in name for name, _ in model.named_parameters())


def test_the_trainer_may_bring_its_own_attention() -> None:
    """Several questions behind one picture, none of which sees another: a mask that only the trainer knows."""
    model, (images, ids) = fresh(), batch()
    calls = []

    def windowed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        calls.append(q.shape)
        t = q.shape[2]
        mask = torch.ones(t, t, dtype=torch.bool).tril()
        mask[15:, 10:15] = False
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)

    changed = ids.clone()
    changed[:, 10:15] = (changed[:, 10:15] + 1) % tiny.PLAIN_VOCAB
    embeds = [model.embed(x) for x in (ids, changed)]
    positions = torch.arange(20).expand(3, 3, 20)
    with torch.no_grad():
        one, other = (model.language(e, positions, attend=windowed) for e in embeds)
    assert torch.equal(one[:, 15:], other[:, 15:])
    assert not torch.equal(one[:, 10:15], other[:, 10:15])
    assert calls[0] == (3, 4, 20, 16)
    assert images.shape[0] == 3


def test_tables_made_in_inference_serve_training() -> None:
    model, (images, ids) = fresh(), batch()
    with torch.inference_mode():
        loss(model, images, ids)
    loss(model.train(), images, ids).backward()


def test_rows_of_a_batch_do_not_touch_one_another() -> None:
    model, (images, ids) = fresh(), batch()
    merged, taps = model.visual(patchify_batch(images), [GRID] * 3)
    alone, alone_taps = model.visual(patchify_batch(images[1:2]), [GRID])
    torch.testing.assert_close(merged.view(3, VISUAL, -1)[1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(taps[2].view(3, VISUAL, -1)[1], alone_taps[2], atol=1e-5, rtol=0)
    assert isinstance(model.visual, VisionModel)
    assert isinstance(model.language, TextModel)
    assert ids.shape[0] == 3


def test_the_public_face_is_whole() -> None:
    assert sorted(deixis.model.__all__) == list(deixis.model.__all__)
    assert all(hasattr(deixis.model, name) for name in deixis.model.__all__)
