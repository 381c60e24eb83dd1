"""The commands. Exit codes: 0 answered (also "absent" and "unsure"), 2 bad usage or input, 1 anything else.

Knows options and exit codes. Does not know how answers are found. Heavy rooms are imported inside the commands, so that
`deixis --help` starts at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from deixis.errors import DeixisError, OptionError

if TYPE_CHECKING:
    from deixis.spatial import LocateAnswer
    from deixis.spatial.answer import Answer

# Sub-commands whose rooms are imported when they are called: name: (module, attribute, what it is for, extra it needs).
_LAZY: dict[str, tuple[str, str, str, str]] = {
    "lab": ("deixis.lab.cli", "app", "Worlds with exact truth, and the training of nano.", "lab"),
    "bench": ("deixis.lab.cli", "bench", "Measured accuracy and speed.", "lab"),
}


_TYPER_INTERRUPTED = 130  # what typer makes of Ctrl-C


class _LazyGroup(TyperGroup):
    """A sub-command that shows its help line without importing its room."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module, attribute, _, needs = _LAZY[self.name or ""]
        try:
            app = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise OptionError(
                f"`deixis {self.name}` needs {error.name}, which is not installed; `pip install 'deixis[{needs}]'`"
            ) from error
        return typer.main.get_command(app).make_context(info_name, args, parent=parent, **extra)


class _Commands(TyperGroup):
    """The top level: the commands of this file, then the lazy ones whose rooms are installed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name, entry in _LAZY.items() if _exists(entry[0]))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _LAZY and _exists(_LAZY[cmd_name][0]):
            return _LazyGroup(name=cmd_name, help=_LAZY[cmd_name][2])
        return super().get_command(ctx, cmd_name)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Ask where, and get an answer that you can check.",
)
models_app = typer.Typer(help="What is on this machine, what can be pulled, and what each is for.", add_completion=False)
app.add_typer(models_app, name="models")

Image = Annotated[str, typer.Argument(help="A picture file.", show_default=False)]
Model = Annotated[str, typer.Option(help="auto, nano, a directory, a hub id, or http://host:8000/v1#name.")]
CameraText = Annotated[str | None, typer.Option("--camera", metavar="FX,FY,CX,CY", help="The picture's camera, in pixels.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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
    as_json: Json = False,
    save: Save = None,
) -> None:
    """Answer a question about a picture, with boxes, checked claims and a confidence."""
    from deixis.spatial import Deixis
    from deixis.spatial.reading import read_question

    picture, known_camera = _picture(image, camera, save)
    read_question(question)  # an empty one is refused before a model is loaded
    deixis = Deixis(model)
    answer = deixis.ask(picture, question, camera=known_camera).with_load_ms(deixis.load_ms)
    if save is not None:
        from deixis.spatial.draw import draw_answer, save_picture

        save_picture(draw_answer(picture, answer), save)
    _show(answer, as_json, save)


@app.command()
def locate(
    image: Image,
    what: Annotated[str, typer.Argument(help="What to find, in English or Chinese.", show_default=False)],
    three_d: Annotated[bool, typer.Option("--3d", help="3D boxes too, in metres.")] = False,
    model: Model = "auto",
    camera: CameraText = None,
    as_json: Json = False,
    save: Save = None,
) -> None:
    """Find every instance of something: boxes in pixels, or the word that it is absent."""
    from deixis.spatial import Deixis
    from deixis.spatial.reading import read_question

    picture, known_camera = _picture(image, camera, save)
    read_question(what)
    deixis = Deixis(model)
    found = deixis.locate(picture, what, three_d=three_d, camera=known_camera).with_load_ms(deixis.load_ms)
    if save is not None:
        from deixis.spatial.draw import draw_locate, save_picture

        save_picture(draw_locate(picture, found), save)
    _show(found, as_json, save)


@models_app.callback(invoke_without_command=True)
def _models(ctx: typer.Context, as_json: Json = False) -> None:
    if ctx.invoked_subcommand is None:
        list_models(as_json=as_json)


@models_app.command("list")
def list_models(as_json: Json = False) -> None:
    """What is on this machine, and what can be pulled."""
    from deixis.backends.catalog import KNOWN, local_checkpoints
    from deixis.cli.report import show_models, state_of

    local = local_checkpoints()
    free_bytes = None
    if any(checkpoint.source != "embedded" for checkpoint in local):
        from deixis.backends.registry import free_memory_bytes

        free_bytes = free_memory_bytes()[0]
    if as_json:
        here = [
            {
                "name": checkpoint.name,
                "directory": str(checkpoint.directory),
                "source": checkpoint.source,
                "bytes": checkpoint.bytes,
                "state": state_of(checkpoint, free_bytes),
            }
            for checkpoint in local
        ]
        known = [{"name": entry.hub_id, "bytes": entry.bytes, "for": entry.purpose} for entry in KNOWN]
        _print_json({"here": here, "known": known})
    else:
        show_models(_console(), local, free_bytes)


@models_app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(help="Qwen/Qwen3-VL-2B-Instruct, or modelscope:Qwen/…", show_default=False)],
    as_json: Json = False,
) -> None:
    """Download a checkpoint. A pull that broke off goes on where it stopped."""
    from deixis.backends.pull import pull

    directory = pull(name, lambda line: typer.echo(line, err=True))
    if as_json:
        _print_json({"name": name, "directory": str(directory)})
    else:
        typer.echo(f"{name} is at {directory}; use it with --model {name}")


def _picture(image: str, camera: str | None, save: str | None) -> tuple[Any, Any]:
    """The picture and the user's camera, if any; everything that can be refused before a model is loaded, is."""
    from deixis.geometry import Camera
    from deixis.media import load_picture

    if save is not None:
        from deixis.spatial.draw import checked_target

        checked_target(save)
    picture = load_picture(image)
    return picture, None if camera is None else Camera.from_text(camera, picture.width, picture.height)


def _show(answer: Answer | LocateAnswer, as_json: bool, saved: str | None) -> None:
    from deixis.cli.report import show_answer, show_locate
    from deixis.spatial import LocateAnswer
    from deixis.spatial.draw import missing_letters

    if as_json:
        _print_json(answer.to_json())
        return
    if saved is not None and (lost := missing_letters(answer)):
        saved += f" (no font here has {lost}: install a Chinese font such as fonts-noto-cjk to see these labels)"
    if isinstance(answer, LocateAnswer):
        show_locate(_console(), answer, saved)
    else:
        show_answer(_console(), answer, saved)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _print_json(value: object) -> None:
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
        _print_json({"error": {"type": kind, "message": line}})
    typer.echo(f"deixis: {line}", err=True)
    return code


def main() -> None:
    """The program."""
    # Threads that wait sleep instead of spinning: where another program wants the cores, spinning makes every product wait for
    # the scheduler (measured on two busy cores: first answer 2.7 s, sleeping 0.5 s). Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run())
