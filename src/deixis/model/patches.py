"""Pixels to flat patches: the size a picture is read at, resizing, and the order of the patches.

Knows pixels. Does not know tokens or the network. Sources: transformers 5.17 ``Qwen2VLImageProcessor`` and
``Qwen3VLVideoProcessor``. Without torchvision: Pillow's bicubic is the same antialiased kernel (a = -0.5), within 2/255.
A flat patch holds (channel, frame, row, column); patches stand in merge-block order: (frame pair, block row, block column, row
in block, column in block). Values are in [-1, 1] (mean = std = 0.5).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deixis.errors import PictureError

MAX_ASPECT = 200


def smart_resize(
    height: int, width: int, factor: int = 32, min_pixels: int = 65_536, max_pixels: int = 16_777_216
) -> tuple[int, int]:
    """(height, width) that a picture is read at: multiples of ``factor``, aspect nearly kept, height x width within the limits.

    Raises PictureError for sides beyond 200:1.
    """
    return _fit(1, 1, height, width, factor, min_pixels, max_pixels)


def smart_resize_video(
    frames: int, height: int, width: int, factor: int, min_pixels: int, max_pixels: int, temporal: int = 2
) -> tuple[int, int]:
    """(height, width) that every frame is read at; here the limits are on frames x height x width.

    Raises PictureError for fewer frames than one group of ``temporal``, or sides beyond 200:1.
    """
    if frames < temporal:
        raise PictureError(f"the video has {frames} frame(s), expected at least {temporal}: give a single frame as an image")
    if height < factor or width < factor:  # tiny frames are first blown up to one block
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    return _fit(frames, round(frames / temporal) * temporal, height, width, factor, min_pixels, max_pixels)


def _fit(frames: int, counted: int, height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """``counted`` frames decide whether a limit is broken, ``frames`` by how much to scale: transformers' own distinction."""
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise PictureError(f"the picture is {width}x{height} px, expected sides within {MAX_ASPECT}:1: crop it")
    h, w = round(height / factor) * factor, round(width / factor) * factor
    if counted * h * w > max_pixels:
        shrink = math.sqrt(frames * height * width / max_pixels)
        h, w = (max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    elif counted * h * w < min_pixels:
        grow = math.sqrt(min_pixels / (frames * height * width))
        h, w = (math.ceil(side * grow / factor) * factor for side in (height, width))
    return h, w


def resize_bicubic(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 -> (height, width, 3) uint8, bicubic with antialiasing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def to_patches(
    pixels: NDArray[np.uint8], patch: int = 16, merge: int = 2, temporal: int = 2
) -> tuple[Tensor, tuple[int, int, int]]:
    """A picture (H, W, 3) or frames (t, H, W, 3), uint8 -> flat patches (n, 3*temporal*patch²) float32, and the grid (t, h, w).

    Sides must be multiples of patch * merge. The last frame is repeated to fill the last group; a picture fills its own.
    """
    clip = pixels[None] if pixels.ndim == 3 else pixels
    block = patch * merge
    if pixels.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or clip.shape[1] % block or clip.shape[2] % block:
        raise PictureError(
            f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (h, w, 3) or (frames, h, w, 3), sides multiples of {block}"
        )
    if short := -len(clip) % temporal:
        clip = np.concatenate([clip, np.broadcast_to(clip[-1:], (short, *clip.shape[1:]))])
    t, h, w = len(clip) // temporal, clip.shape[1] // patch, clip.shape[2] // patch
    frames = torch.tensor(clip).permute(0, 3, 1, 2)  # (t*temporal, 3, H, W)
    frames = frames.reshape(t, temporal, *frames.shape[1:])
    # Bytes are put in order first: a quarter of the traffic of doing it in float32.
    return flatten_patches(frames, patch, merge).float().div_(127.5).sub_(1), (t, h, w)


def patchify_batch(images: Tensor, patch: int = 16, merge: int = 2, temporal: int = 2) -> Tensor:
    """Equal pictures (b, 3, H, W) in [-1, 1], on any device -> (b*n, 3*temporal*patch²), in ``to_patches``' order."""
    return flatten_patches(images.unsqueeze(1).expand(-1, temporal, -1, -1, -1), patch, merge)


def flatten_patches(frames: Tensor, patch: int, merge: int) -> Tensor:
    """(groups, temporal, 3, H, W) -> (groups*n, 3*temporal*patch²)."""
    groups, temporal, channels, height, width = frames.shape
    rows, columns = height // (patch * merge), width // (patch * merge)
    blocks = frames.reshape(groups, temporal, channels, rows, merge, patch, columns, merge, patch)
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, channels * temporal * patch * patch)
