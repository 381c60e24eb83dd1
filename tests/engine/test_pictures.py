"""What makes two pictures the same, and which features are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deixis.engine import pictures
from deixis.engine.pictures import PIECE_BYTES, VisionCache, digest_of
from deixis.errors import PictureError
from deixis.model import PixelLimits, Processor, VisualFeatures, builtin_template
from tests.model import tiny


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    directory: Path = tmp_path_factory.mktemp("processor")
    tiny.write_processor(directory, tiny.config_dict(), builtin_template())
    return Processor.from_directory(directory)


def image(pixels: Any) -> dict[str, Any]:
    return {"type": "image", "image": pixels}


def video(frames: Any) -> dict[str, Any]:
    return {"type": "video", "frames": frames, "timestamps_s": [0.0] * len(frames)}


def test_everything_that_features_depend_on_is_in_the_digest(processor: Processor) -> None:
    side = 600  # two whole pieces and a part of one
    pixels = tiny.photo(side, side, 1)
    assert pixels.nbytes > 2 * PIECE_BYTES
    digest = digest_of(image(pixels), processor)
    assert digest == digest_of(image(pixels.copy()), processor) == digest_of(image(np.asfortranarray(pixels)), processor)
    different = [digest_of(image(pixels.reshape(side // 2, side * 2, 3)), processor), digest_of(video(pixels[None]), processor)]
    for at in (0, PIECE_BYTES - 1, PIECE_BYTES, pixels.size - 1):
        changed = pixels.copy()
        changed.reshape(-1)[at] ^= 1
        different.append(digest_of(image(changed), processor))
    limits = PixelLimits(4_096, 9_216)
    other = Processor(processor.config, processor.tokenizer, processor.template, limits, processor.video_limits)
    different.append(digest_of(image(pixels), other))
    assert len({digest, *different}) == 1 + len(different)
    # A video's own settings, not those of images, are in its digest.
    assert digest_of(video(pixels[None]), other) == digest_of(video(pixels[None]), processor)


def test_a_read_only_picture_that_was_changed_is_another(processor: Processor) -> None:
    pixels = tiny.photo(600, 600, 1).copy()
    pixels.setflags(write=False)
    digest = digest_of(image(pixels), processor)
    pixels.setflags(write=True)
    pixels[300, 300, 1] ^= 1
    pixels.setflags(write=False)
    assert digest_of(image(pixels), processor) == digest_of(image(pixels.copy()), processor) != digest


def test_only_what_nobody_can_write_to_is_hashed_once(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = tiny.photo(600, 600, 2)
    fixed = np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape)
    frozen = pixels.copy()
    frozen.setflags(write=False)
    digest = digest_of(image(fixed), processor)
    assert digest == digest_of(image(frozen), processor)
    asked = []
    monkeypatch.setattr(pictures, "_hash", lambda piece: asked.append(piece) or b"")
    assert digest_of(image(fixed), processor) == digest and not asked
    assert digest_of(image(fixed[:599]), processor) != digest and asked  # a part of it is another picture
    asked.clear()
    assert digest_of(image(frozen), processor) != digest and asked


@pytest.mark.parametrize("bad", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32), "cup.png"])
def test_what_is_no_picture_has_no_digest(processor: Processor, bad: Any) -> None:
    with pytest.raises(PictureError):
        digest_of(image(bad), processor)


@pytest.mark.parametrize(
    "part", [image(tiny.photo(96, 128, 1)), image(tiny.photo(33, 250, 2)), *(video(frames) for frames, _ in tiny.VIDEOS.values())]
)
def test_a_size_alone_says_the_grid(processor: Processor, part: dict[str, Any]) -> None:
    patches, grid = processor.part_patches(part)
    assert processor.part_grid(part) == grid
    assert len(patches) == np.prod(grid)


def test_an_outline_is_what_is_encoded_but_for_the_patches(processor: Processor) -> None:
    clip, times = tiny.VIDEOS["odd"]
    shown = [image(tiny.photo(96, 128, 1)), {"type": "video", "frames": clip, "timestamps_s": times}]
    messages = [{"role": "user", "content": [*shown, {"type": "text", "text": "Where?"}]}]
    outline, whole = processor.outline(messages), processor.encode(messages)
    assert outline.patches is None and outline.video_patches is None
    assert whole.patches is not None and whole.video_patches is not None
    assert (outline.image_grids, outline.video_grids) == (whole.image_grids, whole.video_grids)
    for name in ("input_ids", "positions", "visual_index"):
        assert torch.equal(getattr(outline, name), getattr(whole, name))


def features(tokens: int) -> VisualFeatures:
    return VisualFeatures(torch.zeros(tokens, 2), (torch.zeros(tokens, 2),))  # 16 bytes a token


def test_features_stay_within_their_budget_and_the_longest_unused_go_first() -> None:
    cache = VisionCache(100)
    for name in (b"a", b"b", b"c"):
        cache.put(name, features(2))
    assert cache.nbytes == 96
    assert cache.get(b"a") is not None  # now the most recently used
    cache.put(b"d", features(2))
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert cache.nbytes == 96
    cache.put(b"d", features(2))  # twice is once
    assert cache.nbytes == 96
    cache.put(b"large", features(7))
    assert cache.get(b"large") is None and cache.nbytes == 96


def test_features_that_somebody_holds_are_found_beyond_the_budget() -> None:
    cache = VisionCache(0)
    held = features(3)
    cache.put(b"a", held)
    assert cache.get(b"a") is held and cache.nbytes == 0
    del held
    assert cache.get(b"a") is None
