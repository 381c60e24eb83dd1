"""Videos in the training mix: clips with questions in both languages, each trained exactly as it will be asked."""

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deixis.errors import OptionError
from deixis.lab import corpus
from deixis.lab import train as training
from deixis.lab.nano import token_id
from deixis.lab.train import Plan, train
from deixis.lab.video import lessons
from deixis.lab.video.clip import Clip, clip_of
from deixis.lab.video.lessons import Lesson, Lessons, lesson
from deixis.lab.video.questions import KINDS
from tests.lab.small_nano import TOKENIZER, plain_renderer, processor, small_config, small_model, tokenizer

SIZE = (128, 96)


def short(seed: int, index: int, size: tuple[int, int]) -> Clip:
    """Five seconds that begin with a thing hidden."""
    return clip_of(seed, index, size, 5.0, "cover")


class AtOnce:
    """An executor without processes."""

    def __init__(self, workers: int, **_: Any) -> None:
        self.workers = workers

    def submit(self, work: Any, *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*given))
        return done

    def shutdown(self, **_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("deixis.lab.video.make.clip_of", short)
    monkeypatch.setattr(lessons, "ProcessPoolExecutor", AtOnce)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def given() -> Lesson:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("deixis.lab.video.make.clip_of", short)
        return lesson(31, 2, str(TOKENIZER), 700, SIZE)


def test_a_lesson_shows_a_clip_and_asks_in_both_languages(given: Lesson) -> None:
    assert given.frames.shape == (len(given.times_s), SIZE[1], SIZE[0], 3) and given.frames.dtype == np.uint8
    assert given.times_s == tuple(float(k) for k in range(len(given.times_s))) and len(given.times_s) >= 5
    kinds = given.packed.kinds[0]
    assert len(kinds) >= 6 and set(kinds) <= set(KINDS)
    text = tokenizer().decode(given.packed.ids[0].tolist())
    assert "Where" in text and "？" in text
    again = lesson(31, 2, str(TOKENIZER), 700, SIZE)
    assert np.array_equal(again.frames, given.frames) and np.array_equal(again.packed.ids, given.packed.ids)


def test_the_tokenizer_reads_questions_about_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "WORLDS", {})
    monkeypatch.setattr(corpus, "BatchRenderer", lambda *_: None)
    monkeypatch.setattr("deixis.lab.video.case.clip_of", short)
    texts = list(corpus.corpus(2 * corpus.PICTURES_A_CLIP, 31))
    assert len(texts) % 2 == 0 and len(texts) > 20 and any("？" in text for text in texts)
    assert list(corpus.corpus(corpus.PICTURES_A_CLIP - 1, 31)) == []


def test_no_lesson_is_given_from_what_benchmarks_ask() -> None:
    with pytest.raises(OptionError, match="held out"):
        lesson(850_001, 0, str(TOKENIZER), 200, SIZE)


@torch.no_grad()
def test_every_question_about_a_clip_is_trained_as_it_is_asked(given: Lesson, tmp_path: Path) -> None:
    model, reader = small_model(), processor(tmp_path)
    with Lessons(tokenizer(), str(TOKENIZER), small_config(), 700, 1) as school:
        logits, rows = school.logits(model, given, torch.device("cpu"), torch.float32)
    answers, compared = np.flatnonzero(given.packed.weight.reshape(-1)), 0
    video = {"type": "video", "frames": given.frames, "timestamps_s": given.times_s}
    for number in range(1, len(given.packed.kinds[0]) + 1):
        columns = np.flatnonzero(given.packed.segment[0] == number)
        ids, weight = given.packed.ids[0, columns], given.packed.weight[0, columns]
        asked = reader.decode(ids[: ids.tolist().index(token_id(tokenizer(), "<|im_end|>"))].tolist())
        inputs = reader.encode([{"role": "user", "content": [video, {"type": "text", "text": asked}]}])
        prefix = rows.ids.shape[1] - given.packed.ids.shape[1]
        places = torch.cat([torch.arange(prefix), torch.from_numpy(columns[weight == 0]) + prefix])
        assert rows.ids[0, places].tolist() == inputs.input_ids.tolist()
        assert rows.positions[:, 0, places].tolist() == inputs.positions.tolist()
        first = int(np.flatnonzero(answers == columns[weight > 0][0])[0])
        alone = model.logits(model(inputs)[0, -1:])[0]
        assert torch.allclose(logits[first], alone, atol=1e-4, rtol=1e-4)
        compared += 1
    assert compared >= 6 and logits.std(0).mean() > 0.1


def test_training_mixes_clips_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    taught: list[int] = []
    plain = Lessons.logits

    def counted(self: Lessons, *args: Any) -> Any:
        taught.append(1)
        return plain(self, *args)

    monkeypatch.setattr(Lessons, "logits", counted)
    monkeypatch.setattr(lessons, "lesson", partial(lesson, size=SIZE))
    monkeypatch.setattr(training, "nano_config", lambda _: small_config())
    monkeypatch.setattr(training, "BatchRenderer", lambda worlds, *_, **__: plain_renderer(worlds))
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(ticks) * 0.2))
    sizes = {"small": ((256, 256),), "large": ((288, 256),), "small_tokens": 180, "large_tokens": 200}
    few = {"batch": 4, "pictures": 4, "workers": 1, "views": 2, "uses": 1, "smooth_share": 1.0, "minutes": 0.15, "report_s": 100}
    out = train(Plan(out=str(tmp_path / "out"), tokenizer=str(TOKENIZER), video_share=0.5, **sizes, **few))  # type: ignore[arg-type]
    record = training.json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert 0 < len(taught) < record["steps"] and record["pictures"] == 4 * (record["steps"] - len(taught))
    with pytest.raises(OptionError, match="video_share is 1"):
        Plan(out="", tokenizer="", minutes=1, video_share=1.0)
