"""``deixis bench long``: reads options, prints. Does not know how it is measured (bench_long.py)."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def long_command(
    hours: Annotated[float, typer.Option(min=0.02, help="length of the video")] = 6.0,
    events: Annotated[int, typer.Option(min=1, help="happenings planted in it")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same video")] = 850002,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels")] = "320x240",
    model: Annotated[str, typer.Option("--model", help="which model to ask, with --detections model")] = "nano",
    detections: Annotated[str, typer.Option(help="truth (measures the machinery alone) or model")] = "truth",
    frames: Annotated[int | None, typer.Option(min=2, help="at most so many frames are located")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Watch hours in which little happens: are planted events found, in how much memory and time?"""
    from deixis.backends import resolve_model
    from deixis.errors import OptionError
    from deixis.lab.bench_long import measured
    from deixis.lab.make import parse_size

    if detections not in ("truth", "model"):
        raise OptionError(f"detections is {detections!r}; choose truth or model")
    backend = resolve_model(model) if detections == "model" else None
    with tempfile.TemporaryDirectory(prefix="deixis-long-") as folder:
        row = measured(Path(folder), seed, hours * 3600, events, parse_size(size), backend, frames)
    if as_json:
        sys.stdout.write(json.dumps({"hours": hours, "seed": seed, **row}, allow_nan=False) + "\n")
        return
    title = f"{row['video_s'] / 3600:.2f} hours, seed {seed}, boxes: {row['detections']}"
    shown = Table("planted", "at", "found", "error", "told", title=title)
    for one in row["rows"]:
        error = "" if one["error_s"] is None else f"{one['error_s']} s"
        shown.add_row(one["kind"], f"{one['start_s']} s", "yes" if one["found"] else "no", error, one["told"] or "")
    console = Console()
    console.print(shown)
    for name, value in row.items():
        if name != "rows":
            console.print(f"{name}: {value}")
