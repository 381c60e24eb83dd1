"""Training in miniature: it learns, records itself without naming its machine, and goes on where it stopped."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.errors import OptionError
from deixis.lab import train as training
from deixis.lab.curve import draw_curve
from deixis.lab.train import Plan, augmented, launch, save, train
from deixis.model import open_checkpoint
from tests.lab.small_nano import TOKENIZER, plain_renderer, small_config, small_model, tokenizer


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that a test can afford, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(training, "nano_config", lambda _: small_config())
    yield
    torch.set_num_threads(before)


def plan(out: Path, **options: Any) -> Plan:
    sizes = {"small": ((256, 256),), "large": ((288, 256),), "small_tokens": 180, "large_tokens": 200}
    few = {"batch": 4, "pictures": 4, "workers": 1, "views": 2, "uses": 1, "smooth_share": 1.0, "warmup_steps": 5}
    return Plan(out=str(out), tokenizer=str(TOKENIZER), **{"minutes": 0.1, "report_s": 3, "save_s": 7, **sizes, **few, **options})


# --- pieces --------------------------------------------------------------------------------------------------------


def test_augmented_pictures_stay_pictures_of_the_same_colours() -> None:
    torch.manual_seed(0)
    colors = torch.tensor([[210, 20, 20], [25, 50, 210], [240, 215, 20], [120, 120, 120]], dtype=torch.uint8)
    pixels = colors[:, :, None, None].repeat(8, 1, 32, 48)
    found = augmented(pixels)
    assert found.shape == pixels.shape and found.dtype == torch.float32
    assert found.min() >= -1 and found.max() <= 1
    mean = found.mean((2, 3)).view(8, 4, 3)
    assert (mean[:, 0, 0] > mean[:, 0, 1:].amax(-1) + 0.5).all()  # red stays red
    assert (mean[:, 1, 2] > mean[:, 1, :2].amax(-1) + 0.5).all()
    assert (mean[:, 2, :2].amin(-1) > mean[:, 2, 2] + 0.5).all()
    assert (mean[:, 3].amax(-1) - mean[:, 3].amin(-1)).max() < 0.3
    assert mean.std(0).max() > 0.02  # and no two pictures are alike
    assert not torch.equal(augmented(pixels), found)


def test_a_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    model = small_model(3)
    save(tmp_path, model, tokenizer(), {"steps": 7, "pictures": 56, "runs": 2})
    again, done = training._model(plan(tmp_path / "next", resume=str(tmp_path)), tokenizer(), torch.device("cpu"))
    assert done == {"steps": 7, "pictures": 56, "runs": 2}
    for (name, p), q in zip(again.named_parameters(), model.parameters(), strict=True):
        assert p.requires_grad and p.dtype == torch.float32
        assert torch.equal(p, q.to(torch.bfloat16).float()), name
    fresh, none = training._model(plan(tmp_path), tokenizer(), torch.device("cpu"))
    assert none == {"steps": 0, "pictures": 0, "runs": 0} and all(p.requires_grad for p in fresh.parameters())


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (0.34, 1.0), (0.35, 1.0), (0.675, 0.5), (1.0, 0.01)])
def test_the_rate_falls_in_the_end(progress: float, share: float) -> None:
    assert training._decay(progress, 0.35) == pytest.approx(share)


def test_held_out_seeds_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="seed 900001 is held out"):
        launch(plan(tmp_path / "out", seed=900_001), gpus=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("begin", "end"), [(0.5, 0.5), (0.9, 0.1), (-0.1, 1.0), (0.0, 1.1)])
def test_a_run_covers_a_stretch_of_the_schedule(begin: float, end: float) -> None:
    with pytest.raises(OptionError, match=f"from {begin} to {end} of the schedule"):
        plan(Path("out"), begin=begin, end=end)


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    rows = [
        {"s": k, "step": k, "pictures": 1e6 * k, "progress": 0.1, "loss": 1.0, "waited_s": 0, "count": k / 5} for k in range(4)
    ]
    rows[3]["depth"] = 0.5  # a kind that the first rows do not have
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    draw_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.width > 600 and len(np.unique(np.asarray(picture.convert("L")))) > 10


# --- the whole -----------------------------------------------------------------------------------------------------


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of nothing: how many things there are can be learned without a renderer."""
    monkeypatch.setattr(training, "BatchRenderer", lambda worlds, *_, **__: plain_renderer(worlds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a step (each looks five times), however slow the machine is."""
    ticks = itertools.count(0, 0.2)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


@pytest.mark.usefixtures("blank", "clock")
def test_training_learns_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(plan(tmp_path / "first", minutes=0.25, end=0.5)) == tmp_path / "first"
    rows = [json.loads(line) for line in (tmp_path / "first" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert len(rows) >= 2 and rows[-1]["loss"] < rows[0]["loss"] and "exists" in rows[-1]
    assert rows[-1]["pictures"] == 4 * rows[-1]["step"] and 0 < rows[-1]["progress"] <= 0.5
    record = json.loads((tmp_path / "first" / "training.json").read_text(encoding="utf-8"))
    assert record["steps"] >= rows[-1]["step"] and (record["runs"], record["progress"]) == (1, 0.5)
    assert str(tmp_path) not in json.dumps(record) and "tokenizer" not in record["plan"]
    assert open_checkpoint(tmp_path / "first").config == small_config()

    launch(plan(tmp_path / "second", minutes=0.1, resume=str(tmp_path / "first"), begin=0.5), gpus=1)
    after = json.loads((tmp_path / "second" / "training.json").read_text(encoding="utf-8"))
    assert after["steps"] > record["steps"] and (after["runs"], after["progress"]) == (2, 1.0)


@pytest.mark.usefixtures("blank")
def test_an_error_in_training_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr(training, "answer_logits", broken)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="no more memory"):
        train(plan(tmp_path))
    assert time.monotonic() - start < 30  # workers are not waited for
