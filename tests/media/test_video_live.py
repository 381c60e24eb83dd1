"""Sources that go on while they are read: folders that grow, streams over sockets, servers that stop midway."""

from __future__ import annotations

import io
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.errors import OptionError, VideoError
from deixis.media import Folder, open_video
from tests.media.clips import drawn, number_of, write_clip


def put(folder: Path, number: int, *, name: str | None = None, time_s: float | None = None) -> Path:
    path = folder / (name or f"{number:04d}.png")
    Image.fromarray(drawn(number)).save(path)
    os.utime(path, (1e9, 1e9 + (number if time_s is None else time_s)))
    return path


class Writer:
    """A clock whose every tick lets something happen in the folder."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.slept_s = 0.0

    def __call__(self, seconds: float) -> None:
        self.slept_s += seconds
        if self.steps:
            self.steps.pop(0)()


def test_a_folder_grows_while_it_is_read(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path, number, time_s=0.5 * number)
    writer = Writer()
    video = open_video(Folder(tmp_path, idle_s=1.0, sleep=writer))
    assert video.info.live and (video.info.width, video.info.codec) == (80, "pictures")
    writer.steps = [lambda: None, lambda: put(tmp_path, 3, time_s=7), lambda: put(tmp_path, 4, time_s=9)]
    frames = list(video.frames())
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.5, 1.0, 7, 9])
    assert writer.slept_s == pytest.approx(3 * 0.2 + 1.0)  # and then nothing came for a second
    assert video.problems == ()


def test_pictures_come_as_soon_as_they_are_there(tmp_path: Path) -> None:
    put(tmp_path, 0)
    writer = Writer(*(lambda number=number: put(tmp_path, number) for number in range(1, 6)))
    frames = open_video(Folder(tmp_path, idle_s=1.0, sleep=writer)).frames(fps=0.5)
    assert number_of(next(frames).pixels) == 0
    assert len(writer.steps) == 5
    assert number_of(next(frames).pixels) == 2
    assert len(writer.steps) == 3
    assert [number_of(frame.pixels) for frame in frames] == [4]


def test_a_folder_in_the_order_of_time(tmp_path: Path) -> None:
    for number, name in enumerate(("c.png", "a.jpg", "b.bmp")):
        put(tmp_path, number, name=name)
    (tmp_path / "notes.txt").write_text("no picture")
    by_time = open_video(Folder(tmp_path, order="time", idle_s=0.0)).frames()
    assert [number_of(frame.pixels) for frame in by_time] == [0, 1, 2]
    by_name = list(open_video(Folder(tmp_path, fps=4, idle_s=0.0)).frames(max_side=40))
    assert [number_of(frame.pixels) for frame in by_name] == [1, 2, 0]
    assert [frame.time_s for frame in by_name] == [0.0, 0.25, 0.5]
    assert by_name[0].pixels.shape == (24, 40, 3)


def test_a_picture_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    put(tmp_path, 0)
    whole = put(tmp_path, 1).read_bytes()
    put(tmp_path, 2)
    (tmp_path / "0001.png").write_bytes(whole[: len(whole) // 2])
    writer = Writer(lambda: put(tmp_path, 1))
    video = open_video(Folder(tmp_path, idle_s=1.0, sleep=writer))
    assert [number_of(frame.pixels) for frame in video.frames()] == [0, 1, 2]
    assert video.problems == ()


def test_pictures_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path, number)
    (tmp_path / "0001.png").write_bytes(b"broken")
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "0002.png")
    video = open_video(Folder(tmp_path, fps=1, idle_s=1.0, sleep=Writer()))
    assert [number_of(frame.pixels) for frame in video.frames()] == [0, 3]
    assert {problem.kind for problem in video.problems} == {"broken_picture", "other_size"}
    assert all("000" in problem.text for problem in video.problems)


def test_a_live_source_has_no_end(tmp_path: Path) -> None:
    put(tmp_path, 0)
    video = open_video(Folder(tmp_path, idle_s=0.0))
    with pytest.raises(OptionError, match="end"):
        video.frames(count=3)
    with pytest.raises(VideoError, match="hash"):
        _ = video.sha256


@pytest.mark.parametrize("wrong", [{"order": "size"}, {"fps": 0}, {"idle_s": -1}])
def test_settings_that_do_not_fit(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Folder(tmp_path, **wrong)  # type: ignore[arg-type]


# --- over sockets ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(answer: bytes) -> Iterator[int]:
    """A server on this machine that says this to everyone, and hangs up; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if answer.startswith(b"HTTP"):
                self.request.recv(65_536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_stream_over_a_socket(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.ts", 60, b_frames=0).read_bytes()
    with serving(data) as port:
        video = open_video(f"tcp://127.0.0.1:{port}", name="camera", timeout_s=5)
        assert video.info.live and video.info.width == 80
        frames = list(video.frames(fps=6))  # the pass that was begun when it was opened: no frame is lost
        assert [number_of(frame.pixels) for frame in frames] == list(range(0, 60, 5))
        assert [number_of(frame.pixels) for frame in video.frames()][:3] == [0, 1, 2]  # a second pass connects again
        left = open_video(f"tcp://127.0.0.1:{port}", timeout_s=5)
        left.close()


@contextmanager
def pushing(pieces: Sequence[bytes], hold: threading.Event) -> Iterator[int]:
    """A camera that speaks when it is called: sends its pieces, then keeps silent until `hold` is set, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            for piece in pieces:
                self.request.sendall(piece)
            hold.wait(30)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            hold.set()
            server.shutdown()
            thread.join()


def jpegs(count: int) -> bytes:
    """What a network camera sends over HTTP: JPEG after JPEG, each behind a boundary."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    parts = []
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(drawn(number)).save(buffer, "JPEG", quality=95)
        data = buffer.getvalue()
        parts.append(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data))
    return head + b"".join(parts) + b"--frame--\r\n"


def test_a_camera_that_sends_jpegs() -> None:
    with serving(jpegs(40)) as port:
        video = open_video(f"http://127.0.0.1:{port}/mjpeg", timeout_s=5)
        assert video.info.live and (video.info.width, video.info.codec) == (80, "mjpeg")
        frames = list(video.frames())
    assert [number_of(frame.pixels) for frame in frames] == list(range(40))
    times = [frame.time_s for frame in frames]
    assert times == sorted(set(times))


def test_frames_come_while_the_stream_still_runs(tmp_path: Path) -> None:
    data, hold = write_clip(tmp_path / "a.ts", 90, b_frames=0).read_bytes(), threading.Event()
    with pushing([data], hold) as port:
        video = open_video(f"tcp://127.0.0.1:{port}", timeout_s=20)
        frames = video.frames()
        assert [number_of(next(frames).pixels) for _ in range(60)] == list(range(60))
        assert not hold.is_set()
        hold.set()
        assert len(list(frames)) >= 25  # up to its end
        video.close()


def test_a_stream_that_falls_silent_ends_by_timeout(tmp_path: Path) -> None:
    data, hold = write_clip(tmp_path / "a.ts", 90, b_frames=0).read_bytes(), threading.Event()
    with pushing([data], hold) as port:
        video = open_video(f"tcp://127.0.0.1:{port}", name="door", timeout_s=1)
        numbers = [number_of(frame.pixels) for frame in video.frames()]
        assert not hold.is_set()  # it was not the camera that ended it
    assert numbers[:60] == list(range(60))
    assert [problem.kind for problem in video.problems] == ["stopped"]
    assert "door" in video.problems[0].text


def test_a_camera_that_never_speaks() -> None:
    with pushing([], threading.Event()) as port, pytest.raises(VideoError, match="did not answer"):
        open_video(f"tcp://127.0.0.1:{port}", timeout_s=0.5)


def test_datagrams(tmp_path: Path) -> None:
    """MPEG-TS over UDP, as cameras multicast it: seven packets a datagram, and nobody says when it is over."""
    data = write_clip(tmp_path / "a.ts", 90, b_frames=0).read_bytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not over.is_set():
                for k in range(0, len(data), 1316):
                    out.sendto(data[k : k + 1316], ("127.0.0.1", port))
                    time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        video = open_video(f"udp://127.0.0.1:{port}", timeout_s=10)
        first = [number_of(frame.pixels) for frame, _ in zip(video.frames(), range(10), strict=False)]
    finally:
        over.set()
        sender.join()
    assert video.info.live and len(first) == 10
    assert all(b == a + 1 for a, b in pairwise(first))


def test_a_server_that_stops_midway(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mkv", 300).read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-matroska\r\nContent-Length: %d\r\n\r\n" % len(data)
    with serving(head + data[: len(data) // 2]) as port:
        video = open_video(f"http://127.0.0.1:{port}/a.mkv", timeout_s=5)
        numbers = [number_of(frame.pixels) for frame in video.frames()]
    assert 60 < len(numbers) < 240 and numbers[:60] == list(range(60))
    assert {problem.kind for problem in video.problems} & {"stopped", "cut_off"}


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_a_server_without_a_video(answer: bytes) -> None:
    with serving(answer) as port, pytest.raises(VideoError) as caught:
        open_video(f"http://127.0.0.1:{port}/a.mp4", name="door", timeout_s=5)
    assert "door" in str(caught.value) and "\n" not in str(caught.value)


def test_passwords_stay_out_of_messages() -> None:
    with serving(b"") as port, pytest.raises(VideoError) as caught:
        open_video(f"rtsp://me:secret@127.0.0.1:{port}/door", timeout_s=5)
    assert "secret" not in str(caught.value) and f"rtsp://127.0.0.1:{port}/door" in str(caught.value)


def test_a_webcam_that_is_not_there() -> None:
    with pytest.raises((VideoError, OptionError), match=r"webcam 97|video4linux2"):
        open_video(97)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_that_is_none(timeout_s: float) -> None:
    with pytest.raises(OptionError):
        open_video("rtsp://127.0.0.1/x", timeout_s=timeout_s)
