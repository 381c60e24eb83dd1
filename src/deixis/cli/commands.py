"""The commands. Exit codes: 0 answered (also "absent" and "unsure"), 2 bad usage or input, 1 anything else.

Knows options and exit codes. Does not know how answers are found. Heavy rooms are imported inside the commands, so that
`deixis --help` starts at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deixis.cli.lazy import Commands
from deixis.errors import DeixisError, OptionError

if TYPE_CHECKING:
    from deixis.backends import Backend
    from deixis.geometry import Camera
    from deixis.spatial import LocateAnswer
    from deixis.spatial.answer import Answer

_TYPER_INTERRUPTED = 130  # what typer makes of Ctrl-C


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Ask where, and get an answer that you can check.",
)

Image = Annotated[str, typer.Argument(help="A picture file.", show_default=False)]
Model = Annotated[str, typer.Option(help="auto, nano, a directory, a hub id, or http://host:8000/v1#name.")]
CameraText = Annotated[str | None, typer.Option("--camera", metavar="FX,FY,CX,CY", help="The picture's camera, in pixels.")]
Fov = Annotated[float | None, typer.Option("--fov", metavar="DEG", help="Instead: its horizontal field of view in degrees.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Explain = Annotated[
    str | None, typer.Option(metavar="OUT.png", help="Save a heat map of where the model looked while it answered.")
]
Save = Annotated[str | None, typer.Option(metavar="OUT.png", help="Save the picture with boxes and answer.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from deixis import __version__

        typer.echo(f"deixis {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has done everything


@app.command()
def ask(
    image: Image,
    question: Annotated[str, typer.Argument(help="A question, in English or Chinese.", show_default=False)],
    model: Model = "auto",
    camera: CameraText = None,
    fov: Fov = None,
    as_json: Json = False,
    save: Save = None,
    explain: Explain = None,
) -> None:
    """Answer a question about a picture, with boxes, checked claims and a confidence."""
    from deixis.spatial import Deixis
    from deixis.spatial.language.reading import read_question

    picture, known_camera = picture_and_camera(image, camera, save, fov)
    _check_explanation(explain)
    read_question(question)  # an empty one is refused before a model is loaded
    deixis = Deixis(model)
    _check_explanation(explain, deixis.backend)
    answer = deixis.ask(picture, question, camera=known_camera).with_load_ms(deixis.load_ms)
    if save is not None:
        from deixis.spatial.showing.draw import draw_answer
        from deixis.spatial.showing.saving import save_picture

        save_picture(draw_answer(picture, answer), save)
    _save_explanation(explain, deixis.backend, picture, answer)
    _show(answer, as_json, save)


@app.command()
def locate(
    image: Image,
    what: Annotated[str, typer.Argument(help="What to find, in English or Chinese.", show_default=False)],
    three_d: Annotated[bool, typer.Option("--3d", help="3D boxes too, in metres.")] = False,
    model: Model = "auto",
    camera: CameraText = None,
    fov: Fov = None,
    as_json: Json = False,
    save: Save = None,
    explain: Explain = None,
) -> None:
    """Find every instance of something: boxes in pixels, or the word that it is absent."""
    from deixis.spatial import Deixis
    from deixis.spatial.language.reading import read_question

    picture, known_camera = picture_and_camera(image, camera, save, fov)
    _check_explanation(explain)
    read_question(what)
    deixis = Deixis(model)
    _check_explanation(explain, deixis.backend)
    found = deixis.locate(picture, what, three_d=three_d, camera=known_camera).with_load_ms(deixis.load_ms)
    if save is not None:
        from deixis.spatial.showing.draw import draw_locate
        from deixis.spatial.showing.saving import save_picture

        save_picture(draw_locate(picture, found), save)
    _save_explanation(explain, deixis.backend, picture, found)
    _show(found, as_json, save)


@app.command()
def reproject(
    record: Annotated[str, typer.Argument(help="What ask, locate --3d or scene wrote as JSON; - reads it from stdin.")],
    camera: CameraText = None,
    fov: Fov = None,
    as_json: Json = False,
) -> None:
    """The same answer, objects or scene in another camera, without asking the model again."""
    from deixis.spatial.places.reproject import read_record
    from deixis.spatial.scene import Scene

    found = read_record(_json_of(record))
    chosen = _camera(camera, fov, found.camera.width, found.camera.height)
    if chosen is None:
        raise OptionError("no camera is given; expected --fov DEG or --camera FX,FY,CX,CY")
    moved = found.with_camera(chosen)
    if as_json or isinstance(moved, Scene):
        print_json(moved.to_json())
    else:
        _show(moved, False, None)


def _json_of(path: str) -> object:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{path} cannot be read as JSON: {error}") from error


def picture_and_camera(image: str, camera: str | None, save: str | None, fov: float | None = None) -> tuple[Any, Any]:
    """The picture and the user's camera, if any; everything that can be refused before a model is loaded, is."""
    from deixis.media import load_picture

    if save is not None:
        from deixis.spatial.showing.saving import checked_target

        checked_target(save)
    picture = load_picture(image)
    return picture, _camera(camera, fov, picture.width, picture.height)


def _camera(camera: str | None, fov: float | None, width: int, height: int) -> Camera | None:
    from deixis.geometry import Camera

    if camera is not None and fov is not None:
        raise OptionError("--camera and --fov are both given; expected one of them: each says the focal length")
    if fov is not None:
        return Camera.from_fov(width, height, fov, "x")
    return None if camera is None else Camera.from_text(camera, width, height)


def _check_explanation(target: str | None, backend: Backend | None = None) -> None:
    """Refuse a heat map that cannot be saved, or that the backend cannot give, before anything is asked."""
    if target is not None:
        from deixis.spatial.showing.explain import explainable
        from deixis.spatial.showing.saving import checked_target

        checked_target(target)
        if backend is not None:
            explainable(backend)


def _save_explanation(target: str | None, backend: Backend, picture: Any, answer: Answer | LocateAnswer) -> None:
    if target is not None:
        from deixis.spatial.showing.explain import draw_heat, explain
        from deixis.spatial.showing.saving import save_picture

        save_picture(draw_heat(picture, explain(backend, picture, answer)), target)


def _show(answer: Answer | LocateAnswer, as_json: bool, saved: str | None) -> None:
    from deixis.cli.report import show_answer, show_locate
    from deixis.spatial import LocateAnswer
    from deixis.spatial.showing.draw import missing_letters

    if as_json:
        print_json(answer.to_json())
        return
    if saved is not None and (lost := missing_letters(answer)):
        saved += f" (no font here has {lost}: install a Chinese font such as fonts-noto-cjk to see these labels)"
    if isinstance(answer, LocateAnswer):
        show_locate(terminal(), answer, saved)
    else:
        show_answer(terminal(), answer, saved)


def terminal() -> Any:
    """Where text for people goes."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name) and return its exit code. Errors are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = app(args=arguments, prog_name="deixis", standalone_mode=False)
    except DeixisError as error:
        return _failed(type(error).__name__, str(error), error.exit_code, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("Interrupted", "interrupted", 1, arguments)
    except BrokenPipeError:
        # Whoever read the output has gone; Python must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # Usage errors belong to the click that typer carries inside, which has no public name.
        if describe := getattr(error, "format_message", None):
            # Without arguments the help has just been shown, and there is nothing to add.
            return _failed("UsageError", f"{describe()} (see `deixis --help`)", 2, arguments) if describe() else 2
        if os.environ.get("DEIXIS_DEBUG"):
            raise
        line = f"{type(error).__name__}: {error}"
        return _failed("InternalError", f"{line} (this is a bug or a full disk; DEIXIS_DEBUG=1 shows where)", 1, arguments)
    if result == _TYPER_INTERRUPTED:
        return _failed("Interrupted", "interrupted", 1, arguments)
    return result if isinstance(result, int) else 0


def _failed(kind: str, message: str, code: int, arguments: Sequence[str]) -> int:
    line = " ".join(message.split())
    if "--json" in arguments:
        print_json({"error": {"type": kind, "message": line}})
    typer.echo(f"deixis: {line}", err=True)
    return code


def main() -> None:
    """The program."""
    # Threads that wait sleep instead of spinning: where another program wants the cores, spinning makes every product wait for
    # the scheduler (measured on two busy cores: first answer 2.7 s, sleeping 0.5 s). Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run())
