"""Files that are no videos, lie, or end too soon: one clear line, or what could be read and why it is not more."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from deixis.errors import VideoError
from deixis.media import VideoSource, open_video
from tests.media.clips import number_of, patched, write_clip, write_sound


def fails(source: VideoSource, *words: str) -> None:
    with pytest.raises(VideoError) as caught:
        open_video(source)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 300
    assert caught.value.exit_code == 2


def test_there_is_nothing(tmp_path: Path) -> None:
    fails(tmp_path / "no.mp4", "no.mp4", "does not exist")
    (tmp_path / "empty.mp4").touch()
    fails(tmp_path / "empty.mp4", "empty.mp4", "empty")
    fails(b"", "empty")
    fails(tmp_path, "holds no pictures")
    fails("a\0b.mp4", "not a file name")
    fails("gopher://host/video.mp4", "rtsp")
    fails(3.5, "float", "expected")  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "pipe.mp4")
    fails(tmp_path / "pipe.mp4", "not a regular file")


@pytest.mark.parametrize("suffix", ["mp4", "txt", "m3u8"])
def test_text_is_no_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes.{suffix}"
    path.write_text("the cup is on the table\n" * 500)
    fails(path, path.name, "is not a video", "expected")


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    target = write_clip(tmp_path / "secret.ts", 30)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    fails(playlist, "is not a video")
    fails(playlist.read_bytes(), "is not a video")
    listed = tmp_path / "list.mp4"
    listed.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    fails(listed, "is not a video")


@pytest.mark.parametrize("codec", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("suffix", ["mp4", "own"])
def test_a_picture_is_no_video(tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / f"photo.{codec.lower() if suffix == 'own' else suffix}"
    pixels = np.random.default_rng(800_002).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, codec)
    path.write_bytes(buffer.getvalue())
    fails(path, path.name, f"is a picture ({codec})")
    fails(path.read_bytes(), f"is a picture ({codec})")


def test_an_animation_is_a_video() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "lime", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=200)
    video = open_video(buffer.getvalue())
    given = list(video.frames())
    assert [frame.time_s for frame in given] == pytest.approx([0.0, 0.2, 0.4])
    assert [int(frame.pixels[20, 20].argmax()) for frame in given] == [0, 1, 2]


def test_sound_alone(tmp_path: Path) -> None:
    fails(write_sound(tmp_path / "song.m4a"), "song.m4a", "sound alone")


def test_an_index_that_is_cut_off(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", 40).read_bytes()  # its index stands at the end
    fails(data[: len(data) // 2], "cut off", "begins as MP4")
    fails(data[:20], "cut off")


@pytest.mark.parametrize(("name", "first"), [("a.mp4", True), ("a.mkv", False)])
def test_a_cut_file_gives_what_it_has(tmp_path: Path, name: str, first: bool) -> None:
    path = write_clip(tmp_path / name, 300, faststart=first)
    data = path.read_bytes()
    start = data.index(b"mdat") if first else 0
    for share in (0.6, 0.4):
        source = data[: start + int((len(data) - start) * share)]
        video = open_video(source, name=name)
        numbers = [number_of(frame.pixels) for frame in video.frames()]
        assert 60 < len(numbers) < 240
        assert numbers == sorted(set(numbers)) and numbers[:50] == list(range(50))
        end_s = video.info.end_s
        assert end_s is not None and numbers[-1] / 30 < end_s < numbers[-1] / 30 + 0.2
        assert "cut_off" in {problem.kind for problem in video.problems}
        assert any(name in problem.text and "10.00 s" in problem.text for problem in video.problems)
        last = list(video.frames(times=[0.5, 9.0]))
        assert [number_of(frame.pixels) for frame in last] == [15, numbers[-1]]
        assert len(list(video.frames(count=4))) == 4


def test_damage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    data = bytearray(write_clip(tmp_path / "a.mkv", 200, b_frames=0).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(np.random.default_rng(800_003).integers(0, 256, 400).astype(np.uint8))
    video = open_video(bytes(data))
    numbers = [number_of(frame.pixels) for frame in video.frames()]
    assert numbers[:60] == list(range(60)) and numbers[-20:] == list(range(180, 200))
    assert len(numbers) < 200


@pytest.mark.parametrize("count", [10**9, 2**32 - 1])
def test_a_billion_frames_in_the_header(tmp_path: Path, count: int) -> None:
    honest = write_clip(tmp_path / "a.avi", 40, codec="mpeg4", b_frames=0).read_bytes()
    liar = patched(patched(honest, b"avih", 20, count), b"strh", 36, count)
    video = open_video(liar)
    assert video.info.frames_claimed is None or video.info.frames_claimed >= 10**9
    assert video.info.duration_s == pytest.approx(40 / 30, abs=0.01)
    assert [number_of(frame.pixels) for frame in video.frames(count=4)] == [0, 13, 26, 39]
    assert len(list(video.frames(fps=3))) == 4
    assert len(list(video.frames())) == 40


@pytest.mark.parametrize(("box", "offset", "value"), [(b"stsz", 8, 10**9), (b"stts", 8, 10**9), (b"stsc", 12, 10**9)])
def test_a_billion_frames_in_the_index(tmp_path: Path, box: bytes, offset: int, value: int) -> None:
    honest = write_clip(tmp_path / "a.mp4", 40, faststart=True).read_bytes()
    liar = patched(honest, box, offset, value)
    if box == b"stsz":  # all of one size, so that no list is needed
        liar = patched(liar, box, 4, 1)
    try:
        video = open_video(liar)
    except VideoError:
        return
    assert len(list(video.frames())) <= 40


@pytest.mark.parametrize("box", [b"mdhd", b"mvhd"])
def test_a_wrong_length_in_the_header(tmp_path: Path, box: bytes) -> None:
    honest = write_clip(tmp_path / "a.mp4", 40).read_bytes()
    for length in (0, 1, 2**32 - 2):
        video = open_video(patched(honest, box, 16, length))
        assert video.info.duration_s == pytest.approx(40 / 30, abs=0.05)
        assert len(list(video.frames(fps=3))) == 4


@pytest.mark.parametrize(("rate", "scale"), [(0, 0), (0, 1), (1, 0)])
def test_no_frames_a_second(tmp_path: Path, rate: int, scale: int) -> None:
    honest = write_clip(tmp_path / "a.avi", 40, codec="mpeg4", b_frames=0).read_bytes()
    liar = patched(patched(patched(honest, b"avih", 4, 0), b"strh", 24, scale), b"strh", 28, rate)
    video = open_video(liar)
    assert video.info.duration_s is not None and 0.5 < video.info.duration_s < 3
    frames = list(video.frames())
    assert [number_of(frame.pixels) for frame in frames] == list(range(40))
    times = [frame.time_s for frame in frames]
    assert times == sorted(set(times))


def test_frames_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", 2)
    monkeypatch.setattr("deixis.media.source.MAX_PIXELS", 80 * 48 - 1)
    fails(path, "80×48", "megapixels")
    fails(path.read_bytes(), "80×48", "megapixels")


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    video = open_video(path)
    path.unlink()
    with pytest.raises(VideoError, match=r"a\.mp4"):
        next(video.frames())
    with pytest.raises(VideoError, match=r"a\.mp4"):
        _ = video.sha256


def test_frames_smaller_than_any_model_sees(tmp_path: Path) -> None:
    path = tmp_path / "dot.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1, 1, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    fails(path, "1×1", "8×8")


def test_frames_that_change_their_size(tmp_path: Path) -> None:
    parts = [write_clip(tmp_path / "a.ts", 20, b_frames=0), write_clip(tmp_path / "b.ts", 20, b_frames=0, stored="turned left",
        stamps=range(20, 40), time_base=Fraction(1, 30))]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(open_video(path).frames())
    assert {frame.pixels.shape for frame in frames} == {(48, 80, 3)}
    assert len(frames) > 30 and frames[-1].time_s - frames[0].time_s > 1.1
