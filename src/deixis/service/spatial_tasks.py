"""What an engine's process does for `/v1/spatial/*`: arguments and bytes in, the contract's JSON out.

Knows `Deixis`. Does not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deixis.geometry import Camera
from deixis.media import Picture, load_picture, open_video
from deixis.service.call import Call
from deixis.spatial import Deixis
from deixis.spatial.video.watch import watch as watch_video

Arguments = Mapping[str, Any]
Task = Callable[[Deixis, Call, Arguments, Sequence[bytes]], dict[str, Any]]


def ask(deixis: Deixis, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """`question`, `evidence`, `camera` or `fov_deg`; the picture."""
    del call
    picture = load_picture(blobs[0])
    return deixis.ask(picture, asked["question"], _camera(asked, picture), evidence=asked["evidence"]).to_json()


def locate(deixis: Deixis, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """`what`, `three_d`, `camera` or `fov_deg`; the picture."""
    del call
    picture = load_picture(blobs[0])
    return deixis.locate(picture, asked["what"], three_d=asked["three_d"], camera=_camera(asked, picture)).to_json()


def scene(deixis: Deixis, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """`language`, `camera` or `fov_deg`; the picture."""
    del call
    picture = load_picture(blobs[0])
    return deixis.scene(picture, camera=_camera(asked, picture), language=asked["language"]).to_json()


def watch(deixis: Deixis, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """`question`, `fps`, `frames`, `camera` or `fov_deg`; the video. Nothing of it is kept once it is answered."""
    video = open_video(blobs[0])

    def tell(step: str, share: float) -> None:
        call.check()
        call.send({"event": "progress", "step": step, "share": round(min(share, 1.0), 4)})

    camera = asked.get("camera")
    if asked.get("fov_deg") is not None:
        camera = Camera.from_fov(video.info.width, video.info.height, asked["fov_deg"], "x")
    answer = watch_video(deixis, video, asked["question"], camera, fps=asked["fps"], frames=asked["frames"], progress=tell)
    return answer.to_json()


def _camera(asked: Arguments, picture: Picture) -> Camera | Sequence[float] | None:
    if asked.get("fov_deg") is not None:
        return Camera.from_fov(picture.width, picture.height, asked["fov_deg"], "x")
    camera: Sequence[float] | None = asked.get("camera")
    return camera


TASKS: Mapping[str, Task] = {"ask": ask, "locate": locate, "scene": scene, "watch": watch}
