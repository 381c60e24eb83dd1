"""What goes into the network: one conversation's ids, positions and patches, and the ViT's features of its pictures.

Knows shapes and their order. Does not know the network or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deixis.errors import InputError
from deixis.model.config import Qwen3VLConfig
from deixis.model.vision import Grid


@dataclass(frozen=True)
class ModelInput:
    """One conversation, ready for the network.

    ``visual_index`` holds the places in ``input_ids`` of the visual features in the order in which the ViT gives them: all
    images' first, then all videos'. Grids are (time, height, width) in patches.
    """

    input_ids: Tensor  # (t,) int64
    positions: Tensor  # (3, t) int64
    next_position: int
    visual_index: Tensor  # (visual tokens,) int64
    patches: Tensor | None = None  # (n, patch_dim) float32, all images one after another
    image_grids: tuple[Grid, ...] = ()
    video_patches: Tensor | None = None  # (n, patch_dim) float32
    video_grids: tuple[Grid, ...] = ()

    @property
    def length(self) -> int:
        """Number of tokens."""
        return int(self.input_ids.shape[0])

    def to(self, device: torch.device | str) -> ModelInput:
        """The same input with its tensors on ``device``."""
        return ModelInput(
            input_ids=self.input_ids.to(device),
            positions=self.positions.to(device),
            next_position=self.next_position,
            visual_index=self.visual_index.to(device),
            patches=None if self.patches is None else self.patches.to(device),
            image_grids=self.image_grids,
            video_patches=None if self.video_patches is None else self.video_patches.to(device),
            video_grids=self.video_grids,
        )

    def followed_by(self, ids: Sequence[int]) -> ModelInput:
        """The same conversation with more tokens of text at its end."""
        after = torch.arange(len(ids), device=self.positions.device) + self.next_position
        return replace(
            self,
            input_ids=torch.cat((self.input_ids, self.input_ids.new_tensor(list(ids)))),
            positions=torch.cat((self.positions, after.expand(3, -1)), 1),
            next_position=self.next_position + len(ids),
        )

    def split(self, count: int, config: Qwen3VLConfig) -> tuple[ModelInput, ModelInput]:
        """The first ``count`` tokens and the rest, each with its own pictures; a video may be cut between frame pairs.

        The rest keeps its positions, so it continues the first part's cache. Raises InputError for a cut through a picture.
        """
        merge = config.vision.spatial_merge_size**2
        of_images = sum(t * h * w // merge for t, h, w in self.image_grids)
        head: list[Tensor] = []
        tail: list[Tensor] = []
        patches: list[tuple[Tensor | None, Tensor | None]] = []
        grids: list[tuple[tuple[Grid, ...], tuple[Grid, ...]]] = []
        for index, given, its_grids in (
            (self.visual_index[:of_images], self.patches, self.image_grids),
            (self.visual_index[of_images:], self.video_patches, self.video_grids),
        ):
            inside = int((index < count).sum())
            head.append(index[:inside])
            tail.append(index[inside:] - count)
            grids.append(_split_grids(its_grids, inside * merge))
            cut = inside * merge
            patches.append(
                (None, None) if given is None else (given[:cut] if cut else None, given[cut:] if cut < len(given) else None)
            )
        (first_patches, rest_patches), (first_video, rest_video) = patches
        (first_images, rest_images), (first_videos, rest_videos) = grids
        between = int(self.positions[0, count]) if count < self.length else self.next_position
        return (
            ModelInput(
                self.input_ids[:count],
                self.positions[:, :count],
                between,
                torch.cat(head),
                first_patches,
                first_images,
                first_video,
                first_videos,
            ),
            ModelInput(
                self.input_ids[count:],
                self.positions[:, count:],
                self.next_position,
                torch.cat(tail),
                rest_patches,
                rest_images,
                rest_video,
                rest_videos,
            ),
        )


@dataclass(frozen=True)
class VisualFeatures:
    """The ViT's features of some pictures: ``merged`` and each of ``deepstack`` are (visual tokens, hidden)."""

    merged: Tensor
    deepstack: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.merged.nbytes + sum(tap.nbytes for tap in self.deepstack)

    @staticmethod
    def join(parts: Sequence[VisualFeatures]) -> VisualFeatures:
        """Features of several pictures, in the order given."""
        taps = zip(*(part.deepstack for part in parts), strict=True)
        return VisualFeatures(torch.cat([part.merged for part in parts]), tuple(torch.cat(tap) for tap in taps))


def _split_grids(grids: Sequence[Grid], patches: int) -> tuple[tuple[Grid, ...], tuple[Grid, ...]]:
    """Grids of the first ``patches`` patches and of the rest."""
    head: list[Grid] = []
    for i, (t, h, w) in enumerate(grids):
        frames = min(t, patches // (h * w))
        patches -= frames * h * w
        if frames:
            head.append((frames, h, w))
        if frames < t:
            if patches:
                raise InputError("the conversation is cut through a picture, expected a cut before or after its tokens")
            return tuple(head), ((t - frames, h, w), *grids[i + 1 :])
    return tuple(head), ()
