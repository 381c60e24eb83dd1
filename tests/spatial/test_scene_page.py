"""The scene's page: self-contained, safe with hostile names, and drawn by a real browser without a fault."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.media import load_picture
from deixis.spatial.scene import Scene
from deixis.spatial.showing.draw import PALETTE
from deixis.spatial.showing.scene_page import scene_page, script_json
from tests.spatial.scenes import BOXES, CAMERA, HOSTILE, PICTURE, scene_of_boxes

THREE = {  # three.js 0.185.1 as published
    "OrbitControls.js": "faabb4e8dfd9235ee4a9fd7c9a3d75f90f1689dbd4944bd6fd32117dacec5f93",
    "three.core.min.js": "05b2609338c76cd65daf74f3ac515bc9a5045e1b3b33edc07d8c9bd55250fa90",
    "three.module.min.js": "86bcee248b64f44bcfc23c331ae74619061957d59cab040171dcb6fb5900beb6",
}


def data_of(page: str) -> dict[str, Any]:
    """What the page's script reads."""
    block = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    found: dict[str, Any] = json.loads(block[1])
    return found


def test_the_page_holds_everything_it_needs() -> None:
    scene = scene_of_boxes()
    page = scene_page(scene)
    assert data_of(page)["scene"] == scene.to_json()
    assert "{{" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!data:)', page)
    imports = re.search(r'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    assert imports is not None
    assert all(url.startswith("data:text/javascript;base64,") for url in json.loads(imports[1])["imports"].values())
    assert "default-src 'none'" in page
    assert len(page) < 1_200_000


def test_hostile_names_stay_data() -> None:
    scene = scene_of_boxes(((HOSTILE, BOXES[0][1]), ("</SCRIPT >" + "x" * 10_000, BOXES[2][1])))
    raw = replace(scene.objects[0], label=HOSTILE)  # the parser would have cleaned it
    page = scene_page(replace(scene, objects=(raw, scene.objects[1]), picture=load_picture(PICTURE.pixels, name=HOSTILE)))
    assert page.count("</script") == scene_page(scene_of_boxes()).count("</script")
    assert "<img" not in page
    assert page.count('"imports"') == 1
    assert html.escape(HOSTILE) in page  # the title
    assert data_of(page)["scene"]["objects"][0]["label"] == HOSTILE


def test_script_json_is_json_without_markup() -> None:
    value = {HOSTILE: [HOSTILE, "<!--<script>", "\u2029"]}
    text = script_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_large_photographs_are_reduced_on_the_page_alone() -> None:
    large = load_picture(np.zeros((2_000, 4_000, 3), np.uint8))
    scene = replace(scene_of_boxes(), picture=large)
    assert data_of(scene_page(scene))["scene"]["picture"]["width"] == 4_000
    assert len(scene_page(scene)) < 1_200_000


@pytest.mark.parametrize("name", sorted(THREE))
def test_three_is_the_published_one(name: str) -> None:
    assets = files("deixis.spatial.showing") / "assets"
    assert hashlib.sha256((assets / name).read_bytes()).hexdigest() == THREE[name]
    assert "MIT License" in (assets / "LICENSE.three").read_text(encoding="utf-8")


# --- in a browser --------------------------------------------------------------------------------------------------------------


def browse(scene: Scene, folder: Path, *options: str, view: str = "") -> tuple[str, str]:
    """Open the page in headless Chromium: its document at the end, and what it said on the console."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    page = folder / "scene.html"
    page.write_text(scene_page(scene), encoding="utf-8")
    command = [chromium, "--headless", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    command += ["--no-first-run", "--disable-quic", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--v=0", "--window-size=1280,800", "--virtual-time-budget=8000"]
    command += ["--no-sandbox"] * (os.geteuid() == 0)
    done = subprocess.run([*command, *options, page.as_uri() + view], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.slow
def test_a_browser_draws_the_boxes_where_geometry_has_them(tmp_path: Path) -> None:
    scene = replace(scene_of_boxes(), camera=CAMERA)
    document, console = browse(scene, tmp_path, "--dump-dom")
    assert console == ""
    assert 'data-ready="3"' in document
    assert "data-fault" not in document
    tags = re.findall(r"translate\(([-\d.]+)px, ([-\d.]+)px\)", document)
    lefts = np.array([float(left) for left, _ in tags])
    hulls = [item.box_3d.project(scene.camera) for item in scene.objects if item.box_3d is not None]
    expected = np.array([hull[0] for hull in hulls if hull is not None])
    shares = (lefts - lefts[0]) / (lefts[2] - lefts[0])  # of the window's pixels, whatever its size
    assert shares == pytest.approx((expected - expected[0]) / (expected[2] - expected[0]), abs=2e-3)

    browse(scene, tmp_path, f"--screenshot={tmp_path / 'shot.png'}")
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)[:, 320:]  # beside the panel
    for color in PALETTE[: len(scene.objects)]:
        assert (np.abs(pixels - color).max(axis=2) < 40).sum() > 100, f"no lines in {color}"
    assert (np.abs(pixels - 128).max(axis=2) < 6).mean() > 0.3, "no photograph"


@pytest.mark.slow
def test_another_field_of_view_moves_the_boxes_along_their_rays(tmp_path: Path) -> None:
    scene = scene_of_boxes()
    document, console = browse(scene, tmp_path, "--dump-dom", view="#fov=90&object=1")
    assert console == ""
    assert ">90.0°</output>" in document
    found = [float(metres) for metres in re.findall(r"<small>([\d.]+) m</small>", document)]
    closer = (CAMERA.width / 2) / CAMERA.fx  # tan 45° is 1
    assert found == pytest.approx([item.depth_m * closer for item in scene.objects if item.depth_m], abs=0.006)
    assert document.count("<polygon") == 3  # seen from above
    assert 'aria-pressed="true"' in document


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1280,800", "390,844"])
def test_from_the_side_the_whole_frustum_is_in_the_room_that_the_panel_leaves(size: str, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    _, console = browse(scene_of_boxes(), tmp_path, f"--window-size={size}", f"--screenshot={shot}", view="#view=side")
    assert console == ""
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    wide, tall = (int(side) for side in size.split(","))
    room = pixels[:, 330:] if wide > 760 else pixels[: int(tall * 0.53)]
    photograph = np.abs(room - 128).max(axis=2) < 6
    assert photograph.mean() > 0.05
    for edge in (photograph[0], photograph[-1], photograph[:, 0], photograph[:, -1]):
        assert edge.mean() < 0.02


@pytest.mark.slow
def test_a_browser_runs_no_hostile_name_and_shows_an_empty_scene(tmp_path: Path) -> None:
    scene = scene_of_boxes(((HOSTILE, BOXES[0][1]),))
    flat = replace(scene.objects[0], box_3d=None, depth_m=None, label="flat")
    scene = replace(scene, picture=load_picture(PICTURE.pixels, name=HOSTILE), objects=(*scene.objects, flat))
    document, console = browse(scene, tmp_path, "--dump-dom")
    assert console == ""
    assert 'data-ready="2"' in document
    assert "<img" not in re.sub(r"<script.*?</script>", "", document, flags=re.DOTALL)
    document, console = browse(replace(scene, objects=(), relations=(), supports=()), tmp_path, "--dump-dom")
    assert (console, 'data-ready="0"' in document) == ("", True)
