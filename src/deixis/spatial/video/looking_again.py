"""Where a question looks again: moments at full rate around those that bear an answer, where the first look was coarse.

Knows plans and answers. Does not know pictures or who locates. What is looked at again belongs to the plan from then on, so that
no question asks for it twice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from deixis.media import Video
from deixis.spatial.video.asked import MemoryAnswer
from deixis.spatial.video.plan import FINE_FPS
from deixis.spatial.video.reading import Reading

FULL_FPS = 10.0  # finer than this no event is told apart
LOOKS = 24  # of one question
_SPANS = 6  # that one question looks into
_COARSE_S = 1.2 / FINE_FPS  # what was looked at as often as this is not looked over again
_NEAR_S = 1e-3


def moments_around(video: Video, read: Reading, said: MemoryAnswer) -> list[float]:
    """Ascending times to look at beside the plan's, at most LOOKS; none where it is fine enough, or the answer cites nothing."""
    if read.plan is None:
        return []
    offset = read.source.offset_s
    edges = [t - offset for event in said.events for t in (event.start_s, event.end_s)]
    edges = edges or [cited.time_s for cited in said.citations if cited.source == read.source.name]
    spans = coarse_spans(read.plan.times_s, edges)[:_SPANS]
    rate = min(FULL_FPS, video.info.fps or FULL_FPS)
    times: set[float] = set()
    for a, b in spans:
        most = min(LOOKS // len(spans), round((b - a) * rate) - 1)
        times |= {round(float(t), 4) for t in np.linspace(a, b, max(most, 1) + 2)[1:-1]}
    return sorted(times)


def coarse_spans(times_s: Sequence[float], edges_s: Sequence[float]) -> list[tuple[float, float]]:
    """The gaps of a plan next to these times that are wider than they need to be; each once, those of earlier edges first."""
    found: list[tuple[float, float]] = []
    for edge in edges_s:
        # What began between two looks is told of the one or the other, so the gaps on both sides are of interest.
        low = max(0, bisect_left(times_s, edge - _NEAR_S) - 1)
        high = min(len(times_s) - 1, bisect_right(times_s, edge + _NEAR_S))
        gaps = pairwise(times_s[low : high + 1])
        found += [gap for gap in gaps if gap[1] - gap[0] > _COARSE_S and gap not in found]
    return found
