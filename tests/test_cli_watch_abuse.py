"""`deixis watch` and its ledger in bad hands: one typed error with one line and exit code 2, or a partial answer that says so."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import deixis.spatial.deixis
from deixis.backends import FakeBackend, ModelCard
from deixis.cli import run
from deixis.spatial.video import watch
from deixis.spatial.video.detection import Detection
from deixis.spatial.video.index import index_beside
from deixis.spatial.video.memory import SpatialMemory
from tests.media.clips import patched, write_clip, write_sound
from tests.media.test_video_live import serving
from tests.spatial.video.clips import ColorDetector, covered_at, picture, write

WHERE = "Where is the red cup now?"
ROOT = Path(__file__).parents[1]
Capture = pytest.CaptureFixture[str]


class Fake(ColorDetector):
    """Finds what it is told to find, wherever that is."""

    found: Sequence[Detection] | None = None

    def __call__(self, pixels: NDArray[np.uint8], time_s: float) -> list[Detection]:
        seen = super().__call__(pixels, time_s)
        return seen if self.found is None else list(self.found)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clip") / "cover.mp4", covered_at, [k / 10 for k in range(50)])


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    backend = FakeBackend({"": "no"}, card=ModelCard("nano", "named by the caller", knows="rendered worlds"))
    monkeypatch.setattr(deixis.spatial.deixis, "resolve_model", lambda _: backend)
    detector = Fake()
    monkeypatch.setattr(watch, "ModelDetector", lambda *_: detector)
    return detector


def refused(capsys: Capture, *arguments: object) -> str:
    """The one line."""
    assert run(["watch", *map(str, arguments)]) == 2, arguments
    out, err = capsys.readouterr()
    assert out == ""
    line = err.strip()
    assert "\n" not in line and len(line) < 400 and "bug" not in line, line
    return line


def answered(capsys: Capture, *arguments: object) -> dict[str, object]:
    assert run(["watch", *map(str, arguments), "--json"]) == 0, capsys.readouterr()
    row: dict[str, object] = json.loads(capsys.readouterr().out)
    return row


# --- the ledger's path -------------------------------------------------------------------------------------------------


def old_tables(path: Path, version: int) -> None:
    raw = sqlite3.connect(path)
    raw.executescript(f"CREATE TABLE objects (id); CREATE TABLE sightings (id); PRAGMA user_version = {version};")
    raw.close()


def looped(path: Path) -> None:
    path.symlink_to(path.name)


LEDGERS: dict[str, Callable[[Path], object]] = {
    "a directory": Path.mkdir,
    "a text": lambda path: path.write_text("not a ledger " * 100),
    "another database": lambda path: old_tables(path, 0),
    "of an old version": lambda path: old_tables(path, 1),
    "of this version with other tables": lambda path: old_tables(path, 2),
    "of a version to come": lambda path: old_tables(path, 99),
    "a symlink to itself": looped,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("what", LEDGERS)
def test_a_path_that_is_no_ledger(clip: Path, tmp_path: Path, capsys: Capture, fake: Fake, what: str) -> None:
    path = tmp_path / "l.sqlite"
    LEDGERS[what](path)
    before = path.read_bytes() if path.is_file() else b""
    assert "l.sqlite" in refused(capsys, clip, WHERE, "--ledger", path)
    assert fake.asked == []
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_an_index_that_is_none(clip: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "l.sqlite.index").write_text("not an index " * 100)
    assert "index" in refused(capsys, clip, WHERE, "--ledger", tmp_path / "l.sqlite")


@pytest.mark.skipif(os.name != "posix", reason="rights are kept otherwise elsewhere")
def test_a_ledger_that_may_only_be_read(clip: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "l.sqlite"
    answered(capsys, clip, WHERE, "--ledger", path)
    for one in (path, index_beside(path), tmp_path):
        Path(one).chmod(0o555 if one == tmp_path else 0o444)
    root = os.geteuid() == 0
    if root:  # for whom nothing is read-only
        for folder in (*tmp_path.parents, clip.parent):
            if not folder.stat().st_mode & 0o005:  # pytest's own folders are closed to others
                folder.chmod(0o755)
        os.seteuid(65534)
    try:
        assert "l.sqlite" in refused(capsys, clip, WHERE, "--ledger", path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


# --- several processes -------------------------------------------------------------------------------------------------

SLOW = """
import sys, time
from tests.spatial.video.clips import ColorDetector
from tests.spatial.video.test_watch import deixis, WHERE
from deixis.errors import OptionError
class Slow(ColorDetector):
    def __call__(self, pixels, time_s):
        time.sleep(0.02)
        return super().__call__(pixels, time_s)
sys.stdin.readline()
try:
    print(deixis().watch(sys.argv[1], WHERE, memory=sys.argv[2], detector=Slow(), fps=5).verdict)
except OptionError as error:
    print("refused:", error)
"""


def whole(path: Path) -> None:
    """The ledger is consistent, and goes on."""
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()
    with SpatialMemory(path) as memory:
        assert memory.ask(WHERE) is not None


@pytest.mark.parametrize("same", [True, False])
def test_two_processes_on_one_ledger(clip: Path, tmp_path: Path, same: bool) -> None:
    path = tmp_path / "l.sqlite"
    other = clip if same else write(tmp_path / "other.mp4", lambda t: covered_at(t + 1), [k / 10 for k in range(50)])
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(video), str(path)], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for video in (clip, other)
    ]  # fmt: skip
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    words = [out.strip() for out, _ in said]
    if same:
        assert words == ["occluded", "occluded"]
    else:  # time runs on in a ledger: of two at once one may be told to come back
        assert "occluded" in words and all(word == "occluded" or "ask again" in word for word in words), words
    whole(path)


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "0", "-1", "1e9", "fast"])
def test_rates_that_are_none(clip: Path, capsys: Capture, rate: str) -> None:
    assert "fps" in refused(capsys, clip, WHERE, "--fps", rate)


def test_files_that_are_no_videos(clip: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])  # its index stood at the end
    Image.fromarray(picture(covered_at(0))).save(tmp_path / "still.png")
    (tmp_path / "still.png").rename(tmp_path / "still.mp4")
    write_sound(tmp_path / "sound.mp4")
    for name, word in {"empty": "empty", "cut": "cut off", "still": "picture", "sound": "sound alone", "none": "exist"}.items():
        assert word in refused(capsys, tmp_path / f"{name}.mp4", WHERE)


def test_headers_that_lie(tmp_path: Path, capsys: Capture) -> None:
    honest = write_clip(tmp_path / "a.avi", 40, codec="mpeg4", b_frames=0).read_bytes()
    (tmp_path / "many.avi").write_bytes(patched(patched(honest, b"avih", 20, 10**9), b"strh", 36, 10**9))
    (tmp_path / "rate.avi").write_bytes(patched(patched(honest, b"avih", 4, 0), b"strh", 28, 0))
    for name in ("many.avi", "rate.avi"):
        row = answered(capsys, tmp_path / name, WHERE)
        assert row["verdict"] == "absent" and row["video"]["duration_s"] < 3  # type: ignore[index]


def write_size(path: Path, size: tuple[int, int], start: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        lossless = path.suffix == ".mkv"
        stream = container.add_stream("ffv1" if lossless else "mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "bgr0" if lossless else "yuv420p"
        for k in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 4 * k, np.uint8), format="rgb24")
            frame.pts = start + k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_sizes_at_the_edge(tmp_path: Path, capsys: Capture, fake: Fake) -> None:
    assert "8×8" in refused(capsys, write_size(tmp_path / "dot.mkv", (1, 1)), WHERE)
    row = answered(capsys, write_size(tmp_path / "wide.mkv", (16_384, 16)), WHERE, "--frames", 3, "--save", tmp_path / "o.mp4")
    assert (row["video"]["width"], row["video"]["complete"]) == (16_384, True)  # type: ignore[index]
    fake.found = [Detection("red cup", (10, 10, 30, 30))]
    grows = tmp_path / "grows.ts"
    parts = [write_size(tmp_path / f"{k}.ts", size, 25 * k) for k, size in enumerate([(64, 48), (128, 128)])]
    grows.write_bytes(b"".join(part.read_bytes() for part in parts))
    row = answered(capsys, grows, WHERE, "--frames", 8, "--save", tmp_path / "o.png")
    assert row["video"]["duration_s"] > 1.9 and row["tracks"][0]["boxes"][-1]["t_s"] > 1.8  # type: ignore[index]


# --- sources that go on ------------------------------------------------------------------------------------------------


def test_sources_that_do_not_answer(capsys: Capture, tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound and not listening: it refuses
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        for scheme in ("rtsp", "http", "tcp"):
            line = refused(capsys, f"{scheme}://user:secret@127.0.0.1:{port}/door", WHERE)
            assert "secret" not in line and str(port) in line
    assert "webcam 97" in refused(capsys, "97", WHERE) or "video4linux2" in refused(capsys, "97", WHERE)
    assert "no pictures" in refused(capsys, tmp_path, WHERE)


def test_a_stream_that_breaks_off_gives_a_partial_answer(tmp_path: Path, capsys: Capture) -> None:
    data = write(tmp_path / "a.mkv", covered_at, [k / 10 for k in range(50)]).read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-matroska\r\nContent-Length: %d\r\n\r\n" % len(data)
    with serving(head + data[: len(data) // 3]) as port:
        row = answered(capsys, f"http://127.0.0.1:{port}/a.mkv", WHERE)
    assert row["verdict"] == "visible" and row["video"]["complete"] is False  # type: ignore[index]
    assert "a.mkv" in str(row["note"])


def test_a_folder_that_never_grows_ends(tmp_path: Path, capsys: Capture) -> None:
    Image.fromarray(picture(covered_at(0))).save(tmp_path / "1.png")
    assert answered(capsys, tmp_path, WHERE)["verdict"] == "visible"


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["cup ", "a", "杯", "(", "\\", "where is the "])
def test_questions_of_a_hundred_thousand_characters(clip: Path, capsys: Capture, fake: Fake, word: str) -> None:
    assert "characters" in refused(capsys, clip, (word * 100_000)[:100_000])
    assert fake.asked == []


EVIL = [
    "cup'); DROP TABLE objects;--",
    "[bold red]cup[/bold red]",
    "<script>alert(1)</script>",
    "{a}",
    "\\d+%s",
    "红" * 300,
]


@pytest.mark.parametrize("label", EVIL)
@pytest.mark.parametrize("question", [WHERE, "What happens?", "发生了什么?", "Who moved first?"])
def test_labels_are_data(clip: Path, tmp_path: Path, capsys: Capture, fake: Fake, label: str, question: str) -> None:
    fake.found = [Detection(label, (10, 10, 50, 60)), Detection("red cup", (90, 10, 130, 60))]
    path = tmp_path / "l.sqlite"
    assert run(["watch", str(clip), question, "--fps", "1", "--ledger", str(path), "--save", str(tmp_path / "o.png")]) == 0
    capsys.readouterr()
    row = answered(capsys, clip, question, "--fps", 1, "--ledger", path)
    assert sorted(track["label"] for track in row["tracks"]) == sorted([label, "red cup"])  # type: ignore[attr-defined]
    whole(path)
