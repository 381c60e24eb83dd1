"""How well the memory of ``spatial.video`` keeps what a video showed: identities, states, places, events, forecasts.

Knows how scores of many clips are put together; each measure is defined where it is taken (video/memory_scores.py,
video/event_scores.py, video/forecast.py). Does not know how tracking works, nor what films the clips.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.lab.video.case import BENCH_FPS, BENCH_SIZE, Size, VideoCase, cases
from deixis.lab.video.clip import Clip
from deixis.lab.video.event_scores import NEAR_S, event_scores, question_scores
from deixis.lab.video.filming import Filming
from deixis.lab.video.forecast import forecast_case, forecast_scores
from deixis.lab.video.memory_scores import Score, memory_scores
from deixis.lab.video.truth import Frame
from deixis.lab.video.watched import Detect, perfect, watched
from deixis.spatial.video.detection import Detection, Detector

MODEL_FPS = 2.0  # a look takes a model seconds: how often it looks
SAME_PICTURE = 0.1  # mean difference of pixel values, 0 to 255, up to which nothing moved

Table = dict[str, dict[str, Any]]


def clip_scores(case: VideoCase, detect: Detect = perfect) -> list[Score]:
    """All scores of one clip, watched through ``detect``."""
    seen = watched(case, detect)
    return [*memory_scores(case, seen), *event_scores(case, seen), *question_scores(case, seen)]


def scored(
    seed: int, count: int, detect: Detect = perfect, first: int = 0, size: Size = BENCH_SIZE, fps: float = BENCH_FPS
) -> Iterator[list[Score]]:
    """The scores of each clip of a seed, with those of the forecast case of the same number."""
    for case in cases(seed, count, first, size, fps):
        yield [*clip_scores(case, detect), *forecast_scores(forecast_case(seed, case.clip.index))]


class Filmed:
    """What a `Detector` finds in pictures, as a `Detect` of cases: each frame is filmed in colour, and looked at where it differs
    from the one before. A context manager: its renderer ends with the block.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._film: tuple[Clip, Filming] | None = None
        self._last: tuple[NDArray[np.uint8], Sequence[Detection]] | None = None
        self.looks = 0

    def __call__(self, case: VideoCase, frame: Frame) -> Sequence[Detection]:
        """Detections in a frame."""
        if self._film is None or self._film[0] is not case.clip:
            self._close()
            self._film = (case.clip, Filming(case.clip.scene, case.clip.room, frame.view))
        self._film[1].place(case.clip.placed_at(frame.time_s), frame.view)
        pixels = self._film[1].pixels()
        if self._last is None or float(np.abs(pixels.astype(np.int16) - self._last[0]).mean()) > SAME_PICTURE:
            self._last = (pixels, self._detector(pixels, frame.time_s))
            self.looks += 1
        return self._last[1]

    def _close(self) -> None:
        if self._film is not None:
            self._film[1].__exit__(None, None, None)
        self._film = self._last = None

    def __enter__(self) -> "Filmed":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()


def table(scores: Iterable[Score]) -> Table:
    """Per measure ``n`` and the share that was ``right``; of forecasts the median error over the
    way travelled; of events the median errors of start and end too, how many were ``missed``, how many were ``false`` (told, but
    nothing like it happened), and ``precision``: the share of all told that is not. ``events`` sums up all kinds.
    """
    by_measure: Mapping[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_measure[score["measure"]].append(score)
    rows: Table = {}
    events = {m.removeprefix("event_"): found for m, found in by_measure.items() if m.startswith("event_")}
    surplus = {m.removeprefix("false_"): found for m, found in by_measure.items() if m.startswith("false_")}
    for measure, found in sorted(by_measure.items()):
        if not measure.startswith(("event_", "false_")):
            rows[measure] = {"n": len(found), "right": _share(found)}
        if measure == "forecast_place":
            rows[measure]["median_error_share"] = round(float(np.median([s["error_share"] for s in found])), 4)
    for group in sorted({*events, *surplus}):
        rows[f"event_{group}"] = _event_row(events.get(group, []), surplus.get(group, []))
    if events or surplus:
        rows["events"] = _event_row(*([s for found in part.values() for s in found] for part in (events, surplus)))
    return rows


def _event_row(found: list[Score], surplus: list[Score]) -> dict[str, Any]:
    """``surplus``: what was told beyond one event for each true one."""
    false = sum(not s["right"] for s in surplus)
    told = sum(s["right"] for s in found) + len(surplus)
    errors = [s["error_s"] for s in found if "error_s" in s]
    ends = [s["end_error_s"] for s in found if "end_error_s" in s]
    return {
        "n": len(found),
        f"within_{NEAR_S:g}_s": _share(found),
        "median_error_s": round(float(np.median(errors)), 3) if errors else None,
        "median_end_error_s": round(float(np.median(ends)), 3) if ends else None,
        "missed": sum(not s["right"] for s in found),
        "false": false,
        "precision": round(1 - false / told, 4) if told else None,
    }


def _share(found: list[Score]) -> float | None:
    return round(float(np.mean([s["right"] for s in found])), 4) if found else None
