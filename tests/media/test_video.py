"""Videos made here with PyAV: which frame comes out, at which time, and what it costs."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.errors import OptionError, PictureError
from deixis.media import MIN_SIDE_PX, Video, VideoFrame, open_still, open_video
from tests.media.clips import HEIGHT, WIDTH, drawn, number_of, patched, write_clip

FILM = Fraction(24_000, 1001)
UNEVEN_MS = [0, 40, 90, 100, 400, 1400, 1410, 3000, 3040, 3600]
MS = Fraction(1, 1000)

# How it is written, and the true times.
TIMED: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    "even": ("a.mp4", {}, [i / 30 for i in range(40)]),
    "no b-frames": ("a.mp4", {"b_frames": 0}, [i / 30 for i in range(40)]),
    "starts at 3.2 s": ("a.mp4", {"stamps": range(96, 136)}, [3.2 + i / 30 for i in range(40)]),
    "starts at 3.2 s, mkv": ("a.mkv", {"stamps": range(96, 136)}, [3.2 + i / 30 for i in range(40)]),
    "film": ("a.mp4", {"rate": FILM}, [i * 1001 / 24_000 for i in range(40)]),
    "film, mkv": ("a.mkv", {"rate": FILM}, [i * 1001 / 24_000 for i in range(40)]),
    "uneven": ("a.mp4", {"stamps": UNEVEN_MS, "time_base": MS}, [ms / 1000 for ms in UNEVEN_MS]),
    "uneven, mkv": ("a.mkv", {"stamps": UNEVEN_MS, "time_base": MS}, [ms / 1000 for ms in UNEVEN_MS]),
    "webm": ("a.webm", {"codec": "libvpx-vp9"}, [i / 30 for i in range(6)]),
    "avi": ("a.avi", {"codec": "mpeg4", "b_frames": 0}, [i / 30 for i in range(40)]),
    "no timestamps": ("a.h264", {"container": "h264"}, [i / 30 for i in range(40)]),
    "with sound": ("a.mp4", {"sound": True}, [i / 30 for i in range(40)]),
}


def numbers(frames: Any) -> list[int]:
    return [number_of(frame.pixels) for frame in frames]


@pytest.mark.parametrize("case", TIMED)
def test_every_frame_has_its_true_time(case: str, tmp_path: Path) -> None:
    name, how, times = TIMED[case]
    video = open_video(write_clip(tmp_path / name, len(times), **how))
    frames = list(video.frames())
    assert numbers(frames) == list(range(len(times)))
    assert [frame.index for frame in frames] == list(range(len(times)))
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=0.0011)  # Matroska stores whole milliseconds
    info = video.info
    assert info.start_s == pytest.approx(times[0], abs=0.001)
    # The last frame's own length is the container's guess.
    assert times[-1] < info.end_s <= times[-1] + 0.05  # type: ignore[operator]
    assert (info.width, info.height, info.has_audio) == (WIDTH, HEIGHT, "sound" in case)
    if case != "no timestamps":
        assert info.variable_rate is ("uneven" in case)
    assert info.fps == pytest.approx(9 / 3.6 if "uneven" in case else 23.976 if "film" in case else 30, abs=0.01)
    assert video.problems == ()


@pytest.mark.parametrize("case", TIMED)
def test_a_moment_shows_the_frame_of_that_moment(case: str, tmp_path: Path) -> None:
    name, how, times = TIMED[case]
    video = open_video(write_clip(tmp_path / name, len(times), **how))
    middles = [(early + late) / 2 for early, late in pairwise(times)]
    assert numbers(video.frames(times=middles)) == list(range(len(middles)))
    assert numbers(video.frames(times=[-5.0, times[3], times[3], 1e9])) == [0, 3, 3, len(times) - 1]
    start = [number_of(frame.pixels) for frame in video.frames(from_s=times[3] - 0.002, to_s=times[5] + 0.002)]
    assert start == [3, 4, 5]


def test_an_edit_list_cuts_the_beginning(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", 40, b_frames=0).read_bytes()
    ticks = 10 * 512  # ten frames of 1/15360 s
    video = open_video(patched(data, b"elst", 12, ticks))
    frames = list(video.frames())
    assert numbers(frames) == list(range(10, 40))
    assert [frame.time_s for frame in frames[:3]] == pytest.approx([0, 1 / 30, 2 / 30])
    assert video.info.start_s == pytest.approx(0)


TURNS = {
    "none": (None, "upright", 0),
    "held to the left": ((90, False, False), "turned right", 270),
    "held to the right": ((-90, False, False), "turned left", 90),
    "upside down": ((180, False, False), "upside down", 180),
    "mirrored": ((0, True, False), "mirrored", 0),
}


@pytest.mark.parametrize("case", TURNS)
def test_frames_come_upright(case: str, tmp_path: Path) -> None:
    rotation, stored, degrees = TURNS[case]
    video = open_video(write_clip(tmp_path / "phone.mp4", 9, rotation=rotation, stored=stored))
    assert (video.info.width, video.info.height, video.info.rotation_deg) == (WIDTH, HEIGHT, degrees)
    frames = list(video.frames())
    assert numbers(frames) == list(range(9))
    assert frames[5].time_s == pytest.approx(5 / 30)
    assert frames[5].pixels.shape == (HEIGHT, WIDTH, 3) and frames[5].pixels.flags.c_contiguous


def test_pixels_are_what_was_written(tmp_path: Path) -> None:
    video = open_video(write_clip(tmp_path / "a.mkv", 3, codec="ffv1"))
    (frame,) = video.frames(times=[1 / 30])
    assert frame.pixels.dtype == np.uint8
    assert np.abs(frame.pixels.astype(int) - drawn(1)).max() <= 3  # YUV and back
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 1


def test_pixels_become_square(tmp_path: Path) -> None:
    video = open_video(write_clip(tmp_path / "wide.mp4", 3, aspect=Fraction(3, 2)))
    assert (video.info.width, video.info.height) == (WIDTH * 3 // 2, HEIGHT)
    assert numbers(video.frames()) == [0, 1, 2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of 30 frames, a keyframe every 12."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 300)


CHOSEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"fps": 2}, list(range(0, 300, 15))),
    ({"fps": 1000, "to_s": 0.2}, [0, 1, 2, 3, 4, 5, 6]),
    ({"fps": 0.25, "from_s": 1.0}, [30, 150, 270]),
    ({"fps": 1, "from_s": 4.0, "to_s": 6.0}, [120, 150, 180]),
    ({"count": 5}, [0, 75, 150, 225, 299]),
    ({"count": 1}, [0]),
    ({"count": 3, "from_s": 1.0, "to_s": 2.0}, [30, 45, 60]),
    ({"times": []}, []),
    ({"times": [0.51, 9.0]}, [15, 270]),
    ({"from_s": 9.95}, [299]),
    ({"from_s": 20.0}, []),
]


@pytest.mark.parametrize(("how", "expected"), CHOSEN)
def test_sampling(clip: Path, how: dict[str, Any], expected: list[int]) -> None:
    frames = list(open_video(clip).frames(**how))
    assert numbers(frames) == expected
    assert [frame.time_s for frame in frames] == pytest.approx([number / 30 for number in expected])


def test_keyframes_alone(clip: Path) -> None:
    video = open_video(clip)
    given = numbers(video.frames(keyframes=True))
    assert given[:2] == [0, 12] and set(given) >= set(range(0, 300, 12))
    assert video.frames_decoded == len(given)


def test_cuts_are_found(tmp_path: Path) -> None:
    # Numbers of one block of 16 differ in the cells of the first row, a block from the next in more: see the assertion.
    shown = [0] * 6 + [0b111110000011111] * 6 + [0b000001111100000] * 6
    import av

    path = tmp_path / "cuts.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i, number in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(
                np.clip(drawn(number).astype(int) + i % 3, 0, 255).astype(np.uint8), format="rgb24"
            )
            frame.pts = i
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    video = open_video(path)
    assert [frame.time_s for frame in video.frames(scene_changes=0.3)] == pytest.approx([0.0, 0.6, 1.2])
    assert len(list(video.frames(scene_changes=1.0))) == 1


@pytest.fixture(scope="module", params=["mp4", "mkv", "ts"])
def long_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour at half a frame a second, a keyframe every 20 s."""
    path = tmp_path_factory.mktemp("long") / f"long.{request.param}"
    return write_clip(path, 1800, rate=1, stamps=range(0, 3600, 2), gop=10, b_frames=0)


def test_moments_far_apart_cost_little(long_clip: Path) -> None:
    video = open_video(long_clip)
    start_s = video.info.start_s
    wanted = [start_s + second for second in (1.0, 900.0, 903.0, 2701.0, 3590.0)]
    assert numbers(video.frames(times=wanted)) == [0, 450, 451, 1350, 1795]
    assert video.frames_decoded <= 100  # of 1,800
    before = video.frames_decoded
    assert numbers(video.frames(fps=1 / 600)) == [0, 300, 600, 900, 1200, 1500]
    assert video.frames_decoded - before <= 150


def test_nothing_is_decoded_before_it_is_asked_for(long_clip: Path) -> None:
    video = open_video(long_clip)
    opened = video.frames_decoded
    frames = video.frames()
    assert video.frames_decoded == opened
    assert number_of(next(frames).pixels) == 0
    assert number_of(next(frames).pixels) == 1
    assert video.frames_decoded - opened <= 3
    again = video.frames(from_s=video.info.start_s + 1800)  # passes do not disturb one another
    assert [number_of(next(each).pixels) for each in (again, frames, again)] == [900, 2, 901]


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"max_side": 40}, (24, 40)),
        ({"max_side": 4000}, (HEIGHT, WIDTH)),
        ({"max_pixels": 960}, (24, 40)),
        ({"max_pixels": 1000, "max_side": 20}, (12, 20)),
        ({"max_side": 10}, (MIN_SIDE_PX, 10)),
    ],
)
def test_frames_shrink_while_they_are_decoded(clip: Path, limits: dict[str, int], size: tuple[int, int]) -> None:
    (frame,) = open_video(clip).frames(times=[1.0], **limits)
    assert frame.pixels.shape == (*size, 3)
    assert number_of(frame.pixels) == 30


def test_bytes_and_paths_are_the_same_video(clip: Path) -> None:
    videos = [open_video(source) for source in (clip, str(clip), clip.read_bytes())]
    assert [video.name for video in videos] == ["clip.mp4", "clip.mp4", "video"]
    assert open_video(clip, name="door").name == "door"
    for video in videos:
        assert isinstance(video, Video)
        assert video.info == videos[0].info
        assert video.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
        (frame,) = video.frames(times=[3.0])
        assert isinstance(frame, VideoFrame) and number_of(frame.pixels) == 90


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 2, "count": 3},
        {"fps": 0},
        {"fps": float("nan")},
        {"count": 0},
        {"times": [2.0, 1.0]},
        {"times": [float("inf")]},
        {"times": [1.0], "from_s": 0.0},
        {"scene_changes": 2.0},
        {"from_s": 3.0, "to_s": 2.0},
        {"max_side": 0},
        {"max_pixels": -1},
    ],
)
def test_arguments_that_do_not_fit(clip: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        open_video(clip).frames(**wrong)  # before the first frame is asked for


def test_sizes_tell_of_every_frame_without_decoding(clip: Path) -> None:
    video = open_video(clip)
    rows = list(video.sizes())
    assert len(rows) == len(list(open_video(clip).frames()))
    assert sorted(time_s for time_s, _, _ in rows) == pytest.approx([frame.time_s for frame in open_video(clip).frames()])
    assert [time_s for time_s, _, key in rows if key] == [frame.time_s for frame in open_video(clip).frames(keyframes=True)]
    assert all(size > 0 for _, size, _ in rows)
    assert video.frames_decoded == 0


def test_a_picture_as_a_video_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    Image.fromarray(drawn(5)).save(path)
    still = open_still(path)
    assert (still.info.width, still.info.duration_s, still.info.live, still.stored) == (80, 0.0, False, True)
    assert [(frame.time_s, number_of(frame.pixels)) for frame in still.frames()] == [(0.0, 5)]
    assert [number_of(frame.pixels) for frame in still.frames(times=[0.0])] == [5]
    assert len(still.sha256) == 64
    with pytest.raises(PictureError):
        open_still(tmp_path / "none.png")
