"""Conversations to the network's input: template, tokens, patches and positions.

Knows a checkpoint's tokenizer and preprocessor files. Does not know weights. Source: transformers 5.17 ``Qwen3VLProcessor``,
whose token ids it reproduces. Unlike there, only the template writes structure: special tokens named in users' text stay text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.errors import CheckpointError, InputError, PictureError
from deixis.model.chat import ChatTemplate, Message, check_messages, for_template, map_texts, parts_of, read_json, texts_of
from deixis.model.config import Qwen3VLConfig
from deixis.model.inputs import ModelInput
from deixis.model.patches import resize_bicubic, smart_resize, smart_resize_video, to_patches
from deixis.model.positions import mrope_positions
from deixis.model.tokenizer import Shield, Tokenizer
from deixis.model.vision import Grid

# Settings that the code fixes; a preprocessor file that says otherwise asks for other pixels.
_FIXED: dict[str, tuple[Any, ...]] = {
    "image_mean": ([0.5, 0.5, 0.5],),
    "image_std": ([0.5, 0.5, 0.5],),
    "resample": (3, None),
    "do_resize": (True, None),
    "do_rescale": (True, None),
    "do_normalize": (True, None),
}


@dataclass(frozen=True)
class PixelLimits:
    """How many pixels a picture, or all frames of a video together, are read at."""

    min_pixels: int
    max_pixels: int

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str, default: PixelLimits) -> PixelLimits:
        """From a preprocessor file: ``size`` with shortest_edge and longest_edge, or older ``min_pixels`` and ``max_pixels``."""
        for name, allowed in _FIXED.items():
            if name in raw and raw[name] not in allowed:
                raise CheckpointError(f"{where} has {name} {raw[name]!r}, this network supports only {allowed[0]!r}")
        size = raw.get("size") or {}
        low = raw.get("min_pixels") or size.get("shortest_edge") or default.min_pixels
        high = raw.get("max_pixels") or size.get("longest_edge") or default.max_pixels
        if not 0 < int(low) <= int(high):
            raise CheckpointError(f"{where} limits pixels to [{low}, {high}], expected 0 < least <= most")
        return cls(int(low), int(high))


IMAGE_LIMITS = PixelLimits(65_536, 16_777_216)
VIDEO_LIMITS = PixelLimits(4_096, 25_165_824)


class Processor:
    """One checkpoint's way from messages to ``ModelInput`` and from token ids to text."""

    def __init__(
        self,
        config: Qwen3VLConfig,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        image_limits: PixelLimits = IMAGE_LIMITS,
        video_limits: PixelLimits = VIDEO_LIMITS,
    ) -> None:
        """Raises CheckpointError where tokenizer and config do not belong together."""
        self.config = config
        self.tokenizer = tokenizer
        self.template = template
        self.image_limits = image_limits
        self.video_limits = video_limits
        if tokenizer.size > config.text.vocab_size:
            raise CheckpointError(
                f"the tokenizer has {tokenizer.size} ids and the network {config.text.vocab_size}: fetch the checkpoint again"
            )
        names = {
            config.image_token_id: "image_token_id",
            config.video_token_id: "video_token_id",
            config.vision_start_token_id: "vision_start_token_id",
            config.vision_end_token_id: "vision_end_token_id",
        }
        self._token_names = {number: name for name, number in tokenizer.added.items()}
        if absent := [field for number, field in names.items() if number not in self._token_names]:
            raise CheckpointError(
                f"the tokenizer has no added token for config.json's {', '.join(absent)}: fetch the checkpoint again"
            )

    @classmethod
    def from_directory(cls, directory: Path | str, config: Qwen3VLConfig | None = None) -> Processor:
        """From a checkpoint directory. Raises CheckpointError."""
        directory = Path(directory)
        config = config if config is not None else Qwen3VLConfig.from_dict(read_json(directory / "config.json"))
        image, video = (_preprocessor(directory, kind, config) for kind in ("image", "video"))
        return cls(
            config,
            Tokenizer.from_file(directory / "tokenizer.json"),
            ChatTemplate.from_directory(directory),
            PixelLimits.from_dict(image, "preprocessor_config.json", IMAGE_LIMITS),
            PixelLimits.from_dict(video, "video_preprocessor_config.json", VIDEO_LIMITS),
        )

    @property
    def block_px(self) -> int:
        """Side of the square of pixels that one visual token covers."""
        return self.config.vision.patch_size * self.config.vision.spatial_merge_size

    def image_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture of ``height`` x ``width`` px is read at."""
        return smart_resize(height, width, self.block_px, self.image_limits.min_pixels, self.image_limits.max_pixels)

    def image_patches(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Grid]:
        """Flat patches (n, patch_dim) float32 and the grid of a picture (h, w, 3) uint8."""
        _check_pixels(pixels, 3)
        return self._patches(resize_bicubic(pixels, *self.image_size(*pixels.shape[:2])))

    def video_patches(self, frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[Tensor, Grid]:
        """Flat patches and the grid of frames (n, h, w, 3) uint8, which are read two by two."""
        clip = np.asarray(frames)
        _check_pixels(clip, 4)
        _, size = self._video_size(clip)
        return self._patches(np.stack([resize_bicubic(frame, *size) for frame in clip]))

    def encode(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> ModelInput:
        """One conversation as the network's input. Raises InputError, PictureError."""
        outline = self.outline(messages, add_generation_prompt=add_generation_prompt, tools=tools)
        images, videos = ([self.part_patches(part)[0] for part in parts_of(messages, kind)] for kind in ("image", "video"))
        return replace(
            outline,
            patches=torch.cat(images) if images else None,
            video_patches=torch.cat(videos) if videos else None,
        )

    def outline(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> ModelInput:
        """What ``encode`` gives, without the patches: reads the pictures' sizes only. Raises InputError, PictureError."""
        check_messages(messages)
        image_grids = tuple(self.part_grid(part) for part in parts_of(messages, "image"))
        video_grids = tuple(self.part_grid(part) for part in parts_of(messages, "video"))
        times = [self._pair_times(part["timestamps_s"], len(part["frames"])) for part in parts_of(messages, "video")]
        text, mark = self.render(messages, add_generation_prompt=add_generation_prompt, tools=tools)
        ids = self._tokens(text, mark, image_grids, video_grids, times)
        input_ids = torch.tensor(ids, dtype=torch.int64)
        positions, next_position = mrope_positions(input_ids, image_grids, video_grids, self.config)
        return ModelInput(
            input_ids=input_ids,
            positions=positions,
            next_position=next_position,
            visual_index=torch.cat(
                [(input_ids == number).nonzero()[:, 0] for number in (self.config.image_token_id, self.config.video_token_id)]
            ),
            image_grids=image_grids,
            video_grids=video_grids,
        )

    def part_grid(self, part: Mapping[str, Any]) -> Grid:
        """The grid of a picture's or a video's patches, from its size alone."""
        vision = self.config.vision
        pixels = pixels_of(part)
        t, (h, w) = (1, self.image_size(*pixels.shape[:2])) if part["type"] == "image" else self._video_size(pixels)
        return -(-t // vision.temporal_patch_size), h // vision.patch_size, w // vision.patch_size

    def part_patches(self, part: Mapping[str, Any]) -> tuple[Tensor, Grid]:
        """Flat patches (n, patch_dim) float32 of a picture or video part, and their grid."""
        return self.image_patches(part["image"]) if part["type"] == "image" else self.video_patches(part["frames"])

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[str, str]:
        """The templated conversation, pictures as single placeholders, and the mark that shields users' text in it."""
        shield = Shield(self.tokenizer, [*texts_of(list(messages)), *texts_of(list(tools or ()))])
        given = [for_template(message, shield) for message in messages]
        signatures = map_texts(list(tools), lambda text: shield(text, trusted=True)) if tools else None
        return self.template.render(given, tools=signatures, add_generation_prompt=add_generation_prompt), shield.mark

    def decode(self, ids: Sequence[int] | Tensor, skip_special: bool = True) -> str:
        """Text of generated ids."""
        return self.tokenizer.decode(ids.tolist() if isinstance(ids, Tensor) else ids, skip_special=skip_special)

    def _video_size(self, clip: NDArray[np.uint8]) -> tuple[int, tuple[int, int]]:
        """Frames, and the (height, width) that they are read at."""
        limits, temporal = self.video_limits, self.config.vision.temporal_patch_size
        t, h, w = clip.shape[:3]
        return t, smart_resize_video(t, h, w, self.block_px, limits.min_pixels, limits.max_pixels, temporal)

    def _patches(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Grid]:
        vision = self.config.vision
        return to_patches(pixels, vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)

    def _tokens(
        self, text: str, mark: str, images: Sequence[Grid], videos: Sequence[Grid], times: Sequence[Sequence[float]]
    ) -> list[int]:
        """Token ids of the rendered text, every placeholder grown to its grid."""
        image, video, start, end = (
            self._token_names[number]
            for number in (
                self.config.image_token_id,
                self.config.video_token_id,
                self.config.vision_start_token_id,
                self.config.vision_end_token_id,
            )
        )
        pieces = text.split(video)
        if len(pieces) - 1 != len(videos) or text.count(image) != len(images):
            raise InputError(
                f"the chat template placed {text.count(image)} image(s) and {len(pieces) - 1} video(s), the conversation holds "
                f"{len(images)} and {len(videos)}: send pictures in user turns"
            )
        # Each frame pair stands behind its own time. As in transformers, the template's own start and end stay around them all.
        grown = [pieces[0]]
        for piece, pair_times in zip(pieces[1:], times, strict=True):
            grown += [f"<{second:.1f} seconds>{start}{video}{end}" for second in pair_times]
            grown.append(piece)
        ids = self.tokenizer.encode_structure("".join(grown), mark)
        merge = self.config.vision.spatial_merge_size**2
        counts = {
            self.config.image_token_id: iter([t * h * w // merge for t, h, w in images]),
            self.config.video_token_id: iter([h * w // merge for t, h, w in videos for _ in range(t)]),
        }
        out: list[int] = []
        for number in ids:
            out += [number] * next(counts[number]) if number in counts else [number]
        return out

    def _pair_times(self, timestamps_s: Sequence[float], frames: int) -> list[float]:
        """Mean time of the first and last frame of each group, the last frame filling up the last group."""
        if len(timestamps_s) != frames:
            raise InputError(f"the video has {frames} frames and {len(timestamps_s)} timestamps, expected one per frame")
        size = self.config.vision.temporal_patch_size
        times = [float(t) for t in timestamps_s]
        times += times[-1:] * (-len(times) % size)
        return [(times[i] + times[i + size - 1]) / 2 for i in range(0, len(times), size)]


def pixels_of(part: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A picture (h, w, 3) or a video's frames (n, h, w, 3), uint8. Raises PictureError for anything else, and for no pixels."""
    pixels: NDArray[np.uint8] = part["image"] if part["type"] == "image" else np.asarray(part["frames"])
    _check_pixels(pixels, 3 if part["type"] == "image" else 4)
    return pixels


def _check_pixels(pixels: object, axes: int) -> None:
    what = "(h, w, 3)" if axes == 3 else "(frames, h, w, 3)"
    if not isinstance(pixels, np.ndarray):
        raise PictureError(
            f"the picture is a {type(pixels).__name__}, expected a numpy array {what} uint8: load it with deixis.media"
        )
    if pixels.dtype != np.uint8 or pixels.ndim != axes or pixels.shape[-1] != 3 or pixels.size == 0:
        raise PictureError(f"the picture is {pixels.dtype} {pixels.shape}, expected uint8 {what}: load it with deixis.media")


def _preprocessor(directory: Path, kind: str, config: Qwen3VLConfig) -> Mapping[str, Any]:
    """The image or video preprocessor's settings; an empty mapping where the checkpoint has none."""
    own = directory / ("preprocessor_config.json" if kind == "image" else "video_preprocessor_config.json")
    joint = directory / "processor_config.json"  # newer transformers keep everything in one file
    raw: Mapping[str, Any] = {}
    if own.is_file():
        raw = read_json(own)
    elif joint.is_file():
        raw = read_json(joint).get(f"{kind}_processor") or {}
    vision = config.vision
    expected = {
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
    }
    for name, value in expected.items():
        if raw.get(name, value) != value:
            raise CheckpointError(f"{own.name} has {name} {raw[name]}, config.json {value}: fetch the checkpoint again")
    if raw.get("cap_pixels_per_frame"):
        raise CheckpointError(f"{own.name} has cap_pixels_per_frame, which is not supported: remove it")
    return raw
