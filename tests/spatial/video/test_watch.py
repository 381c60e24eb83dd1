"""Watching a video: what is looked at, what is kept, what is answered, and what is said of sources that break off."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deixis.backends import Clip, FakeBackend, ModelCard
from deixis.errors import OptionError, QuestionError, VideoError
from deixis.media import Video, open_video
from deixis.spatial import Deixis
from deixis.spatial.answer import FoundObject
from deixis.spatial.showing.film import key_times, save_watched, spans_shown
from deixis.spatial.video import locating
from deixis.spatial.video.detection import Detection, appearance_of
from deixis.spatial.video.index import Sample, Span, VideoIndex, index_beside
from deixis.spatial.video.locating import LEAST_SCORE
from deixis.spatial.video.looking_again import LOOKS, coarse_spans
from deixis.spatial.video.memory import SpatialMemory
from deixis.spatial.video.plan import adaptive_plan, even_plan
from deixis.spatial.video.survey import burst_spans, look_of, merged, survey, thumbnail
from deixis.spatial.video.watch_answer import WatchAnswer
from tests.spatial.video.clips import ColorDetector, covered_at, picture, write

TIMES = [k / 10 for k in range(60)]
WHERE = "Where is the red cup now?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clip") / "cover.mp4", covered_at, TIMES)


def deixis(reply: str = "no", knows: str = "") -> Deixis:
    return Deixis(FakeBackend({"": reply}, card=ModelCard("fake", "scripted", knows=knows)))


def hidden(answer: WatchAnswer) -> None:
    assert answer.verdict == "occluded"
    assert "blue box" in answer.answer
    assert any(event.kind == "is_hidden" and abs(event.start_s - 2.8) < 0.5 for event in answer.events)


def test_what_is_covered_is_remembered_and_cited(clip: Path) -> None:
    answer = deixis().watch(clip, WHERE, detector=ColorDetector())
    hidden(answer)
    cited = answer.citations[0]
    assert cited.source == "cover.mp4"
    assert 2.2 < cited.time_s < 3.0
    row = answer.to_json()
    assert {track["label"] for track in row["tracks"]} == {"red cup", "blue box"}
    cup = next(track for track in row["tracks"] if track["label"] == "red cup")
    assert cup["boxes"][0]["state"] == "visible"
    assert cup["boxes"][-1]["state"] == "occluded"
    assert row["video"]["complete"] is True
    assert row["citations"][0]["label"] == "red cup"


def test_frames_go_where_something_changes(clip: Path) -> None:
    detector = ColorDetector()
    answer = deixis().watch(clip, WHERE, detector=detector, frames=24)
    hidden(answer)
    moving = [t for t in detector.asked if 1.4 <= t <= 3.6]
    assert len(moving) > 0.7 * len(detector.asked)  # 37% of the time
    assert answer.frames["located"] + answer.frames["same"] <= 24
    assert any("24 frames" in note for note in answer.provenance.notes)


def test_the_second_question_decodes_and_locates_nothing(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "room.sqlite"
    first = deixis().watch(clip, WHERE, memory=ledger, detector=ColorDetector())
    assert index_beside(ledger) == tmp_path / "room.sqlite.index"
    monkeypatch.setattr(Video, "frames", lambda *_, **__: pytest.fail("frames were read again"))
    detector = ColorDetector()
    again = deixis().watch(clip, "What did the blue box hide?", memory=ledger, detector=detector)
    assert detector.asked == []
    assert "red cup" in again.answer
    notes = deixis().watch(clip, "蓝色盒子挡住了什么?", memory=ledger, detector=detector).provenance.notes
    assert not any(
        "frames" in note for note in notes
    )  # what was noted of the first reading is told in the language of the second
    assert again.events == first.events
    # Another ledger starts from what the index holds.
    fresh = tmp_path / "other.sqlite"
    index_beside(fresh).write_bytes(b"")  # type: ignore[union-attr]
    index_beside(fresh).unlink()  # type: ignore[union-attr]
    index = VideoIndex(index_beside(ledger))
    with SpatialMemory(fresh) as memory:
        hidden(deixis().watch(clip, WHERE, memory=memory, index=index, detector=detector))
    index.close()
    assert detector.asked == []


def test_a_question_looks_again_where_the_first_look_was_coarse(clip: Path, tmp_path: Path) -> None:
    ledger, detector, when = tmp_path / "l.sqlite", ColorDetector(), "When was the red cup hidden by the blue box?"
    coarse = deixis().watch(clip, WHERE, memory=ledger, detector=detector, fps=1)
    assert {t % 1 for t in detector.asked} == {0}  # a rate that was asked for is kept to
    detector.asked.clear()
    fine = deixis().watch(clip, when, memory=ledger, detector=detector, frames=4)
    assert 2 < len(detector.asked) <= 4 + LOOKS
    guess = next(event for event in coarse.events if event.kind == "is_hidden")
    assert abs(fine.cited[0].start_s - 2.8) < 0.15 < abs(guess.start_s - 2.8)
    assert any("looked again" in note for note in fine.provenance.notes)
    detector.asked.clear()
    again = deixis().watch(clip, when, memory=ledger, detector=detector, frames=4)
    assert detector.asked == [] and again.cited == fine.cited and again.answer == fine.answer
    # The other plan's reading was replaced, and is read anew from the index alone.
    back = deixis().watch(clip, WHERE, memory=ledger, detector=detector, fps=1)
    assert detector.asked == [] and back.events == coarse.events


def test_gaps_that_are_looked_into() -> None:
    times = [0, 5, 5.25, 5.5, 9, 20]
    assert coarse_spans(times, [5.25]) == []
    assert coarse_spans(times, [5.5]) == [(5.5, 9)]
    assert coarse_spans(times, [7, 9, 20]) == [(5.5, 9), (9, 20)]
    assert coarse_spans(times, [0, 6]) == [(0, 5), (5.5, 9)]
    assert coarse_spans([0], [0]) == []


def test_another_video_in_the_ledger(clip: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "l.sqlite"
    uncovered = write(tmp_path / "other.mp4", lambda t: covered_at(6 - t), TIMES)
    hidden(deixis().watch(clip, WHERE, memory=ledger, detector=ColorDetector()))
    assert deixis().watch(uncovered, WHERE, memory=ledger, detector=ColorDetector()).verdict == "visible"
    detector = ColorDetector()
    back = deixis().watch(clip, WHERE, memory=ledger, detector=detector)
    hidden(back)  # asked about the first one, it is as it was at its end
    assert detector.asked == [] and back.citations[0].source == "cover.mp4"
    other = deixis().watch(clip, WHERE, memory=ledger, detector=ColorDetector(), fps=2)
    hidden(other)
    assert any("beside" in note for note in other.provenance.notes)
    with SpatialMemory(ledger) as memory:
        assert [row["name"] for row in memory.query("SELECT name FROM sources ORDER BY offset_s")] == ["cover.mp4", "other.mp4"]
        now = memory.ask(WHERE)
        assert now is not None and now.verdict == "visible"


def test_a_reading_that_was_killed_goes_on(clip: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "killed.sqlite"
    code = f"""
import os, signal
from tests.spatial.video.clips import ColorDetector
from tests.spatial.video.test_watch import deixis, WHERE
class Dies(ColorDetector):
    def __call__(self, pixels, time_s):
        if len(self.asked) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(pixels, time_s)
deixis().watch({str(clip)!r}, WHERE, memory={str(ledger)!r}, detector=Dies(), fps=4)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr
    detector = ColorDetector()
    answer = deixis().watch(clip, WHERE, memory=ledger, detector=detector, fps=4)
    hidden(answer)
    assert answer.frames["known"] >= 8
    assert min(detector.asked) > 2.2
    whole = deixis().watch(clip, WHERE, detector=ColorDetector(), fps=4)
    assert [e.key for e in answer.events] == [e.key for e in whole.events]


def test_a_file_cut_off_gives_a_partial_answer(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mkv"
    write(path, covered_at, TIMES)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.75)])
    answer = deixis().watch(cut, WHERE, detector=ColorDetector())
    assert not answer.complete
    assert any("cut.mkv" in note for note in answer.provenance.notes)
    assert answer.verdict in ("occluded", "visible")
    assert answer.to_json()["video"]["complete"] is False


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for k in range(12):
        Image.fromarray(picture(covered_at(k / 2))).save(tmp_path / f"{k:03d}.png")
    answer = deixis().watch(tmp_path, WHERE, detector=ColorDetector(), fps=2)
    hidden(answer)
    assert answer.tracks[0].sightings[-1].time_s == pytest.approx(5.5)


class Looks(ColorDetector):
    """With the colours that tell things apart where places do not."""

    def __call__(self, pixels: NDArray[np.uint8], time_s: float) -> list[Detection]:
        return [replace(d, appearance=appearance_of(pixels, d.box_px)) for d in super().__call__(pixels, time_s)]


def test_several_pictures_of_a_room_and_a_talk_about_one(tmp_path: Path) -> None:
    ledger, detector = tmp_path / "room.sqlite", Looks()
    for name, places in {"left.png": {"red cup": (50.0, 60.0)}, "right.png": {"blue box": (100.0, 60.0)}}.items():
        Image.fromarray(picture(places)).save(tmp_path / name)  # type: ignore[arg-type]
    first = deixis().watch(tmp_path / "left.png", WHERE, memory=ledger, detector=detector)
    assert first.verdict == "visible" and first.info.codec == "picture"
    second = deixis().watch(tmp_path / "right.png", WHERE, memory=ledger, detector=detector)
    assert second.verdict == "out_of_view" and second.citations[0].source == "left.png"
    assert second.citations[0].box_px == (40, 50, 60, 70)
    again = [
        deixis().watch(tmp_path / "right.png", q, memory=ledger, detector=detector) for q in ("What happens?", "有几个盒子?")
    ]
    assert [answer.verdict for answer in again] == ["nothing", "1"]  # another view is no event
    assert len(detector.asked) == 2
    with pytest.raises(VideoError, match="is a picture"):
        deixis().watch(tmp_path / "left.png", WHERE, detector=detector)
    with SpatialMemory(ledger) as memory:
        assert memory.query("SELECT name FROM sources") == [{"name": "left.png"}, {"name": "right.png"}]


def test_a_source_without_end_stops_at_the_limit(tmp_path: Path) -> None:
    for k in range(12):
        Image.fromarray(picture(covered_at(k / 2))).save(tmp_path / f"{k:03d}.png")
    answer = deixis().watch(tmp_path, WHERE, detector=ColorDetector(), fps=2, frames=3)
    assert answer.verdict == "visible"
    assert not answer.complete
    assert any("3 frames are the limit" in note for note in answer.provenance.notes)


def test_bad_input_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError):
        deixis().watch(tmp_path / "none.mp4", WHERE)
    with pytest.raises(QuestionError):
        deixis().watch(clip, " ")
    for options in ({"fps": 0.0}, {"fps": float("nan")}, {"frames": 1}):
        with pytest.raises(OptionError):
            deixis().watch(clip, WHERE, **options)  # type: ignore[arg-type]
    (tmp_path / "text.index").write_text("not a database, but a text that is longer than a page's header " * 20)
    with pytest.raises(OptionError, match="index"):
        VideoIndex(tmp_path / "text.index")


def test_what_the_ledger_does_not_read_goes_to_the_model_as_a_clip(clip: Path) -> None:
    session = deixis("The box is pushed, at 2.1 s.")
    answer = session.watch(clip, "Is somebody in a hurry?", detector=ColorDetector())
    assert answer.answer == "The box is pushed, at 2.1 s."
    assert any("not checked" in note for note in answer.provenance.notes)
    shown = [part for part in session.backend.asked[-1].turns[0].parts if isinstance(part, Clip)]  # type: ignore[attr-defined]
    assert len(shown[0].frames) >= 8
    assert list(shown[0].timestamps_s) == sorted(shown[0].timestamps_s)


def test_a_model_that_never_saw_clips_is_unsure(clip: Path) -> None:
    session = deixis(knows="rendered worlds")
    answer = session.watch(clip, "Is somebody in a hurry?", detector=ColorDetector())
    assert (answer.verdict, answer.confidence) == ("unsure", 0.0)
    assert "never been shown clips" in answer.answer
    assert session.backend.asked == []  # type: ignore[attr-defined]
    assert "从未见过" in session.watch(clip, "有人着急吗?", detector=ColorDetector()).answer


def test_everything_that_happened_in_both_languages(clip: Path) -> None:
    answer = deixis().watch(clip, "What happens?", detector=ColorDetector())
    assert "the blue box moves" in answer.answer
    assert answer.cited == answer.events
    assert "蓝色盒子移动" in deixis().watch(clip, "发生了什么?", detector=ColorDetector()).answer


def test_the_models_own_boxes(clip: Path) -> None:
    boxes = '[{"bbox_2d": [250, 420, 375, 580], "label": "red cup"}]'
    session = deixis(boxes)
    answer = session.watch(clip, WHERE, frames=4)
    assert answer.verdict == "visible"
    assert answer.tracks[0].sightings[0].box_px == pytest.approx((40, 50.4, 60, 69.6), abs=1)
    detector = locating.ModelDetector(session)
    assert len(detector(picture(covered_at(0)), 0.0)[0].appearance) > 0


@pytest.mark.parametrize(("knows", "labels"), [("rendered worlds", ["cup"]), ("", ["cup", "shadow"])])
def test_what_the_embedded_checkpoint_is_not_sure_of_is_left_out(
    monkeypatch: pytest.MonkeyPatch, knows: str, labels: list[str]
) -> None:
    session = deixis(knows=knows)
    found = [FoundObject("cup", (10, 10, 50, 50), 0.9), FoundObject("shadow", (60, 60, 90, 90), LEAST_SCORE - 0.01)]
    answer = SimpleNamespace(objects=found, provenance=SimpleNamespace(problems=()))
    monkeypatch.setattr(session, "locate", lambda *_, **__: answer)
    assert [d.label for d in locating.ModelDetector(session)(picture(covered_at(0)), 0.0)] == labels


# --- the parts ---------------------------------------------------------------------------------------------------------


def test_a_survey_finds_when_something_changes(clip: Path) -> None:
    samples, spans = survey(open_video(clip))
    assert len(spans) == 1
    assert spans[0].start_s == pytest.approx(1.4, abs=0.5)
    assert spans[0].end_s == pytest.approx(3.6, abs=0.5)
    assert all(isinstance(sample, Sample) for sample in samples)


def test_light_is_no_change_and_looks_are_stable() -> None:
    plain = picture(covered_at(0))
    a, b = thumbnail(plain), thumbnail((plain * 0.97).astype(np.uint8))
    assert thumbnail(plain).shape == (15, 20, 3)
    assert bin(look_of(a) ^ look_of(b)).count("1") < 8


def test_bursts_of_bytes() -> None:
    quiet = [(k / 5, 40 + k % 3, k % 50 == 0) for k in range(500)]
    sizes = [(t, 5_000 if key else size, key) for t, size, key in quiet]
    assert burst_spans(sizes) == []
    loud = [(t, 900 if 30 <= t < 32 and not key else size, key) for t, size, key in sizes]
    assert [(span.start_s, span.end_s) for span in burst_spans(loud)] == [(30, 31), (31, 32)]
    assert burst_spans([(float(k), 4_000, True) for k in range(9)]) == []


def test_spans_join_and_stay_inside() -> None:
    spans = merged([Span(5, 6), Span(0.2, 0.5), Span(7.5, 8)], 0, 10)
    assert [(s.start_s, pytest.approx(s.end_s)) for s in spans] == [(0, 1.1), (4.4, 8.6)]


@pytest.mark.parametrize("frames", [2, 10, 40, 400])
def test_a_plan_keeps_to_its_budget(frames: int) -> None:
    spans = [Span(100 * k, 100 * k + 8.0, 0.1) for k in range(1, 9)]
    plan = adaptive_plan(0, 1000, spans, frames)
    assert len(plan.times_s) <= frames
    assert list(plan.times_s) == sorted(set(plan.times_s))
    assert plan.times_s[0] >= 0
    assert plan.times_s[-1] <= 1000
    if frames == 400:
        assert all(sum(s.start_s <= t <= s.end_s for t in plan.times_s) >= 16 for s in spans)


def test_an_even_plan() -> None:
    assert even_plan(1, 3, 2, None).times_s == (1, 1.5, 2, 2.5)
    assert len(even_plan(0, 100, 10, 50).times_s) == 50


# --- drawing -----------------------------------------------------------------------------------------------------------


def test_the_annotated_video_and_the_sheet(clip: Path, tmp_path: Path) -> None:
    answer = deixis().watch(clip, WHERE, detector=ColorDetector())
    times = key_times(answer)
    assert times == sorted(times)
    assert 3 <= len(times) <= 12
    assert spans_shown(answer)[0][0] == 0
    save_watched(open_video(clip), answer, tmp_path / "out.mp4")
    drawn = open_video(tmp_path / "out.mp4")
    assert drawn.info.duration_s == pytest.approx(6.0, abs=0.2)
    before, after = (frame.pixels for frame in drawn.frames(times=[0.5, 5.5]))
    assert before.shape[1] == 640
    # The cup's frame is drawn around it, then dashed over the box.
    assert np.abs(before[:480].astype(int) - 128).max() > 60
    assert np.abs(before.astype(int) - after.astype(int)).mean() > 2
    save_watched(open_video(clip), answer, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.width > 900
    with pytest.raises(OptionError):
        save_watched(open_video(clip), answer, tmp_path / "out.avi")
