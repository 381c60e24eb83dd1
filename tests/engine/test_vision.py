"""The ViT of the GPU equals the model's, for one picture, several of one size, and several sizes with a video among them."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="triton is not installed here: its kernels run on machines with an NVIDIA GPU")

from deixis.engine.vision import FastVision
from deixis.model import Grid, Qwen3VL, Qwen3VLConfig
from tests.model import tiny

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@torch.inference_mode()
@pytest.mark.parametrize("grids", [((1, 4, 6),), ((1, 4, 6), (1, 4, 6)), ((1, 4, 6), (2, 2, 4), (1, 4, 6), (1, 2, 2))], ids=len)
def test_pictures_are_seen_as_the_model_sees_them(grids: tuple[Grid, ...]) -> None:
    model = Qwen3VL(Qwen3VLConfig.from_dict(tiny.config_dict()))
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator, std=0.1)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # biases and norms must be told apart, too
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.to(DEVICE)
    patches = torch.randn(sum(t * h * w for t, h, w in grids), 1536, generator=generator).to(DEVICE)
    merged, taps = model.visual(patches, grids)
    found = FastVision(model.visual)(patches, grids)
    for fast, plain in zip((found.merged, *found.deepstack), (merged, *taps), strict=True):
        torch.testing.assert_close(fast, plain, atol=2e-4, rtol=1e-4)
