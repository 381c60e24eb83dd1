"""The benchmark of the memory: what counts as told, what as false, and a model's boxes beside the truth's."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

import deixis.backends
from deixis.backends import FakeBackend
from deixis.cli import run
from deixis.lab.bench_video import Filmed, table
from deixis.lab.video.case import VideoCase, case_of
from deixis.lab.video.clip import Clip, clip_of
from deixis.lab.video.event_scores import event_scores
from deixis.lab.video.events import TrueEvent
from deixis.lab.video.watched import watched
from deixis.lab.video_command import shown
from deixis.spatial.video.detection import Detection, Event

SEED = 850_102


def short(seed: int, index: int, size: tuple[int, int] = (160, 120)) -> Clip:
    return clip_of(seed, index, size, 3.0, "take_away")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.lab.video.case.clip_of", short)


def scores_of(true: list[TrueEvent], told: list[Event]) -> list[dict[str, Any]]:
    """Of a watcher whose track k is thing k."""
    frames = [SimpleNamespace(time_s=0.2 * k) for k in range(50)]
    case = SimpleNamespace(events=true, frames=frames, clip=SimpleNamespace(index=0))
    seen = SimpleNamespace(events=told, thing_of=lambda k, track: track)
    return list(event_scores(case, seen))  # type: ignore[arg-type]


def event(kind: str, start_s: float, *who: int) -> Event:
    return Event(start_s, start_s + 1, kind, {"en": kind, "zh": kind}, who)  # type: ignore[arg-type]


def test_precision_is_the_share_of_what_was_told_that_happened() -> None:
    true = [TrueEvent("moves", 1, 2, (0,)), TrueEvent("moves", 5, 6, (1,)), TrueEvent("moves", 8, 9, (2,), shown=False)]
    told = [event("moves", 1.2, 0), event("moves", 3.0, 0), event("moves", 8.0, 2), event("moves", 1.0, 1)]
    row = table(scores_of(true, told))["event_moves"]
    # The first is told, and again in a second part; the third may be told; the last one happened four seconds later.
    assert (row["n"], row["missed"], row["false"], row["precision"]) == (2, 1, 0, 1.0)
    row = table(scores_of(true, [*told, event("moves", 0.5, 3), event("moves", 0.5, 4)]))["events"]
    assert (row["false"], row["precision"]) == (2, pytest.approx(2 / 3, abs=1e-3))
    assert table(scores_of(true, []))["events"]["precision"] is None


@pytest.mark.parametrize(("hider", "missed"), [((), 0), ((1,), 1)])
def test_what_the_room_hides_may_be_told_to_have_left(hider: tuple[int, ...], missed: int) -> None:
    true = [TrueEvent("is_hidden", 2, 2, (0, *hider)), TrueEvent("is_revealed", 4, 4, (0, *hider))]
    rows = table(scores_of(true, [event("leaves", 2.1, 0), event("appears", 4.1, 0)]))
    assert rows["event_is_hidden"]["missed"] == rows["event_is_revealed"]["missed"] == missed
    assert rows["events"]["false"] == 2 * missed


@pytest.mark.usefixtures("brief")
def test_a_picture_in_which_nothing_moved_is_not_looked_at_again() -> None:
    case: VideoCase = case_of(SEED, 3, 5.0, (160, 120))
    asked: list[float] = []

    def detector(pixels: NDArray[np.uint8], time_s: float) -> list[Detection]:
        assert pixels.shape == (120, 160, 3)
        asked.append(time_s)
        return [Detection("red cup", (10, 10, 30, 40), 0.9)]

    with Filmed(detector) as filmed:
        seen = watched(case, filmed)
    assert filmed.looks == len(asked)
    assert (1 < len(asked) < len(case.frames)) if case.clip.camera.move == "still" else len(asked) == len(case.frames)
    assert all(list(held) == [1] for held in seen.held)


@pytest.mark.usefixtures("brief")
def test_both_tables_in_one_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(deixis.backends, "resolve_model", lambda _: FakeBackend({"": "```json\n[]\n```"}))
    command = ["bench", "accuracy", "--world", "video", "--count", "2", "--seed", str(SEED), "--size", "160x120"]
    assert run([*command, "--detections", "both", "--model-count", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["detections"], told["count"], told["model"]["count"], told["model"]["fps"]) == ("truth", 2, 1, 2.0)
    assert told["kinds"]["state"]["right"] > 0.9 and told["model"]["kinds"]["state"]["right"] == 0
    assert told["model"]["seconds_per_clip"] > 0 and told["model"]["looks_per_clip"] >= 1
    Console(width=160).print(shown(told))
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("boxes: truth", "2 clips, 5 fps", "1 clips, 2 fps", " s a clip"))
    assert run([*command, "--detections", "guesses"]) == 2
    assert "choose truth, model or both" in capsys.readouterr().err
    assert run([*command, "--model-count", "3"]) == 2
    assert "no model looks" in capsys.readouterr().err
