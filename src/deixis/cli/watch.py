"""`deixis watch`: a question about a video, answered with moments, events and tracks; shown, printed as JSON, or drawn.

Knows options, the progress bar and the report. Does not know how the answer is found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deixis.cli.commands import CameraText, Json, Model, print_json, terminal
from deixis.errors import CameraError, OptionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from deixis.geometry import Camera
    from deixis.media import Video
    from deixis.spatial.language.prompts import Language
    from deixis.spatial.video.reading import Progress
    from deixis.spatial.video.watch_answer import WatchAnswer

_SHOWN_EVENTS, _SHOWN_TRACKS = 20, 20
_STEPS = {"survey": "looking for changes", "locate": "locating things", "again": "looking again", "ask": "asking the model"}
_STATES: dict[str, str] = {"visible": "可见", "occluded": "被挡住", "out_of_view": "在画面外", "gone": "被拿走"}

_VIDEO = "A video file, a folder of pictures, an address, a webcam's number; with --ledger also a picture."
_FPS = "Frames a second to locate things in, all over the video; of a folder the rate of its pictures."
_FRAMES = "At most so many frames (default 120, chosen where something changes), and 24 more around what is asked after."
_SAVE = "Save the video with boxes and captions, or a sheet of its key frames."


def watch_command(
    video: Annotated[str, typer.Argument(help=_VIDEO, show_default=False)],
    question: Annotated[str, typer.Argument(help="A question, in English or Chinese.", show_default=False)],
    model: Model = "auto",
    camera: CameraText = None,
    fps: Annotated[float | None, typer.Option(help=_FPS)] = None,
    frames: Annotated[int | None, typer.Option(min=2, help=_FRAMES)] = None,
    ledger: Annotated[
        str | None, typer.Option(metavar="FILE.sqlite", help="Keep what was seen here; the next question starts from it.")
    ] = None,
    as_json: Json = False,
    save: Annotated[str | None, typer.Option(metavar="OUT.{mp4,png}", help=_SAVE)] = None,
) -> None:
    """Answer a question about a video: where things are now, what happened when, what was hidden by what."""
    from deixis.spatial import Deixis
    from deixis.spatial.language.reading import read_question
    from deixis.spatial.video.reading import open_source
    from deixis.spatial.video.watch import watch

    if save is not None:
        from deixis.spatial.showing.film import checked_film_target

        checked_film_target(save)
    asked = read_question(question)  # an empty one is refused before anything is opened
    if ledger is not None and (Path(ledger).is_dir() or not Path(ledger).parent.is_dir()):
        raise OptionError(f"cannot keep a ledger in {ledger}; expected a file in a directory that exists")
    source: str | int = int(video) if video.isdecimal() and not Path(video).exists() else video
    opened, notes = open_source(source, fps, asked.language, ledger is not None)
    known = _camera(camera, opened)
    deixis = Deixis(model)
    with _progress() as progress:
        answer = watch(deixis, opened, question, known, fps=fps, frames=frames, memory=ledger, progress=progress).with_load_ms(
            deixis.load_ms
        )
    answer = answer.with_notes(notes)
    if save is not None:
        from deixis.spatial.showing.film import save_watched

        save_watched(opened, answer, save)
    if as_json:
        print_json(answer.to_json())
    else:
        show_watch(terminal(), answer, save)


def show_watch(console: Console, answer: WatchAnswer, saved: str | None = None) -> None:
    """The answer, where to look, the events, the tracks, the model and the times, for people."""
    from rich.text import Text

    from deixis.cli.report import confidence_word, footer
    from deixis.spatial.answer import as_percent

    language = answer.language
    head = Text(answer.answer, style="bold")
    if answer.verdict in ("absent", "unsure"):
        head.append(f" → {answer.verdict}", style="bold yellow")
    console.print(head.append(f"   {confidence_word(answer.confidence, language)} ({as_percent(answer.confidence)})", "default"))
    for cited in answer.citations[:5]:
        box = "" if cited.box_px is None else " " + " ".join(f"{value:.0f}" for value in cited.box_px)
        see = {"en": "see", "zh": "见"}[language]
        console.print(Text.assemble((f"{see}: ", "dim"), f"{cited.source} {cited.time_s:.2f} s{box}"))
    for table in (_events_table(answer), _tracks_table(answer)):
        if table is not None:
            console.print(table)
    for line in footer(answer.provenance, language, saved):
        console.print(line)


def _events_table(answer: WatchAnswer) -> Table | None:
    from rich.text import Text

    events, keys = answer.shown_events, {event.key for event in answer.cited}
    if len(events) > _SHOWN_EVENTS:  # those that bear the answer stay
        others = [event for event in events if event.key not in keys][: max(0, _SHOWN_EVENTS - len(keys))]
        events = tuple(sorted([*answer.cited, *others], key=lambda event: event.start_s))[:_SHOWN_EVENTS]
    if not events:
        return None
    table = _table({"en": ("start", "end", "event", "sure"), "zh": ("开始", "结束", "事件", "置信度")}[answer.language])
    for event in events:
        mark = "bold" if event.key in keys else ""
        times = (f"{event.start_s:.2f} s", f"{event.end_s:.2f} s")
        table.add_row(*times, Text(event.description[answer.language], style=mark), f"{event.confidence:.0%}")
    if (more := len(answer.events) - len(events)) > 0:
        table.add_row("…", "", {"en": f"and {more} more", "zh": f"另有{more}件"}[answer.language], "")
    return table


def _tracks_table(answer: WatchAnswer) -> Table | None:
    from rich.text import Text

    if not answer.tracks:
        return None
    columns = {"en": ("thing", "state", "last seen"), "zh": ("物体", "状态", "最后看到")}[answer.language]
    table = _table((*columns, {"en": "box", "zh": "框"}[answer.language] + " px (x1 y1 x2 y2)"))
    for track in answer.tracks[:_SHOWN_TRACKS]:
        seen = [sighting for sighting in track.sightings if sighting.state == "visible" and sighting.box_px is not None][-1]
        state = track.sightings[-1].state
        box = " ".join(f"{value:.0f}" for value in seen.box_px or ())
        shown = state if answer.language == "en" else _STATES[state]
        table.add_row(Text(_named(track.label, answer.language)), shown, f"{seen.time_s:.2f} s", box)
    if (more := len(answer.tracks) - _SHOWN_TRACKS) > 0:
        table.add_row("…", "", "", {"en": f"and {more} more", "zh": f"另有{more}个"}[answer.language])
    return table


def _named(label: str, language: Language) -> str:
    from deixis.spatial.video.event_words import in_chinese

    return in_chinese(label) if language == "zh" else label


def _table(columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr with the time left; nothing at all where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        tasks = {}

        def tell(step: str, share: float) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(_STEPS.get(step, step), total=1.0)
            bar.update(tasks[step], completed=min(share, 1.0))

        yield tell


def _camera(text: str | None, video: Video) -> Camera | None:
    from deixis.geometry import Camera

    if text is None:
        return None
    if not video.info.width or not video.info.height:
        raise CameraError("the video's size is not known, so no camera can be given for it")
    return Camera.from_text(text, video.info.width, video.info.height)
