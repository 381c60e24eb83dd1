"""How well a video of hours is watched: planted events found within three seconds, memory, time, the second question, and what a
question about one event adds by looking again.

Knows what is measured. Does not know how a video is watched.
"""

import math
import resource
import time
from pathlib import Path
from typing import Any

from deixis.backends import Backend, FakeBackend, ModelCard
from deixis.lab.video.events import ENTRIES, EXITS
from deixis.lab.video.long import LongCase, long_case, write_long
from deixis.spatial.deixis import Deixis
from deixis.spatial.video.index import VideoIndex, index_beside
from deixis.spatial.video.memory import SpatialMemory
from deixis.spatial.video.watch import watch
from deixis.spatial.video.watch_answer import WatchAnswer

NEAR_S = 3.0
TRUTH_FRAMES = 1_500
SAME_KINDS = {**dict.fromkeys(EXITS, "out"), **dict.fromkeys(ENTRIES, "in"), "carried_by": "moves", "falls": "moves"}
QUESTIONS = {
    "moves": "When did the {} move?",
    "falls": "When did the {} fall?",
    "carried_by": "When was the {} carried away?",
    "is_hidden": "When was the {} hidden?",
    "is_revealed": "When did the {} come out?",
    "is_taken_out": "When was the {} taken away?",
    "is_put_in": "When was the {} put in?",
    "leaves": "When did the {} leave the view?",
    "appears": "When did the {} appear?",
}


def found(case: LongCase, answer: WatchAnswer) -> list[dict[str, Any]]:
    """For each planted happening: the nearest told event of one of its kinds about one of its things, and how far its start is
    from the true one. Within NEAR_S it was found.
    """
    labels = {track.id: track.label for track in answer.tracks}
    rows = []
    for planted in case.planted:
        true = [
            (case.stretched(e.start_s), SAME_KINDS.get(e.kind, e.kind), {case.case.labels[i] for i in e.objects[:1]})
            for e in case.events_of(planted)
        ]
        errors = [
            (abs(told.start_s - at), told.description["en"], at, QUESTIONS[told.kind].format(labels[told.objects[0]]))
            for at, kind, who in true
            for told in answer.events
            if told.kind in QUESTIONS and SAME_KINDS.get(told.kind, told.kind) == kind and labels.get(told.objects[0]) in who
        ]
        error, words, at, question = min(errors, default=(None, None, None, None))
        near = error is not None and error <= NEAR_S
        rows.append({"kind": planted.kind, "start_s": round(planted.start_s, 2), "true_events": len(true), "found": near,
                     "error_s": None if error is None else round(error, 2), "told": words, "true_s": at,
                     "asked": question})  # fmt: skip
    return rows


def measured(
    folder: Path, seed: int, seconds: float, happenings: int, size: tuple[int, int], model: Backend | None, frames: int | None
) -> dict[str, Any]:
    """Make the video in ``folder``, watch it, ask again. ``model`` None: the truth's boxes. Peak memory is this process's."""
    case, pictures = long_case(seed, happenings, seconds, size)
    path, ledger = folder / "long.mp4", folder / "long.sqlite"
    count = write_long(path, case, pictures)
    pictures.clear()
    deixis = Deixis(model or FakeBackend({"": ""}, card=ModelCard("truth", "the lab's own boxes")))
    truth = case.detector() if model is None else None
    before = time.process_time(), time.perf_counter()
    limit = frames or (TRUTH_FRAMES if truth else None)
    answer = watch(deixis, path, "what happens?", memory=ledger, detector=truth, frames=limit)
    cpu_s, wall_s = time.process_time() - before[0], time.perf_counter() - before[1]
    started = time.perf_counter()
    with SpatialMemory(ledger) as memory:
        index = VideoIndex(index_beside(ledger))
        again = watch(deixis, path, "which thing moved first?", memory=memory, index=index, detector=truth, frames=limit)
        second_s = time.perf_counter() - started
        rows = found(case, answer)
        looked_s, looked = time.perf_counter(), 0
        for row in rows:
            if row["asked"] is not None:
                one = watch(deixis, path, row["asked"], memory=memory, index=index, detector=truth, frames=limit)
                looked += one.frames["located"] + one.frames["same"]
                row["asked_error_s"] = round(min((abs(e.start_s - row["true_s"]) for e in one.cited), default=math.inf), 2)
        looked_s = time.perf_counter() - looked_s
        index.close()
    survey_s = answer.provenance.timings_ms.get("survey", 0.0) / 1000
    errors = sorted(row["error_s"] for row in rows if row["found"])
    asked = sorted(row["asked_error_s"] for row in rows if row["asked"] is not None)
    return {
        "video_s": round(case.seconds, 1),
        "video_frames": count,
        "size": f"{size[0]}x{size[1]}",
        "detections": "truth" if model is None else model.card.name,
        "planted": len(rows),
        "found": sum(row["found"] for row in rows),
        "median_error_s": errors[len(errors) // 2] if errors else None,
        "told": len(answer.events),
        "frames": dict(answer.frames),
        "index_s": round(survey_s, 2),
        "read_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "index_over_real_time": round(survey_s / case.seconds, 6),
        "read_over_real_time": round(wall_s / case.seconds, 6),
        "second_question_s": round(second_s, 3),
        "second_question_frames": dict(again.frames),
        "second_question_over_first": round(second_s / wall_s, 4),
        "asked_median_error_s": asked[len(asked) // 2] if asked else None,
        "asked_s_each": round(looked_s / max(len(asked), 1), 2),
        "asked_frames": looked,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "notes": list(answer.provenance.notes),
        "rows": rows,
    }
