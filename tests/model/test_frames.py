"""Which frames are read equals what transformers' own video processor chooses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from deixis.errors import CheckpointError, OptionError
from deixis.model import FrameSampling, pixels_per_frame, smart_resize_video

VIDEOS = [
    (1, 30.0),
    (3, 25.0),
    (40, 30.0),
    (59, 23.976),
    (300, 30.0),
    (1440, 24.0),
    (7193, 29.97),
    (100_000, 30.0),
    (648_000, 30.0),
]
SAMPLINGS = [FrameSampling(), FrameSampling(fps=0.3), FrameSampling(fps=4.0, min_frames=8, max_frames=16)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_frames_equal_the_peers(sampling: FrameSampling) -> None:
    video_utils = pytest.importorskip("transformers.video_utils")
    peer = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl").Qwen3VLVideoProcessor
    settings = SimpleNamespace(**vars(sampling))
    for total, fps in VIDEOS:
        theirs = peer.sample_frames(settings, video_utils.VideoMetadata(total_num_frames=total, fps=fps))
        assert sampling.indices(total, fps) == theirs.tolist()


def test_frames_equal_the_peers_as_written_down() -> None:
    # transformers 5.17.0, sample_frames.
    assert FrameSampling().indices(100, 30.0) == [0, 20, 40, 59, 79, 99]
    assert len(FrameSampling().indices(648_000, 30.0)) == 768


@pytest.mark.parametrize(("total", "fps"), VIDEOS)
def test_moments_show_these_frames(total: int, fps: float) -> None:
    sampling = FrameSampling()
    times = sampling.times(3.2, total / fps, fps)
    assert [int((time_s - 3.2) * fps) for time_s in times] == sampling.indices(total, fps)


def test_moments_without_a_rate() -> None:
    assert FrameSampling().times(0.0, 2.5, None) == pytest.approx([(index + 0.5) / 24 for index in (0, 15, 30, 44, 59)])


@pytest.mark.parametrize("frames", [2, 4, 30, 120, 768])
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (480, 640), (64, 2000)])
def test_the_budget_equals_the_peers(frames: int, height: int, width: int) -> None:
    peer = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl").Qwen3VLVideoProcessor
    least, most = 4_096, 25_165_824
    settings = SimpleNamespace(max_video_tokens=768, cap_pixels_per_frame=True)
    asked = {
        "min_pixels": least, "max_pixels": most, "patch_size": 16, "merge_size": 2, "temporal_patch_size": 2,
        "cap_pixels_per_frame": True,
    }  # fmt: skip
    theirs = peer.get_num_of_video_patches(settings, frames, height, width, asked)
    share = pixels_per_frame(frames, least, most)
    h, w = smart_resize_video(frames, height, width, 32, least, share * frames)
    assert frames // 2 * (h // 16) * (w // 16) == theirs


def test_a_checkpoint_says_how_it_samples(tmp_path: Path) -> None:
    assert FrameSampling.from_directory(tmp_path) == FrameSampling(2.0, 4, 768)
    (tmp_path / "processor_config.json").write_text(json.dumps({"video_processor": {"fps": 3, "min_frames": None}}))
    assert FrameSampling.from_directory(tmp_path) == FrameSampling(3, 4, 768)
    own = tmp_path / "video_preprocessor_config.json"
    own.write_text(json.dumps({"fps": 1, "min_frames": 2, "max_frames": 9, "size": {}}))
    assert FrameSampling.from_directory(tmp_path) == FrameSampling(1, 2, 9)
    for wrong in ({"fps": 0}, {"fps": "two"}, {"min_frames": 10, "max_frames": 2}):
        own.write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match="video_preprocessor_config"):
            FrameSampling.from_directory(tmp_path)


@pytest.mark.parametrize(("total", "fps"), [(0, 30.0), (10, 0.0), (10, float("nan"))])
def test_no_frames_to_choose_from(total: int, fps: float) -> None:
    with pytest.raises(OptionError):
        FrameSampling().indices(total, fps)


def test_no_frames_have_no_share() -> None:
    with pytest.raises(OptionError):
        pixels_per_frame(0, 4_096, 25_165_824)
