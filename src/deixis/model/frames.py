"""Which frames of a video a checkpoint reads, and at how many pixels each.

Knows a checkpoint's video preprocessor file. Does not know pixels. Sources: transformers 5.17 ``Qwen3VLVideoProcessor``:
``sample_frames``, and ``resize`` under ``cap_pixels_per_frame`` (which is qwen-vl-utils' budget).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deixis.errors import CheckpointError, OptionError
from deixis.model.chat import read_json

MAX_TOKENS_PER_FRAME = 768


@dataclass(frozen=True)
class FrameSampling:
    """So many frames a second, but at least and at most so many in all."""

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768

    def __post_init__(self) -> None:
        """Raises OptionError for numbers that choose nothing."""
        if not 0 < self.fps < float("inf") or not 1 <= self.min_frames <= self.max_frames:
            raise OptionError(
                f"{self.fps} frames a second, {self.min_frames} to {self.max_frames} in all; expected numbers above zero in order"
            )

    @classmethod
    def from_directory(cls, directory: Path | str) -> FrameSampling:
        """As a checkpoint's video preprocessor file says; Qwen3-VL's own where it has none. Raises CheckpointError."""
        directory = Path(directory)
        own, joint = directory / "video_preprocessor_config.json", directory / "processor_config.json"
        raw: Mapping[str, Any] = {}
        if own.is_file():
            raw = read_json(own)
        elif joint.is_file():
            raw = read_json(joint).get("video_processor") or {}
        known = {name: raw[name] for name in ("fps", "min_frames", "max_frames") if raw.get(name) is not None}
        try:
            return cls(**known)
        except (TypeError, OptionError) as error:
            raise CheckpointError(f"{own.name} cannot be used ({error}): fetch the checkpoint again") from None

    def indices(self, total_frames: int, video_fps: float) -> list[int]:
        """Frames of a video of `total_frames` at `video_fps`, evenly from the first to the last."""
        if total_frames < 1 or not 0 < video_fps < float("inf"):
            raise OptionError(f"a video of {total_frames} frames at {video_fps} a second; expected both above zero")
        wanted = int(total_frames / video_fps * self.fps)
        count = min(max(wanted, self.min_frames), self.max_frames, total_frames)
        return [int(index) for index in np.linspace(0, total_frames - 1, count).round()]

    def times(self, start_s: float, duration_s: float, video_fps: float | None) -> list[float]:
        """Moments at which the video shows these frames: the middle of each. Ask media for the frames shown then.

        Where frames come unevenly, or the rate is unknown (None), the moments are spread as over a video of 24 frames a second,
        transformers' own assumption.
        """
        rate = video_fps or 24.0
        total = max(1, round(duration_s * rate))
        return [start_s + (index + 0.5) / rate for index in self.indices(total, rate)]


def pixels_per_frame(frames: int, min_pixels: int, max_pixels: int, block_px: int = 32) -> int:
    """The most pixels that each of `frames` frames should have, so that a short clip does not spend a long one's whole budget.

    `min_pixels` and `max_pixels` are a checkpoint's limits on all frames together. Frames above it cost tokens and tell little:
    decode them at this size.
    """
    if frames < 1:
        raise OptionError(f"{frames} frames have no share of pixels; expected at least one")
    return max(min(MAX_TOKENS_PER_FRAME * block_px**2, max_pixels // frames), int(min_pixels * 1.05))
