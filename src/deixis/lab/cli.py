"""``deixis lab …`` and ``deixis bench …``: reads options, shows progress. Does not know what the lab does."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Worlds with exact truth, and the training of nano.")
bench = typer.Typer(no_args_is_help=True, help="Measured accuracy.")

WorldOption = Annotated[str, typer.Option(help="primitives or desk")]
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
    out: Annotated[Path, typer.Option(file_okay=False, help="folder for 000000.png … and truth.jsonl")],
    world: WorldOption = "desk",
    count: CountOption = 10,
    seed: SeedOption = 0,
    size: SizeOption = "640x480",
) -> None:
    """Render pictures with their exact truth and questions."""
    from deixis.lab.make import make, parse_size

    pixels = parse_size(size)
    with _progress() as progress:
        task = progress.add_task(f"{world} {size}", total=count)
        for done in make(world, seed, count, pixels, out):
            progress.update(task, completed=done)
    Console().print(f"{count} pictures and truth.jsonl in {out}")


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
) -> None:
    """Learn on pictures with known truth what a model's confidence is worth, and write calibration.json."""
    import contextlib

    from deixis.backends import resolve_model
    from deixis.lab.calibrate import collected, fitted, provenance, read_rows
    from deixis.lab.make import parse_size
    from deixis.lab.worlds import load_world
    from deixis.spatial import Deixis
    from deixis.spatial.checking.calibration import FILE

    worlds, pixels = world or ["desk", "primitives"], parse_size(size)
    for name in worlds:
        load_world(name)
    session = Deixis(resolve_model(model))
    made = provenance(session.backend.card, worlds, count, seed, size)
    rows = [row for path in readings or () if path.exists() for row in read_rows(path, made["weights"])]
    with contextlib.ExitStack() as opened:
        progress = opened.enter_context(_progress())
        lines = opened.enter_context(readings[0].open("a", encoding="utf-8")) if readings else None
        for name in worlds:
            done = {row["index"] for row in rows if (row["world"], row["seed"]) == (name, seed)}
            first = max(done, default=-1) + 1
            task = progress.add_task(name, total=count, completed=first)
            for found in collected(session, name, seed, count - first, pixels, first):
                rows += found
                progress.advance(task)
                if lines is not None:
                    lines.writelines(json.dumps({**row, "weights": made["weights"]}) + "\n" for row in found)
                    lines.flush()
    wanted = [row for row in rows if row["world"] in worlds and row["seed"] == seed and row["index"] < count]
    calibration = fitted(wanted, made)
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_text(json.dumps(calibration.to_json(), indent=1) + "\n", encoding="utf-8")
    Console().print(f"{len(wanted)} questions weighed; {out / FILE}")


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
    count: CountOption = 500,
    seed: SeedOption = 900001,
    size: SizeOption = "640x480",
    model: Annotated[str, typer.Option("--model", help="which model to ask")] = "nano",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask a model about pictures that it has never seen; a table per kind."""
    from deixis.backends import resolve_model
    from deixis.lab.bench import report, scored
    from deixis.lab.make import parse_size
    from deixis.lab.worlds import load_world

    pixels = parse_size(size)
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
