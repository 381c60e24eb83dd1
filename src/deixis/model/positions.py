"""Three-axis positions (time, height, width) of the tokens of a conversation.

Knows token ids and grids. Does not know tensors of the network. Source: transformers 5.17 ``Qwen3VLModel.get_rope_index``.
Text advances all axes together. A picture's tokens share the time of its start and spread over height and width; the text after
it continues past its longer side. A frame pair of a video is laid out like a picture: seconds are told by the text before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deixis.errors import InputError
from deixis.model.config import Qwen3VLConfig
from deixis.model.vision import Grid


def mrope_positions(
    input_ids: Tensor, image_grids: Sequence[Grid], video_grids: Sequence[Grid], config: Qwen3VLConfig
) -> tuple[Tensor, int]:
    """Positions (3, t) int64 of ``input_ids`` (t,), and the position of the token after the last.

    Grids are (time, height, width) in patches, in the order in which their tokens stand.
    Raises InputError where the visual tokens and the grids do not fit each other.
    """
    merge = config.vision.spatial_merge_size
    frames = {
        config.image_token_id: iter([(h // merge, w // merge) for t, h, w in image_grids for _ in range(t)]),
        config.video_token_id: iter([(h // merge, w // merge) for t, h, w in video_grids for _ in range(t)]),
    }
    ids = input_ids.tolist()
    parts: list[Tensor] = []
    start, at = 0, 0
    while at < len(ids):
        if ids[at] in frames:
            size = next(frames[ids[at]], None)
            if size is None:
                raise InputError(f"the visual token at {at} has no picture: give one grid per run of visual tokens")
            h, w = size
            run = h * w
            if ids[at : at + run] != [ids[at]] * run:
                raise InputError(f"the visual tokens at {at} do not fill a grid of {h}x{w}: expand each placeholder to its grid")
            grid = torch.arange(run)
            parts.append(torch.stack((torch.zeros(run, dtype=torch.int64), grid // w, grid % w)) + start)
            start += max(h, w)
        else:
            run = 1
            while at + run < len(ids) and ids[at + run] not in frames:
                run += 1
            parts.append((torch.arange(run) + start).expand(3, run))
            start += run
        at += run
    if any(next(left, None) is not None for left in frames.values()):
        raise InputError("there are more pictures than runs of visual tokens: every grid needs its tokens")
    positions = torch.cat(parts, 1) if parts else torch.zeros(3, 0, dtype=torch.int64)
    return positions.to(input_ids.device), start
