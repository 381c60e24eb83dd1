"""How well the memory of ``spatial.video`` keeps what a video showed: identities, states, places, events, forecasts.

Knows how scores of many clips are put together; each measure is defined where it is taken (video/memory_scores.py,
video/event_scores.py, video/forecast.py). Does not know how tracking works, nor what films the clips.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from deixis.lab.video.case import BENCH_SIZE, Size, VideoCase, cases
from deixis.lab.video.clip import Clip
from deixis.lab.video.event_scores import NEAR_S, event_scores, question_scores
from deixis.lab.video.filming import Filming
from deixis.lab.video.forecast import forecast_case, forecast_scores
from deixis.lab.video.memory_scores import Score, memory_scores
from deixis.lab.video.truth import Frame
from deixis.lab.video.watched import Detect, perfect, watched
from deixis.spatial import Deixis
from deixis.spatial.scene import EVERYTHING
from deixis.spatial.video.detection import Detection, appearance_of

Table = dict[str, dict[str, Any]]


def clip_scores(case: VideoCase, detect: Detect = perfect) -> list[Score]:
    """All scores of one clip, watched through ``detect``."""
    seen = watched(case, detect)
    return [*memory_scores(case, seen), *event_scores(case, seen), *question_scores(case, seen)]


def scored(seed: int, count: int, detect: Detect = perfect, first: int = 0, size: Size = BENCH_SIZE) -> Iterator[list[Score]]:
    """The scores of each clip of a seed, with those of the forecast case of the same number."""
    for case in cases(seed, count, first, size):
        yield [*clip_scores(case, detect), *forecast_scores(forecast_case(seed, case.clip.index))]


class ModelDetector:
    """The model's own boxes: it is asked for all objects of every frame, in colour. A `Detect`; ``close`` it at the end."""

    def __init__(self, session: Deixis) -> None:
        self._session = session
        self._film: tuple[Clip, Filming] | None = None

    def __call__(self, case: VideoCase, frame: Frame) -> list[Detection]:
        """Detections with labels, boxes, scores and colours."""
        if self._film is None or self._film[0] is not case.clip:
            self.close()
            self._film = (case.clip, Filming(case.clip.scene, case.clip.room, frame.view))
        self._film[1].place(case.clip.placed_at(frame.time_s), frame.view)
        pixels = self._film[1].pixels()
        found = self._session.locate(Image.fromarray(pixels), EVERYTHING["en"])
        return [
            Detection(item.label, item.box_px, 1.0 if item.score is None else item.score, appearance_of(pixels, item.box_px))
            for item in found.objects
        ]

    def close(self) -> None:
        """Ends the renderer of the last clip."""
        if self._film is not None:
            self._film[1].__exit__(None, None, None)
            self._film = None


def table(scores: Iterable[Score]) -> Table:
    """Per measure ``n`` and the share that was ``right``; of forecasts the median error over the
    way travelled; of events the median errors of start and end too, how many were
    ``missed``, and ``false`` (told, but nothing like it happened). ``events`` sums up all kinds.
    """
    by_measure: Mapping[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_measure[score["measure"]].append(score)
    rows: Table = {}
    events = {m.removeprefix("event_"): found for m, found in by_measure.items() if m.startswith("event_")}
    lies = {
        m.removeprefix("false_"): sum(not s["right"] for s in found) for m, found in by_measure.items() if m.startswith("false_")
    }
    for measure, found in sorted(by_measure.items()):
        if not measure.startswith(("event_", "false_")):
            rows[measure] = {"n": len(found), "right": _share(found)}
        if measure == "forecast_place":
            rows[measure]["median_error_share"] = round(float(np.median([s["error_share"] for s in found])), 4)
    for group in sorted({*events, *lies}):
        rows[f"event_{group}"] = _event_row(events.get(group, []), lies.get(group, 0))
    if events or lies:
        rows["events"] = _event_row([s for found in events.values() for s in found], sum(lies.values()))
    return rows


def _event_row(found: list[Score], false: int) -> dict[str, Any]:
    errors = [s["error_s"] for s in found if "error_s" in s]
    ends = [s["end_error_s"] for s in found if "end_error_s" in s]
    return {
        "n": len(found),
        f"within_{NEAR_S:g}_s": _share(found),
        "median_error_s": round(float(np.median(errors)), 3) if errors else None,
        "median_end_error_s": round(float(np.median(ends)), 3) if ends else None,
        "missed": sum(not s["right"] for s in found),
        "false": false,
    }


def _share(found: list[Score]) -> float | None:
    return round(float(np.mean([s["right"] for s in found])), 4) if found else None
