"""Videos equal what transformers' own processor made of them once, where torchvision was (record_video_processor.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.model import tiny
from tests.model.conftest import Pair

RECORD = Path(__file__).parent / "data" / "video_processor.npz"
QUESTION = "When does the red cup move?"


@pytest.fixture(scope="module")
def record() -> dict[str, np.ndarray]:
    if not RECORD.is_file():
        pytest.fail(f"{RECORD.name} is missing: run tests/model/record_video_processor.py where torchvision is installed")
    with np.load(RECORD) as file:
        return dict(file)


def test_the_record_is_of_the_peer_we_name(record: dict[str, np.ndarray]) -> None:
    assert str(record["transformers"]) == "5.17.0"


@pytest.mark.parametrize("name", tiny.VIDEOS)
def test_video_equals_the_record(dense: Pair, record: dict[str, np.ndarray], name: str) -> None:
    frames, times = tiny.VIDEOS[name]
    part = {"type": "video", "frames": frames, "timestamps_s": times}
    inputs = dense.ours.processor.encode([{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}])
    assert list(inputs.video_grids[0]) == record[f"{name}.grid"].tolist()
    assert inputs.input_ids.tolist() == record[f"{name}.ids"].tolist()
    assert inputs.video_patches is not None
    # Recorded as whole steps of 1/255 of the pixel range, which spans 2 after normalisation.
    ours = (inputs.video_patches.numpy() + 1) * 127.5
    assert np.abs(ours - record[f"{name}.patches"].astype(np.float32)).max() <= 2
