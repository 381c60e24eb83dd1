"""When to look: moments at which things are located, within a budget of frames.

Knows spans that change and counts. Does not know pictures or models. Where something changes it is looked at often, elsewhere now
and then, so that what is at rest stays known; what the budget does not allow is said in the plan's notes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deixis.errors import OptionError
from deixis.spatial.language.prompts import Language
from deixis.spatial.video.index import Plan, Span

FRAMES = 120  # located by default: about two minutes with nano on two cores
FINE_FPS = 4.0  # where something changes
_CALM_SHARE = 0.25  # of the budget for the rest
_CALM_S = 2.0  # between looks at what does not change, at least
_LAST_S = 0.02  # before the end: nothing is shown at the very end


def even_plan(start_s: float, end_s: float, fps: float, frames: int | None) -> Plan:
    """At a rate that the user chose; thinned evenly where that are more than `frames`."""
    if not 0 < fps <= 1000:
        raise OptionError(f"fps is {fps}; expected more than 0 and at most 1000")
    wanted = max(1, math.floor((end_s - start_s) * fps - 1e-6) + 1)
    if frames is None or wanted <= frames:
        return Plan(tuple(round(start_s + k / fps, 4) for k in range(wanted)))
    rate = frames / (end_s - start_s)
    note: dict[Language, str] = {
        "en": f"{frames} frames at {rate:.3g} a second instead of {wanted} at {fps:g}: --frames limits them",
        "zh": f"只看{frames}帧(每秒{rate:.3g}帧),而不是每秒{fps:g}帧的{wanted}帧:受--frames限制",
    }
    times = np.linspace(start_s, max(start_s, end_s - _LAST_S), frames)
    return Plan(tuple(round(float(t), 4) for t in times), (note,))


def adaptive_plan(start_s: float, end_s: float, spans: Sequence[Span], frames: int) -> Plan:
    """Often within the spans, now and then elsewhere; at most `frames` in all."""
    active_s = sum(span.seconds for span in spans)
    calm = [(a, b) for a, b in _between(start_s, end_s, spans) if b - a > _CALM_S]
    calm_s = sum(b - a for a, b in calm)
    every_s = max(_CALM_S, calm_s / max(1.0, _CALM_SHARE * frames - 2 - len(calm))) if calm else math.inf
    times = {start_s, max(start_s, end_s - _LAST_S)}
    for a, b in calm:
        times |= {float(t) for t in np.arange(a + every_s / 2, b, every_s)}
    room = max(2, frames - len(times))
    rate = min(FINE_FPS, max(room - len(spans), 1) / active_s) if active_s else FINE_FPS
    for span in spans:
        times |= {float(t) for t in np.linspace(span.start_s, span.end_s, max(2, round(span.seconds * rate) + 1))}
    ordered = sorted({round(t, 4) for t in times})
    if len(ordered) > frames:  # more spans than frames
        ordered = [ordered[round(k)] for k in np.linspace(0, len(ordered) - 1, frames)]
    note: dict[Language, str] = {
        "en": f"things are located in at most {frames} frames: {rate:.2g} a second in the {active_s:.0f} s that change "
        f"({len(spans)} spans), {len(ordered)} moments in all",
        "zh": f"最多在{frames}帧中定位物体:在有变化的{active_s:.0f}秒({len(spans)}段)中每秒{rate:.2g}帧,共{len(ordered)}个时刻",
    }
    slow: dict[Language, str] = {
        "en": f"events shorter than {1 / rate:.1f} s may be missed; --frames allows more",
        "zh": f"短于{1 / rate:.1f}秒的事件可能漏掉;可用--frames增加帧数",
    }
    return Plan(tuple(ordered), (note, *((slow,) if rate < 0.5 * FINE_FPS else ())))


def _between(start_s: float, end_s: float, spans: Sequence[Span]) -> list[tuple[float, float]]:
    edges = [start_s, *(edge for span in spans for edge in (span.start_s, span.end_s)), end_s]
    return list(zip(edges[::2], edges[1::2], strict=True))
