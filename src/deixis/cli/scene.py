"""`deixis scene`: everything in a picture, written as JSON, glTF binary or a page that opens offline.

Knows options and files. Does not know how the scene is found or drawn. A file is written whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deixis.cli.commands import CameraText, Fov, Image, Json, Model, picture_and_camera, print_json, terminal
from deixis.errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console

    from deixis.spatial.language.prompts import Language
    from deixis.spatial.places.layout import Layout
    from deixis.spatial.scene import Scene

SUFFIXES = (".json", ".glb", ".html")
_SHOWN = 12  # relations in the terminal; the file has them all

Out = Annotated[str, typer.Option("--out", "-o", metavar="OUT.{json,glb,html}", help="Where to; the ending says as what.")]
LabelLanguage = Annotated[str, typer.Option("--language", metavar="en|zh", help="The language of labels.")]


def scene_command(
    image: Image,
    out: Out,
    model: Model = "auto",
    camera: CameraText = None,
    fov: Fov = None,
    language: LabelLanguage = "en",
    as_json: Json = False,
) -> None:
    """Everything in a picture: boxes in 2D and 3D, relations, supports and the camera, as JSON, glTF or a page."""
    from deixis.spatial import Deixis

    target, spoken = _target(out), _language(language)
    picture, known_camera = picture_and_camera(image, camera, None, fov)
    deixis = Deixis(model)
    scene = deixis.scene(picture, camera=known_camera, language=spoken).with_load_ms(deixis.load_ms)
    _write(target, _encoded(scene, target.suffix.lower()))
    if as_json:
        print_json(scene.to_json())
    else:
        show_scene(terminal(), scene, str(target))


def show_scene(console: Console, scene: Scene, saved: str) -> None:
    """Objects, what holds between them, supports, camera, model and times, for people."""
    from rich.text import Text

    from deixis.cli.report import camera_text, footer, line_of, objects_table
    from deixis.spatial.checking.claims import SENTENCES

    names, language = scene.names, scene.language
    nothing = Text("没有找到物体" if language == "zh" else "nothing found")
    console.print(objects_table(scene.objects, language) if scene.objects else nothing)
    held = [relation for relation in scene.relations if relation.margin.decided]
    for relation in held[:_SHOWN]:
        sentence = SENTENCES[language][relation.relation].format(a=names[relation.subject], b=names[relation.objects[0]])
        console.print(Text(f"{sentence} ({relation.margin.value:+.2f} {relation.margin.unit})"))
    if len(held) > _SHOWN:
        more = len(held) - _SHOWN
        console.print(Text(f"… 另有{more}个关系" if language == "zh" else f"… and {more} more relations", style="dim"))
    for stack in scene.stacks:
        console.print(Text(" → ".join(names[i] for i in stack)))
    if scene.layout is not None:
        console.print(Text("\n".join(layout_lines(scene.layout, names, language))))
    console.print(line_of("camera", camera_text(scene.camera, language), language))
    for line in footer(scene.provenance, language, saved):
        console.print(line)


def layout_lines(layout: Layout, names: Sequence[str], language: Language) -> list[str]:
    """The plan in words: the room, what stands where, and the camera's own place."""
    from deixis.spatial.places.layout import PLACES_ZH, ROOMS_ZH

    known = "" if layout.room_type == "unknown" else f"{layout.room_type}: "
    places = "; ".join(f"{place}: {', '.join(names[i] for i in things)}" for place, things in layout.places.items())
    if language == "en":
        return [
            f"{known}{places}",
            f"camera {layout.camera_height_m:.2f} m above the {layout.ground_name}, {layout.low_m[1]:.2f} m before the near "
            f"side, looking {layout.camera_tilt_deg:.0f}° down",
        ]
    known = ROOMS_ZH.get(layout.room_type, "")
    places = ";".join(f"{PLACES_ZH[place]}:{'、'.join(names[i] for i in things)}" for place, things in layout.places.items())
    return [
        f"{known + ':' if known else ''}{places}",
        f"相机高出{'桌面' if layout.kind == 'tabletop' else '地面'}{layout.camera_height_m:.2f}米,"
        f"在近侧之前{layout.low_m[1]:.2f}米,向下看{layout.camera_tilt_deg:.0f}°",
    ]


def _target(out: str) -> Path:
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot write a scene as {path.name!r}; expected a name that ends in {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"cannot write to {path}; expected a file in a directory that exists")
    return path


def _language(name: str) -> Language:
    if name == "en":
        return "en"
    if name == "zh":
        return "zh"
    raise OptionError(f"language is {name!r}; expected en or zh")


def _encoded(scene: Scene, suffix: str) -> bytes:
    if suffix == ".glb":
        from deixis.spatial.showing.scene_gltf import scene_glb

        return scene_glb(scene)
    if suffix == ".html":
        from deixis.spatial.showing.scene_page import scene_page

        return scene_page(scene).encode()
    return (json.dumps(scene.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    """To a file beside it first, then renamed; readable as the user's other files are."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(draft).chmod(0o666 & ~umask)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
