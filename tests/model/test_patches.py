"""Sizes, resizing and the order of patches equal transformers' and torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as their_smart_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as their_video_resize

from deixis.errors import PictureError
from deixis.model import patchify_batch, resize_bicubic, smart_resize, smart_resize_video, to_patches
from tests.model import tiny

sides = st.integers(8, 9000)
limits = st.sampled_from([(65_536, 16_777_216), (3_136, 100_352), (4_096, 25_165_824)])


@given(sides, sides, limits)
def test_smart_resize_equals_transformers(height: int, width: int, limit: tuple[int, int]) -> None:
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(PictureError, match="200:1"):
            smart_resize(height, width, 32, *limit)
    else:
        assert smart_resize(height, width, 32, *limit) == their_smart_resize(height, width, 32, *limit)


@given(st.integers(2, 800), sides, sides, limits)
def test_smart_resize_video_equals_transformers(frames: int, height: int, width: int, limit: tuple[int, int]) -> None:
    if max(height, width) < 100 * min(height, width):  # blowing up tiny frames shifts the ratio a little
        theirs = their_video_resize(frames, height, width, 2, 32, *limit)
        assert smart_resize_video(frames, height, width, 32, *limit) == theirs


def test_a_video_needs_two_frames() -> None:
    with pytest.raises(PictureError, match="1 frame"):
        smart_resize_video(1, 64, 64, 32, 4_096, 25_165_824)


@pytest.mark.parametrize("size", [(96, 160), (480, 320), (32, 640), (200, 300)])
def test_bicubic_equals_torch_antialias(size: tuple[int, int]) -> None:
    """torchvision's resize of uint8 tensors is this very function of torch."""
    pixels = tiny.photo(200, 300, 7)
    ours = resize_bicubic(pixels, *size)
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    theirs = torch.nn.functional.interpolate(channels_first, size=size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= 2


def test_a_batch_on_the_device_has_the_same_order() -> None:
    pictures = [tiny.photo(96, 160, seed) for seed in range(3)]
    expected = torch.cat([to_patches(p)[0] for p in pictures])
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(patchify_batch(batch), expected, atol=1e-6, rtol=0)


def test_order_within_and_among_patches() -> None:
    """Patches that become one token stand together; a patch holds channel, frame, row, column."""
    row, column = np.mgrid[:64, :96]
    pixels = np.stack([row, column, np.full_like(row, 200)], -1).astype(np.uint8)
    patches, grid = to_patches(pixels)
    assert grid == (1, 4, 6)
    cells = ((patches + 1) * 127.5).round().long().view(24, 3, 2, 16, 16)
    corners = [(int(c[0, 0, 0, 0]) // 16, int(c[1, 0, 0, 0]) // 16) for c in cells]
    assert corners[:8] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    assert corners[12] == (2, 0)
    assert torch.equal(cells[5, 0, 0], torch.arange(16)[:, None].expand(16, 16))  # rows of the picture in channel 0
    assert torch.equal(cells[:, :, 0], cells[:, :, 1])  # a picture is doubled in time


def test_frames_pair_up_and_the_last_one_is_repeated() -> None:
    frames = tiny.clip(3, 32, 64, 0)
    patches, grid = to_patches(frames)
    assert grid == (2, 2, 4)
    pairs = patches.view(2, 8, 3, 2, 256)
    first, second, third = (to_patches(f)[0].view(8, 3, 2, 256)[:, :, 0] for f in frames)
    assert torch.equal(pairs[0, :, :, 0], first)
    assert torch.equal(pairs[0, :, :, 1], second)
    assert torch.equal(pairs[1, :, :, 0], third)
    assert torch.equal(pairs[1, :, :, 1], third)


@pytest.mark.parametrize(
    "pixels", [np.zeros((64, 65, 3), np.uint8), np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)], ids=str
)
def test_pixels_that_do_not_fit_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(PictureError, match="expected uint8"):
        to_patches(pixels)
