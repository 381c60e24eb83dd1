"""Scenes as .glb: where the corners are, what the nodes are called, and what Khronos' validator says."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.backends import FakeBackend
from deixis.geometry import Box3D
from deixis.spatial import Deixis
from deixis.spatial.showing.scene_gltf import scene_glb
from tests.spatial.scenes import BOXES, CARD, HOSTILE, PICTURE, scene_of_boxes

_VALIDATE = """
const validator = require("gltf-validator");
const bytes = new Uint8Array(require("fs").readFileSync(process.argv[1]));
validator.validateBytes(bytes).then((report) => console.log(JSON.stringify(report.issues)));
"""


def tree_of(glb: bytes) -> dict[str, Any]:
    """The JSON chunk."""
    magic, version, length, size, kind = struct.unpack_from("<4sIIII", glb)
    assert (magic, version, length, kind) == (b"glTF", 2, len(glb), 0x4E4F534A)
    tree: dict[str, Any] = json.loads(glb[20 : 20 + size])
    return tree


def test_boxes_stand_where_the_scene_has_them() -> None:
    scene = scene_of_boxes((*BOXES, ("camera", (0.1, -0.1, 1.2, 0.1, 0.2, 0.3, 0.1, 0.2, -0.3))))
    tree = tree_of(scene_glb(scene))
    nodes = {node["name"]: node for node in tree["nodes"]}
    assert set(nodes) == {"camera", "frustum", "box", "book", "cup", "camera (2)"}
    for name, item in zip(("box", "book", "cup", "camera (2)"), scene.objects, strict=True):
        assert item.box_3d is not None
        position = tree["meshes"][nodes[name]["mesh"]]["primitives"][0]["attributes"]["POSITION"]
        accessor = tree["accessors"][position]
        assert np.subtract(accessor["max"], accessor["min"]) == pytest.approx(item.box_3d.size_m, abs=1e-6)
        placed = np.array(nodes[name]["matrix"]).reshape(4, 4).T
        assert np.diag([1, -1, -1]) @ placed[:3, 3] == pytest.approx(item.box_3d.center_m, abs=1e-6)
        assert np.diag([1, -1, -1]) @ placed[:3, :3] == pytest.approx(np.array(item.box_3d.rotation), abs=1e-6)
        assert Box3D.from_qwen(nodes[name]["extras"]["box_3d"]).iou(item.box_3d) > 0.99


def test_the_camera_is_the_scenes() -> None:
    tree = tree_of(scene_glb(scene_of_boxes()))
    (camera,) = tree["cameras"]
    assert camera["perspective"]["aspectRatio"] == pytest.approx(640 / 480)
    assert camera["perspective"]["yfov"] == pytest.approx(2 * math.atan(240 / 640))
    node = next(node for node in tree["nodes"] if node["name"] == "camera")
    assert node["camera"] == 0
    assert node["extras"]["source"] == "user"
    assert node.get("matrix", np.eye(4).ravel().tolist()) == np.eye(4).ravel().tolist()


def test_nothing_but_a_camera_and_objects_without_depth() -> None:
    empty = Deixis(FakeBackend({"": "[]"}, card=CARD)).scene(PICTURE)
    assert {node["name"] for node in tree_of(scene_glb(empty))["nodes"]} == {"camera", "frustum"}


@pytest.mark.parametrize("boxes", [BOXES, (), (*BOXES, (HOSTILE, BOXES[2][1]), ("杯子", BOXES[0][1]), ("world", BOXES[0][1]))])
def test_khronos_validator_finds_nothing(boxes: Any, tmp_path: Path) -> None:
    node = shutil.which("node")
    probe = [node or "", "-e", 'require("gltf-validator")']
    if node is None or subprocess.run(probe, check=False, capture_output=True, cwd=tmp_path).returncode:
        pytest.skip("needs node and the npm package gltf-validator (NODE_PATH says where)")
    path = tmp_path / "scene.glb"
    path.write_bytes(scene_glb(scene_of_boxes(boxes)))
    done = subprocess.run([node, "-e", _VALIDATE, str(path)], capture_output=True, text=True, check=True, cwd=tmp_path)
    issues = json.loads(done.stdout)
    assert [issues[kind] for kind in ("numErrors", "numWarnings", "numInfos", "numHints")] == [0, 0, 0, 0], issues["messages"]
