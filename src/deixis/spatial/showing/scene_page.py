"""A scene as one HTML page that opens offline: photograph, labelled boxes, camera frustum and a field-of-view slider in three.js.

Knows the page's template and what goes into it. Does not know how the scene was found. Every request stays inside the page:
three.js comes in as data URLs by an import map, the photograph as a data URL, and the page's own policy forbids the rest. Labels
and names are data: they travel in a JSON block that holds no "<", and the script puts them on the page as text.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from importlib.resources import files

from PIL import Image

from deixis.media import Picture
from deixis.spatial.checking.claims import SENTENCES
from deixis.spatial.places.layout import PLACES_ZH, ROOMS_ZH
from deixis.spatial.scene import Scene
from deixis.spatial.showing.draw import PALETTE

PHOTO_PX = 2_048  # the backdrop's longer side at most; boxes keep the coordinates of the full picture
PHOTO_QUALITY = 88
_ASSETS = files("deixis.spatial.showing") / "assets"
_MODULES = {  # bare name: file
    "three": "three.module.min.js",
    "three-core": "three.core.min.js",
    "three/addons/controls/OrbitControls.js": "OrbitControls.js",
}
_CORE = '"./three.core.min.js"'  # a module that is a data URL has no folder to look beside it


def scene_page(scene: Scene) -> str:
    """The whole page. About 1.1 MB of three.js, and the photograph."""
    imports = {name: _data_url(_asset(file).replace(_CORE, '"three-core"')) for name, file in _MODULES.items()}
    data = {
        "scene": scene.to_json(),
        "photo": _photo_url(scene.picture),
        "sentences": {"en": SENTENCES["en"], "zh": {**SENTENCES["zh"], **PLACES_ZH, **ROOMS_ZH}},
        "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in PALETTE],
    }
    parts = {
        "title": html.escape(f"{scene.picture.name} · Deixis"),
        "scene": script_json(data),
        "importmap": script_json({"imports": imports}),
        "script": _asset("scene.js"),
    }
    # In one pass: what a part holds is never read as a place for another.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("scene.html"))


def script_json(value: object) -> str:
    """JSON that may stand inside a <script> element: it holds no "<", ">" or "&", so it can neither end it nor open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda letter: f"\\u{ord(letter[0]):04x}", text)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _data_url(script: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(script.encode()).decode()


def _photo_url(picture: Picture) -> str:
    image = Image.fromarray(picture.pixels)
    image.thumbnail((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=PHOTO_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
