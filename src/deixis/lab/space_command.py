"""``deixis bench space``: reads options, asks, prints. Does not know how answers in space are measured (bench_space.py)."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


def space_command(
    world: Annotated[str, typer.Option(help="primitives or desk")] = "desk",
    count: Annotated[int, typer.Option(min=1, help="number of pictures")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same pictures")] = 843001,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels")] = "640x480",
    model: Annotated[str, typer.Option("--model", help="which model to ask")] = "nano",
    readings: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON lines: pictures that they hold are not asked about again")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Distances, offsets and relations in other frames: do intervals hold, and is confidence right?"""
    from deixis.backends import resolve_model
    from deixis.lab.bench_space import report
    from deixis.lab.calibrate_space import located
    from deixis.lab.make import parse_size
    from deixis.lab.worlds import load_world
    from deixis.spatial import Deixis

    pixels = parse_size(size)
    load_world(world)
    session = Deixis(resolve_model(model))
    rows: list[dict[str, Any]] = []
    if readings is not None and readings.exists():
        rows = [json.loads(line) for line in readings.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if (row["world"], row["seed"]) == (world, seed) and row["index"] < count]
    for index in sorted(set(range(count)) - {row["index"] for row in rows}):
        for found in located(session, world, seed, 1, pixels, index):
            rows += found
            if readings is not None:
                with readings.open("a", encoding="utf-8") as lines:
                    lines.writelines(json.dumps(row) + "\n" for row in found)
    doubt = session.calibration.space
    told = {"world": world, "seed": seed, "count": len(rows), "model": session.backend.card.name, "calibrated": doubt.fitted}
    told |= report(rows, doubt)
    if as_json:
        sys.stdout.write(json.dumps(told, allow_nan=False) + "\n")
    else:
        _show(Console(), told)


def _show(console: Console, told: dict[str, Any]) -> None:
    shown = Table(
        "answers", "answered", "right", "unsure", "mean confidence",
        title=f"{told['world']}, seed {told['seed']}, {told['count']} pictures, {told['model']}",
    )  # fmt: skip
    for family, row in told["families"].items():
        shown.add_row(family, *(str(row[key]) for key in ("answered", "right", "unsure", "confidence")))
    console.print(shown)
    console.print(f"{told['found']} of {told['things']} things were found")
    for kind, row in told["intervals"].items():
        console.print(f"{kind}: 90% intervals hold {row['coverage']} of {row['n']}, median width {row['median_width_m']} m")
    console.print(f"calibration error {told['reliability']['ece']} over {told['reliability']['n']} answers")
