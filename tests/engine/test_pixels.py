"""Patches made on the network's device are the processor's: to the bit without resizing, within 2/255 with it."""

from pathlib import Path

import pytest
import torch

from deixis.engine.pixels import device_patches
from deixis.model import Processor, Qwen3VLConfig, builtin_template
from tests.model import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    folder: Path = tmp_path_factory.mktemp("pixels")
    config = tiny.config_dict()
    tiny.write_processor(folder, config, builtin_template())
    return Processor.from_directory(folder, Qwen3VLConfig.from_dict(config))


@pytest.mark.parametrize(("size", "exact"), [((64, 96), True), ((128, 128), True), ((100, 70), False), ((300, 500), False)])
def test_a_picture(processor: Processor, size: tuple[int, int], exact: bool) -> None:
    part = {"type": "image", "image": tiny.photo(*size, 3)}
    expected, grid = processor.part_patches(part)
    found = device_patches(part, grid, processor.config.vision, CPU, torch.float32)
    assert found.shape == expected.shape
    if exact:
        assert torch.equal(found, expected)
    else:
        assert (found - expected).abs().max() <= 2 / 127.5 + 1e-6
        assert (found - expected).abs().mean() < 0.3 / 127.5


def test_a_video_with_an_odd_frame(processor: Processor) -> None:
    part = {"type": "video", "frames": tiny.clip(5, 64, 96, 2), "timestamps_s": [0, 1, 2, 3, 4]}
    expected, grid = processor.part_patches(part)
    found = device_patches(part, grid, processor.config.vision, CPU, torch.float32)
    assert found.shape == expected.shape and (found - expected).abs().max() <= 2 / 127.5 + 1e-6
