"""``deixis bench accuracy --world video``: the memory's table with the truth's boxes and with a model's own beside it.

Knows options, progress and printing. Does not know how a memory is measured (bench_video.py).
"""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deixis.errors import OptionError

MODEL_COUNT = 10  # a clip takes a model more than a minute


def video_accuracy(
    count: int, seed: int, pixels: tuple[int, int], model: str, detections: str, model_count: int | None, as_json: bool
) -> None:
    """``count`` clips with the truth's boxes (small, ids only), ``model_count`` at ``pixels`` with the model's, or both.

    Raises OptionError for other ``detections``, or for a ``model_count`` where no model looks.
    """
    if detections not in ("truth", "model", "both"):
        raise OptionError(f"detections is {detections!r}; choose truth, model or both")
    if detections == "truth" and model_count is not None:
        raise OptionError(f"model-count is {model_count}, but detections is truth: no model looks; choose model or both")
    told: dict[str, Any] = {"world": "video", "seed": seed}
    if detections != "model":
        told |= measured(seed, count, None, pixels)
    if detections != "truth":
        found = measured(seed, min(count, model_count or MODEL_COUNT), model, pixels)
        told |= {"model": found} if detections == "both" else found
    if as_json:
        sys.stdout.write(json.dumps(told, allow_nan=False) + "\n")
    else:
        Console().print(shown(told))


def measured(seed: int, count: int, model: str | None, pixels: tuple[int, int]) -> dict[str, Any]:
    """``detections`` (whose), ``count``, ``fps``, ``seconds_per_clip`` of a model, and the table ``kinds``."""
    from deixis.backends import resolve_model
    from deixis.lab.bench_video import MODEL_FPS, Filmed, scored, table
    from deixis.lab.video.case import BENCH_FPS, BENCH_SIZE
    from deixis.lab.video.watched import perfect
    from deixis.spatial import Deixis
    from deixis.spatial.video.locating import ModelDetector

    session = None if model is None else Deixis(resolve_model(model))
    name, fps = ("truth", BENCH_FPS) if session is None else (session.backend.card.name, MODEL_FPS)
    scores: list[dict[str, Any]] = []
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    filmed = None if session is None else Filmed(ModelDetector(session))
    with (
        filmed or nullcontext(),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(f"video seed {seed}, boxes: {name}", total=count)
        for found in scored(seed, count, filmed or perfect, size=BENCH_SIZE if filmed is None else pixels, fps=fps):
            scores += found
            progress.advance(task)
    told: dict[str, Any] = {"detections": name, "count": count, "fps": fps}
    if filmed is not None:
        seconds = time.perf_counter() - started
        told |= {"seconds_per_clip": round(seconds / count, 1), "looks_per_clip": round(filmed.looks / count, 1)}
    return {**told, "kinds": table(scores)}


def shown(told: Mapping[str, Any]) -> Table:
    """The table for a terminal; a model's beside the truth's where both were measured."""
    parts = [told, *([told["model"]] if "model" in told else [])]
    rows = Table("measure", title=f"video, seed {told['seed']}")
    for part in parts:
        rows.add_column("n", justify="right")
        rows.add_column(f"boxes: {part['detections']}\n{part['count']} clips, {part['fps']:g} fps")
        if "seconds_per_clip" in part:
            rows.caption = f"{part['detections']}: {part['looks_per_clip']} looks and {part['seconds_per_clip']} s a clip"
    for kind in {kind: None for part in parts for kind in part["kinds"]}:
        cells = []
        for part in parts:
            row = part["kinds"].get(kind, {"n": 0})
            cells += [str(row["n"]), "  ".join(f"{k} {v}" for k, v in row.items() if k != "n" and v is not None)]
        rows.add_row(kind, *cells)
    return rows
