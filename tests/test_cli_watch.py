"""`deixis watch` as users meet it: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest
from PIL import Image

import deixis.spatial.deixis
from deixis.backends import FakeBackend, ModelCard
from deixis.cli import run
from deixis.spatial.video import watch
from tests.spatial.video.clips import ColorDetector, covered_at, write

WHERE = "Where is the red cup now?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("clip") / "cover.mp4", covered_at, [k / 10 for k in range(50)]))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ColorDetector:
    """A model that every name resolves to, with boxes that are exact."""
    backend = FakeBackend({"": "no"}, card=ModelCard("nano", "named by the caller", knows="rendered worlds"))
    monkeypatch.setattr(deixis.spatial.deixis, "resolve_model", lambda _: backend)
    detector = ColorDetector()
    monkeypatch.setattr(watch, "ModelDetector", lambda *_: detector)
    return detector


def test_for_people(clip: str, fake: ColorDetector, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", clip, WHERE]) == 0
    out, err = capsys.readouterr()
    assert err == ""  # no bar where there is no terminal
    for word in ("hidden by the blue box", "likely", "see: cover.mp4", "the blue box moves", "occluded", "nano", "locate"):
        assert word in out


def test_in_chinese(clip: str, fake: ColorDetector, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", clip, "红色杯子现在在哪里?"]) == 0
    out = capsys.readouterr().out
    for word in ("被蓝色盒子挡住", "开始", "事件", "物体", "被挡住", "蓝色盒子移动", "模型"):
        assert word in out
    assert not {"occluded", "thing", "start"} & set(out.split())


def test_json_and_the_ledger(clip: str, fake: ColorDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = str(tmp_path / "l.sqlite")
    assert run(["watch", clip, WHERE, "--json", "--ledger", ledger, "--frames", "30"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "occluded"
    assert {"answer", "confidence", "citations", "events", "tracks", "model", "timings_ms", "note", "video"} <= set(row)
    assert {"start_s", "end_s", "description"} <= set(row["events"][0])
    assert {"t_s", "box_px", "state"} == set(row["tracks"][0]["boxes"][0])
    asked = len(fake.asked)
    assert 0 < asked <= 30
    assert run(["watch", clip, "When was the red cup last seen?", "--json", "--ledger", ledger, "--frames", "30"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert len(fake.asked) == asked
    assert 2 <= float(again["verdict"].split()[0]) <= 3.2
    assert again["video"]["frames"] == {"located": 0, "same": 0, "known": 0}


def test_saved(clip: str, fake: ColorDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("out.mp4", "out.png"):
        assert run(["watch", clip, WHERE, "--save", str(tmp_path / name)]) == 0
        assert name in capsys.readouterr().out.replace("\n", "")
        assert (tmp_path / name).stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.png"]


def test_what_is_refused(clip: str, fake: ColorDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    Image.new("RGB", (64, 64)).save(tmp_path / "still.png")
    (tmp_path / "still.png").rename(tmp_path / "picture.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "ledger.txt").write_text("not a ledger " * 100)
    cases = [
        [str(tmp_path / "none.mp4"), WHERE],
        [str(sound), WHERE],
        [str(tmp_path / "picture.mp4"), WHERE],
        [str(tmp_path / "empty.mp4"), WHERE],
        [clip, " "],
        [clip, WHERE, "--save", str(tmp_path / "out.avi")],
        [clip, WHERE, "--save", str(tmp_path / "no" / "out.mp4")],
        [clip, WHERE, "--fps", "0"],
        [clip, WHERE, "--frames", "1"],
        [clip, WHERE, "--camera", "1,2"],
        [clip, WHERE, "--ledger", str(tmp_path / "ledger.txt")],
        [clip, WHERE, "--ledger", str(tmp_path)],
    ]
    for arguments in cases:
        assert run(["watch", *arguments]) == 2, arguments
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.strip().splitlines()) == 1, err
    assert run(["watch", str(sound), WHERE, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "VideoError"
    assert fake.asked == []
