"""``deixis lab …`` and ``deixis bench …``: reads options, shows progress. Does not know what the lab does."""

import json
import os
import sys
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deixis.errors import OptionError
from deixis.lab.long_command import long_command
from deixis.lab.space_command import space_command
from deixis.lab.speed.command import speed_command

app = typer.Typer(no_args_is_help=True, help="Worlds with exact truth, and the training of nano.")
bench = typer.Typer(no_args_is_help=True, help="Measured accuracy and speed.")
bench.command("space")(space_command)
bench.command("long")(long_command)
bench.command("speed")(speed_command)

WorldOption = Annotated[str, typer.Option(help="primitives, desk or video")]
CountOption = Annotated[int, typer.Option(min=1, help="number of pictures")]
SeedOption = Annotated[int, typer.Option(min=0, help="same seed, same pictures")]
SizeOption = Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels")]


@app.callback()
@bench.callback()
def headless() -> None:
    """Worlds with exact truth, training and benchmarks."""
    # MuJoCo chooses its GL when it is imported; without a screen only EGL works.
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")


def _progress() -> Progress:
    """A bar on a terminal; nothing at all elsewhere, where it would leave empty lines."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@app.command("make")
def make_command(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder for 000000.png (or .mp4) … and truth.jsonl")],
    world: WorldOption = "desk",
    count: CountOption = 10,
    seed: SeedOption = 0,
    size: SizeOption = "640x480",
) -> None:
    """Render pictures (or, of the world video, videos) with their exact truth and questions."""
    from deixis.lab import make as pictures
    from deixis.lab.video import make as videos
    from deixis.lab.video.clip import WORLD

    pixels = pictures.parse_size(size)
    writing = videos.make(seed, count, pixels, out) if world == WORLD else pictures.make(world, seed, count, pixels, out)
    with _progress() as progress:
        task = progress.add_task(f"{world} {size}", total=count)
        for done in writing:
            progress.update(task, completed=done)
    Console().print(f"{count} {'videos' if world == WORLD else 'pictures'} and truth.jsonl in {out}")


@app.command("tokenizer")
def tokenizer_command(
    out: Annotated[Path, typer.Option(dir_okay=False, help="file to write")],
    pictures: Annotated[int, typer.Option(min=32, help="pictures of each world whose questions are read")] = 320,
    seed: SeedOption = 7,
    device: Annotated[str, typer.Option(help="cpu or cuda:0")] = "cpu",
) -> None:
    """Train nano's tokenizer on the questions of rendered pictures (needs the extra gpu-lab)."""
    from deixis.lab.corpus import corpus
    from deixis.lab.nano import train_tokenizer

    tokenizer = train_tokenizer(corpus(pictures, seed, device))
    tokenizer.save(str(out))
    Console().print(f"{tokenizer.get_vocab_size()} tokens in {out}")


@app.command("train")
def train_command(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of the checkpoint")],
    tokenizer: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="tokenizer.json, from `deixis lab tokenizer`")],
    minutes: Annotated[float, typer.Option(min=0.1, help="when to stop, by the clock")] = 25.0,
    gpus: Annotated[int, typer.Option(min=1)] = 1,
    resume: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="checkpoint to go on from")] = None,
    begin: Annotated[float, typer.Option(min=0, max=1, help="where in the schedule this run begins")] = 0.0,
    end: Annotated[float, typer.Option(min=0, max=1, help="and where it ends")] = 1.0,
    seed: SeedOption = 1,
    workers: Annotated[int, typer.Option(min=1, help="processes per GPU that settle scenes and write questions")] = 14,
    videos: Annotated[float, typer.Option(min=0, max=0.9, help="share of the steps that are on a video")] = 0.0,
) -> None:
    """Train nano from scratch, or go on (needs the extra gpu-lab and a GPU); writes metrics.jsonl and curve.png beside it."""
    from deixis.lab.curve import draw_curve
    from deixis.lab.train import Plan, launch

    plan = Plan(
        out=str(out),
        tokenizer=str(tokenizer),
        minutes=minutes,
        seed=seed,
        resume=str(resume) if resume else None,
        begin=begin,
        end=end,
        workers=workers,
        video_share=videos,
        average_every=16 if gpus > 1 else 1,
    )
    launch(plan, gpus)
    if (out / "metrics.jsonl").exists():  # a run shorter than its first report has none
        draw_curve(out / "metrics.jsonl", out / "curve.png")


@app.command("calibrate")
def calibrate_command(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder for calibration.json: the checkpoint's own, to use it")],
    world: Annotated[
        list[str] | None, typer.Option(help="a world to learn from; may be repeated (default: desk, primitives)")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="pictures of each world")] = 200,
    seed: SeedOption = 830001,
    size: SizeOption = "640x480",
    model: Annotated[str, typer.Option("--model", help="which model to calibrate")] = "nano",
    readings: Annotated[
        list[Path] | None, typer.Option(dir_okay=False, help="JSON lines: what they hold is not asked again, the first grows")
    ] = None,
    part: Annotated[
        Literal["both", "claims", "space"],
        typer.Option(help="what readings of a claim are worth, how far 3D boxes are off, or both; what is not learned is kept"),
    ] = "both",
) -> None:
    """Learn on pictures with known truth what a model's confidence is worth, and write calibration.json."""
    import contextlib
    from dataclasses import replace

    from deixis.backends import resolve_model
    from deixis.lab.calibrate import collected, fitted, provenance, read_rows
    from deixis.lab.calibrate_space import fitted_doubt, located
    from deixis.lab.make import parse_size
    from deixis.lab.worlds import load_world
    from deixis.spatial import Deixis
    from deixis.spatial.checking.calibration import FILE, calibration_in

    worlds, pixels = world or ["desk", "primitives"], parse_size(size)
    for name in worlds:
        load_world(name)
    holds = {"claims": "claims", "space": "things"}  # by part, what its rows have
    parts = list(holds) if part == "both" else [part]
    session = Deixis(resolve_model(model))
    made = provenance(session.backend.card, worlds, count, seed, size)
    calibration = kept = calibration_in(out, made["weights"])
    if "claims" not in parts and not kept.fitted:
        raise OptionError(f"{out} holds no calibration of these weights to add to: learn both parts")
    rows = [row for path in readings or () if path.exists() for row in read_rows(path, made["weights"])]
    with contextlib.ExitStack() as opened:
        progress = opened.enter_context(_progress())
        lines = opened.enter_context(readings[0].open("a", encoding="utf-8")) if readings else None
        for learned, name in product(parts, worlds):
            done = {row["index"] for row in rows if (row["world"], row["seed"]) == (name, seed) and holds[learned] in row}
            first = max(done, default=-1) + 1
            task = progress.add_task(f"{learned}, {name}", total=count, completed=first)
            collect = located if learned == "space" else collected
            for found in collect(session, name, seed, count - first, pixels, first):
                rows += found
                progress.advance(task)
                if lines is not None:
                    lines.writelines(json.dumps({**row, "weights": made["weights"]}) + "\n" for row in found)
                    lines.flush()
    wanted = [row for row in rows if row["world"] in worlds and row["seed"] == seed and row["index"] < count]
    weighed, things = ([row for row in wanted if holds[learned] in row] for learned in ("claims", "space"))
    if "claims" in parts:
        calibration = fitted(weighed, made)
    if "space" in parts:
        told = made | {"command": f"{made['command']} --part space"}
        calibration = replace(calibration, space=fitted_doubt(things, told))
    else:
        calibration = replace(calibration, space=kept.space)
    out.mkdir(parents=True, exist_ok=True)
    draft = out / f".{FILE}.{os.getpid()}"  # whole or not at all: a checkpoint in use never has half a file beside it
    draft.write_text(json.dumps(calibration.to_json(), indent=1) + "\n", encoding="utf-8")
    draft.replace(out / FILE)
    learned_from = calibration.space.made.get("pairs", "too few")
    Console().print(f"{len(weighed)} questions weighed, {learned_from} pairs of things located; {out / FILE}")


@bench.command("verified")
def verified_command(
    world: WorldOption = "desk",
    count: CountOption = 500,
    seed: SeedOption = 910001,
    size: SizeOption = "640x480",
    first: Annotated[int, typer.Option(min=0, help="number of the first picture: runs can be shared out")] = 0,
    model: Annotated[str, typer.Option("--model", help="which model to ask")] = "nano",
    rows_out: Annotated[Path | None, typer.Option("--rows", dir_okay=False, help="JSON lines of every answer, to merge")] = None,
    merge: Annotated[
        list[Path] | None, typer.Option(exists=True, help="report these rows instead of asking; may be repeated")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Bare and verified answers side by side: errors, calibration, intervals, absences and time."""
    from deixis.backends import resolve_model
    from deixis.lab.bench_verified import read_rows, report, rows_of
    from deixis.lab.make import parse_size
    from deixis.lab.worlds import load_world

    pixels = parse_size(size)
    load_world(world)
    rows: list[dict[str, Any]] = []
    for path in merge or ():
        rows += read_rows(path)
    name = "merged"
    if not merge:
        backend = resolve_model(model)
        name = backend.card.name
        with _progress() as progress:
            task = progress.add_task(f"{world} seed {seed}", total=count)
            for found in rows_of(backend, world, seed, count, pixels, first):
                rows += found
                progress.advance(task)
                if rows_out is not None:
                    with rows_out.open("a", encoding="utf-8") as lines:
                        lines.writelines(json.dumps(row) + "\n" for row in found)
    result = {
        "world": world,
        "seed": seed,
        "first": first,
        "count": len({row["index"] for row in rows}),
        "size": size,
        "model": name,
    }
    result |= report(rows)
    if as_json:
        sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
        return
    _show_verified(Console(), result)


def _show_verified(console: Console, result: dict[str, Any]) -> None:
    for half in ("all", "harder"):
        found = result[half]
        shown = Table(
            "questions", "n", "bare wrong", "verified wrong", "unsure", "fewer", "counting unsure as wrong",
            title=f"{result['world']}, seed {result['seed']}, {result['count']} pictures, {result['model']}: {half}",
        )  # fmt: skip
        for family, row in found["families"].items():
            shares = [f"{row[k]:.0%}" if row[k] is not None else "" for k in ("fewer", "fewer_counting_unsure")]
            shown.add_row(family, *(str(row[k]) for k in ("n", "bare_wrong", "wrong", "unsure")), *shares)
        console.print(shown)
        for name in ("bare", "verified"):
            error, (said, missed) = found["ece"][name], (found["absent"][name][k] for k in ("precision", "recall"))
            console.print(f"{name}: calibration error {error}, absent precision {said} recall {missed}")
        console.print(
            f"90% intervals hold {found['interval_coverage']['share']} of {found['interval_coverage']['n']} coordinates"
        )
    seconds = result["seconds"]
    console.print(
        f"a new picture: bare {seconds['bare']} s, verified {seconds['verified']} s, ratio {seconds['ratio']} "
        f"({seconds['questions']} questions)"
    )


@bench.command("accuracy")
def accuracy_command(
    world: WorldOption = "desk",
    count: Annotated[int | None, typer.Option(min=1, help="pictures (default 500) or videos (default 100)")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="default 900001, of videos 940001")] = None,
    size: SizeOption = "640x480",
    model: Annotated[str, typer.Option("--model", help="which model to ask")] = "nano",
    detections: Annotated[
        str, typer.Option(help="of videos: truth (measures the memory alone), model (its own boxes), or both")
    ] = "truth",
    model_count: Annotated[int | None, typer.Option(min=1, help="of videos: how many the model looks at (default 10)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask a model about pictures that it has never seen (or a memory about videos); a table per kind."""
    from deixis.backends import resolve_model
    from deixis.lab.bench import report, scored
    from deixis.lab.make import parse_size
    from deixis.lab.video.clip import WORLD
    from deixis.lab.video_command import video_accuracy
    from deixis.lab.worlds import load_world

    pixels = parse_size(size)
    if world == WORLD:
        video_accuracy(count or 100, 940001 if seed is None else seed, pixels, model, detections, model_count, as_json)
        return
    count, seed = count or 500, 900001 if seed is None else seed
    load_world(world)
    backend = resolve_model(model)
    scores = []
    with _progress() as progress:
        task = progress.add_task(f"{world} seed {seed}", total=count)
        for found in scored(backend, world, seed, count, pixels):
            scores += found
            progress.advance(task)
    result = {"world": world, "seed": seed, "count": count, "size": size, "model": backend.card.name, **report(scores)}
    if as_json:
        sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
        return
    console = Console()
    for name, rows in (("both languages", result["kinds"]), *result["languages"].items()):
        shown = Table("kind", "n", "measured", title=f"{world}, seed {seed}, {count} pictures, {backend.card.name}: {name}")
        for kind, row in rows.items():
            shown.add_row(kind, str(row["n"]), "  ".join(f"{k} {v}" for k, v in row.items() if k != "n"))
        console.print(shown)
