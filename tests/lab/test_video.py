"""Videos of the lab: truth agrees with physics and with pixels, events bracket what happened, and all follows from the seed."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deixis.errors import OptionError
from deixis.lab.bench_video import clip_scores, table
from deixis.lab.video.case import VideoCase, case_of, true_detections
from deixis.lab.video.clip import Clip, clip_of
from deixis.lab.video.director import Deed
from deixis.lab.video.events import events_of
from deixis.lab.video.filming import Filming
from deixis.lab.video.forecast import KINDS as FORECASTS
from deixis.lab.video.forecast import forecast_case
from deixis.lab.video.make import make
from deixis.lab.video.memory_scores import memory_scores
from deixis.lab.video.questions import KINDS, ask_about
from deixis.lab.video.stage import G_M_S2, SAMPLE_S
from deixis.lab.video.truth import frames_of
from deixis.lab.video.watched import watched

SEED = 850_101
SIZE = (160, 120)


@cache
def clip(first: str) -> Clip:
    """A clip that begins with a happening, six seconds long unless it needs more."""
    return clip_of(SEED, 3, SIZE, 8.0, first)


@cache
def case(first: str) -> VideoCase:
    made = clip(first)
    frames = frames_of(made, 5)
    return VideoCase(made, tuple(frames), tuple(events_of(made, frames)))


def deed(made: Clip, kind: str) -> Deed:
    return next(d for d in made.deeds if d.kind == kind)


def ids_at(made: Clip, time_s: float) -> NDArray[np.int8]:
    with Filming(made.scene, made.room, made.camera.view) as film:
        film.place(made.placed_at(time_s), made.camera.at(time_s))
        return film.things()


def test_what_is_let_go_falls_with_g() -> None:
    made = clip("drop")
    dropped = deed(made, "drop")
    i = dropped.who[0]
    fall = next(e for e in case("drop").events if e.kind == "falls" and e.objects == (i,))
    assert dropped.start_s < fall.start_s < fall.end_s <= dropped.end_s
    first, last = made.motion.at(fall.start_s) + 1, made.motion.at(fall.end_s) - 2
    height = made.motion.position_m[first:last, i, 2]
    assert np.diff(height, 2) / SAMPLE_S**2 == pytest.approx(np.full(len(height) - 2, -G_M_S2), rel=0.03)
    assert made.motion.position_m[-1, i, 2] < height[-1]


def test_what_a_cover_hides_has_no_visible_pixel_and_comes_back() -> None:
    found = case("cover")
    covered = deed(found.clip, "cover")
    i, box = covered.who[0], covered.by
    after = next(f for f in found.frames if f.time_s > covered.end_s)
    assert (after.things[i].state, after.things[i].hidden_by) == ("occluded", box)
    assert after.things[i].visible_fraction == 0
    assert i not in ids_at(found.clip, after.time_s)
    hidden = next(e for e in found.events if e.kind == "is_hidden" and e.objects == (i, box))
    assert covered.start_s < hidden.start_s <= covered.end_s
    assert i not in [n for n, _ in true_detections(found, after)]


def test_a_swap_exchanges_two_places() -> None:
    made = clip("swap")
    swapped = deed(made, "swap")
    a, b = swapped.who
    before, after = made.motion.at(swapped.start_s), made.motion.at(swapped.end_s)
    place = made.motion.position_m
    assert np.linalg.norm(place[after, a, :2] - place[before, b, :2]) < 0.02
    assert np.linalg.norm(place[after, b, :2] - place[before, a, :2]) < 0.02
    assert np.linalg.norm(place[after, a] - place[before, a]) > 0.1


def test_a_push_moves_the_other_by_contact() -> None:
    found = case("push")
    pushed = deed(found.clip, "push")
    hit = next(e for e in found.events if e.kind == "hits" and e.objects == pushed.who)
    moves = {e.objects[0]: e for e in found.events if e.kind == "moves" and e.start_s <= pushed.end_s}
    mover, target = pushed.who
    assert moves[mover].start_s < hit.start_s <= pushed.end_s
    assert moves[target].start_s == pytest.approx(hit.start_s, abs=0.2)


@pytest.mark.parametrize(("kind", "state"), [("take_out", "out_of_view"), ("take_away", "gone")])
def test_what_is_taken_is_out_of_view_or_gone(kind: str, state: str) -> None:
    found = case(kind)
    taken = deed(found.clip, kind)
    states = [f.things[taken.who[0]].state for f in found.frames]
    assert states[0] == "visible"
    assert states[-1] == state
    event = next(e for e in found.events if e.kind == "is_taken_out" and e.objects == taken.who)
    assert taken.start_s < event.start_s <= taken.end_s + 0.2


def test_movements_bracket_what_moved() -> None:
    for first in ("roll", "carry"):
        found = case(first)
        done = deed(found.clip, first)
        move = next(e for e in found.events if e.kind == "moves" and e.objects == done.who)
        place = found.clip.motion.position_m[:, done.who[0]]
        start, end = found.clip.motion.at(move.start_s), found.clip.motion.at(move.end_s)
        assert move.start_s == pytest.approx(done.start_s, abs=0.3)
        assert np.linalg.norm(place[start] - place[0]) < 0.01
        assert np.linalg.norm(place[end] - place[start]) > 0.05


OPENERS = ("roll", "drop", "carry", "take_out", "take_away", "push")


def test_the_room_stays_where_it_is_while_the_camera_moves() -> None:
    found = next(c for c in (case(first) for first in OPENERS) if c.clip.camera.move != "still")
    for frame in found.frames[:: len(found.frames) // 4]:
        for seen in frame.things:
            pose = frame.T_world_camera
            world = pose[:3, :3] @ seen.center_m + pose[:3, 3]
            assert world == pytest.approx(seen.center_world_m, abs=2e-3)


def test_boxes_are_those_of_the_pixels() -> None:
    found = case("roll")
    frame = found.frames[7]
    ids = ids_at(found.clip, frame.time_s)
    for i, seen in enumerate(frame.things):
        rows, columns = np.nonzero(ids == i)
        if seen.state == "visible":
            assert seen.box_px == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_the_same_seed_gives_the_same_clip() -> None:
    one, other = clip_of(SEED, 3, SIZE, 8.0, "roll"), clip_of(SEED, 4, SIZE, 8.0, "roll")
    assert one.deeds == clip("roll").deeds
    assert np.array_equal(one.motion.position_m, clip("roll").motion.position_m)
    assert one.deeds != other.deeds


def test_an_unknown_happening_is_refused() -> None:
    with pytest.raises(OptionError, match="explodes"):
        clip_of(SEED, 0, first="explodes")


def test_questions_have_the_answers_of_the_truth() -> None:
    asked = [q for first in ("cover", "drop", "push", "take_out") for q in ask_about(case(first), np.random.default_rng(1))]
    assert {q.language for q in asked} == {"en", "zh"}
    assert {"video_where", "video_first", "video_falls", "video_count", "video_cause", "video_last_seen"} <= {
        q.kind for q in asked
    }
    assert {q.kind for q in asked} <= set(KINDS)
    falls = next(q for q in asked if q.kind == "video_falls" and q.language == "en")
    assert falls.answer == f"{falls.target['start_s']:.1f} s"
    assert not any("{" in q.question for q in asked)
    with pytest.raises(OptionError, match="video_why"):
        ask_about(case("drop"), np.random.default_rng(1), kinds=["video_why"])


def test_scores_of_a_watcher_who_sees_everything_and_of_one_who_sees_nothing() -> None:
    found = case("carry")
    rows = table(clip_scores(found))
    assert rows["state_visible"]["right"] > 0.95
    assert rows["event_moves"]["missed"] <= 1  # of three things in sight two move as one: so would a camera
    blind = table(memory_scores(found, watched(found, lambda case, frame: ())))
    assert blind["state"]["right"] == blind["where_now"]["right"] == blind["identity_open"]["right"] == 0


@pytest.mark.parametrize("index", range(len(FORECASTS)))
def test_forecast_cases_end_as_their_kind_says(index: int) -> None:
    made = forecast_case(SEED, index)
    endings = {"rolls_off": "falls_off", "hits": "hits", "falls": "lands", "bounces": "lands", "slides": "stops"}
    assert made.ending == endings.get(made.kind, made.ending)
    aside_m = 0.06 if made.kind in ("falls", "bounces") else 0.01  # in the air a camera does not see the way towards it
    assert np.linalg.norm(made.places_m[-1] - made.later_m[0]) < aside_m, "the last place seen is the first of the truth"
    assert made.way_m > 0
    if made.ending_s is not None:
        assert 0 < made.ending_s - made.times_s[-1] <= 2.0


def test_make_writes_videos_and_their_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr("deixis.lab.video.make.clip_of", lambda seed, index, size: clip_of(seed, index, size, 3.0, "take_away"))
    assert list(make(SEED, 1, (96, 64), tmp_path, fps=5)) == [1]
    line = json.loads((tmp_path / "truth.jsonl").read_text("utf-8"))
    with av.open(str(tmp_path / line["video"])) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert times == pytest.approx([f["time_s"] for f in line["frames"]], abs=1e-3)
    assert {"events", "questions", "camera", "objects"} <= set(line)
    with pytest.raises(OptionError, match="exists already"):
        next(make(SEED, 1, (96, 64), tmp_path))
    with pytest.raises(OptionError, match="even"):
        next(make(SEED, 1, (97, 64), tmp_path / "odd"))


def test_a_case_of_the_benchmark_is_that_of_its_clip() -> None:
    assert case_of.__defaults__ == (5.0, (320, 240))
