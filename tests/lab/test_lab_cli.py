"""`deixis lab …` and `deixis bench …` as users meet them: what they write, print and refuse."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import deixis.backends
from deixis.backends import FakeBackend, ModelCard
from deixis.cli import run
from deixis.lab import calibrate, calibrate_space
from deixis.lab import train as training
from deixis.spatial import Deixis
from deixis.spatial.checking.calibration import Calibration, Fusion
from deixis.spatial.places.doubts import SpaceDoubt


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_make_writes_pictures_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert run(["lab", "make", "--world", "primitives", "--count", "2", "--seed", "7", "--size", "96x64", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["000000.png", "000001.png", "truth.jsonl"]
    with Image.open(out / "000001.png") as picture:
        assert (picture.size, picture.mode) == ((96, 64), "RGB")
    truths = [json.loads(line) for line in lines((out / "truth.jsonl").read_text(encoding="utf-8"))]
    assert [t["image"] for t in truths] == ["000000.png", "000001.png"]
    wanted = {"image", "world", "seed", "index", "camera", "pose", "objects", "questions"}
    assert all(set(t) == wanted and t["objects"] and t["questions"] for t in truths)
    fields = {"label", "color", "box_px", "visible_fraction", "depth_m", "box_3d", "occluders", "rests_on", "touches"}
    assert fields <= set(truths[0]["objects"][0])
    assert {"kind", "language", "question", "answer"} <= set(truths[0]["questions"][0])
    printed = capsys.readouterr()
    assert printed.err == "" and "2 pictures and truth.jsonl in" in printed.out


# Arguments (OUT stands for a folder that does not exist), and what the one line says.
REFUSED = [
    (["lab", "make", "--size", "640", "--out", "OUT"], "size is '640', expected WIDTHxHEIGHT such as 640x480"),
    (["lab", "make", "--size", "32x32", "--out", "OUT"], "expected sides from 64 to 4096 px"),
    (["lab", "make", "--world", "moon", "--out", "OUT"], "unknown world 'moon'; choose one of primitives, desk"),
    (["lab", "make", "--count", "0", "--out", "OUT"], "--count"),
    (["lab", "make", "--seed", "-1", "--out", "OUT"], "--seed"),
    (["lab", "make", "--colour", "red", "--out", "OUT"], "--colour"),
    (["lab", "make"], "--out"),
    (["lab", "make", "--out", __file__], "is a file"),
    (["lab", "train", "--out", "OUT", "--tokenizer", "OUT"], "does not exist"),
    (["lab", "train", "--out", "OUT", "--tokenizer", __file__, "--resume", "OUT"], "does not exist"),
    (
        ["lab", "train", "--out", "OUT", "--tokenizer", __file__, "--begin", "0.9", "--end", "0.1"],
        "from 0.9 to 0.1 of the schedule",
    ),
    (["lab", "nothing"], "No such command 'nothing'"),
    (["bench", "nothing"], "No such command 'nothing'"),
    (["bench", "accuracy", "--world", "moon"], "unknown world 'moon'"),
    (["bench", "accuracy", "--size", "x"], "size is 'x'"),
    (["bench", "accuracy", "--model", "no-such-model"], "no-such-model"),
    (["lab", "calibrate"], "--out"),
    (["lab", "calibrate", "--world", "moon", "--out", "OUT"], "unknown world 'moon'"),
    (["lab", "calibrate", "--out", "OUT", "--readings", __file__], "holds no readings"),
    (["bench", "verified", "--world", "moon"], "unknown world 'moon'"),
    (["bench", "verified", "--merge", "OUT"], "does not exist"),
    (["bench", "verified", "--merge", __file__], "holds no rows"),
]


@pytest.mark.parametrize(("arguments", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run([str(out) if a == "OUT" else a for a in arguments]) == 2
    printed = capsys.readouterr()
    assert len(lines(printed.err)) == 1 and says in printed.err and printed.out == ""
    assert not out.exists()


def test_a_truth_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "truth.jsonl").write_text("mine\n", encoding="utf-8")
    assert run(["lab", "make", "--out", str(tmp_path), "--size", "64x64", "--count", "1"]) == 2
    assert "exists already: choose another folder or remove it" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["truth.jsonl"]


@pytest.mark.parametrize("group", ["lab", "bench"])
def test_groups_list_their_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([group, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(
        name in shown for name in {"lab": ("make", "train", "tokenizer", "calibrate"), "bench": ("accuracy", "verified")}[group]
    )


def test_drawing_needs_no_screen() -> None:
    assert os.environ["MUJOCO_GL"]


@pytest.mark.parametrize("long_enough", [True, False])
def test_train_hands_its_options_on(long_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[tuple[training.Plan, int]] = []

    def launched(plan: training.Plan, gpus: int) -> None:
        plans.append((plan, gpus))
        if long_enough:
            Path(plan.out).mkdir()
            (Path(plan.out) / "metrics.jsonl").write_text('{"pictures": 1, "count": 0.5}\n', encoding="utf-8")

    monkeypatch.setattr(training, "launch", launched)
    out = tmp_path / "out"
    options = {"--minutes": 3, "--gpus": 2, "--resume": tmp_path, "--begin": 0.25, "--end": 0.5, "--seed": 4, "--workers": 6}
    options |= {"--videos": 0.25}
    given = [str(word) for pair in options.items() for word in pair]
    assert run(["lab", "train", "--out", str(out), "--tokenizer", __file__, *given]) == 0
    ((plan, gpus),) = plans
    assert (plan.out, plan.tokenizer, plan.resume, gpus) == (str(out), __file__, str(tmp_path), 2)
    assert (plan.minutes, plan.begin, plan.end, plan.seed, plan.workers, plan.video_share) == (3, 0.25, 0.5, 4, 6, 0.25)
    assert (out / "curve.png").exists() == long_enough


# --- bench ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """The model that every name resolves to: it says yes and finds nothing."""
    backend = FakeBackend({"": "Yes", "JSON": "```json\n[]\n```"})
    monkeypatch.setattr(deixis.backends, "resolve_model", lambda _: backend)
    return backend


BENCH = ["bench", "accuracy", "--world", "primitives", "--count", "2", "--seed", "820003", "--size", "256x192"]


def test_accuracy_as_json(fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BENCH, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and len(lines(printed.out)) == 1
    result = json.loads(printed.out)
    assert {k: result[k] for k in ("world", "seed", "count", "model", "size")} == {
        "world": "primitives", "seed": 820003, "count": 2, "model": "fake", "size": "256x192"
    }  # fmt: skip
    assert {"n", "iou50", "mean_iou", "median_edge_px"} <= set(result["kinds"]["locate"])
    assert result["kinds"]["locate"]["mean_iou"] == 0 and result["kinds"]["locate"]["median_edge_px"] is None
    assert result["kinds"]["exists"]["n"] >= 2 and set(result["languages"]) == {"en", "zh"}
    assert fake.asked


def test_accuracy_for_people(fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BENCH) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("both languages", "locate", "iou50", "viewpoint", "accuracy"))


VERIFIED = ["bench", "verified", "--world", "primitives", "--seed", "820003", "--size", "256x192"]


def test_verified_runs_can_be_shared_out(fake: FakeBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for first, path in enumerate(halves):
        assert run([*VERIFIED, "--first", str(first), "--count", "1", "--rows", str(path)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("bare", "verified", "unsure", "harder", "90% intervals", "absent"))
    assert fake.asked
    assert run([*VERIFIED, "--count", "2", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run([*VERIFIED, "--json", "--merge", str(halves[0]), "--merge", str(halves[1])]) == 0
    merged = json.loads(capsys.readouterr().out)
    assert (whole["model"], whole["count"], merged["count"]) == ("fake", 2, 2)
    assert (merged["all"], merged["harder"]) == (whole["all"], whole["harder"])


def test_calibrate_writes_a_file_that_is_used(
    fake: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    backend = FakeBackend({"": "Yes", "JSON": "[]"}, card=ModelCard("fake", directory=tmp_path))
    monkeypatch.setattr(deixis.backends, "resolve_model", lambda _: backend)
    readings = tmp_path / "readings.jsonl"
    command = ["lab", "calibrate", "--world", "primitives", "--count", "12", "--seed", "820003", "--size", "256x192"]
    command += ["--readings", str(readings), "--out", str(tmp_path)]
    assert run(command) == 0
    written = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    assert written["made"]["command"].startswith("deixis lab calibrate --world primitives --count 12 --seed 820003")
    assert {"absent", "value"} <= set(written["claims"])  # it finds nothing, so that there are no claims about two things
    assert Deixis(backend).calibration.fitted
    asked, kept = len(backend.asked), readings.read_text(encoding="utf-8")
    assert run(command) == 0  # from the readings alone
    assert (len(backend.asked), readings.read_text(encoding="utf-8")) == (asked, kept)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    capsys.readouterr()
    assert run(command) == 2
    assert "readings of other weights" in capsys.readouterr().err


def test_each_part_of_a_calibration_keeps_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    backend = FakeBackend({"": "Yes"}, card=ModelCard("fake", directory=tmp_path))
    monkeypatch.setattr(deixis.backends, "resolve_model", lambda _: backend)
    monkeypatch.setattr(calibrate, "collected", lambda *_: iter([]))
    monkeypatch.setattr(calibrate_space, "located", lambda *_: iter([]))
    learned = 0.0

    def fitted(_: object, made: dict[str, Any]) -> Calibration:
        return Calibration({"claim, side": Fusion({"words": learned})}, unsure_below=learned / 10, made=made)

    def fitted_doubt(_: object, made: dict[str, Any]) -> SpaceDoubt:
        return SpaceDoubt(weight=learned, offset_scale=learned, measured={"near": 30}, made=made)

    monkeypatch.setattr(calibrate, "fitted", fitted)
    monkeypatch.setattr(calibrate_space, "fitted_doubt", fitted_doubt)

    def learn(part: str, value: float) -> dict[str, Any]:
        nonlocal learned
        learned = value
        assert run(["lab", "calibrate", "--count", "1", "--part", part, "--out", str(tmp_path)]) == 0
        row: dict[str, Any] = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
        return row

    assert run(["lab", "calibrate", "--count", "1", "--part", "space", "--out", str(tmp_path)]) == 2
    assert "learn both parts" in capsys.readouterr().err
    first = learn("both", 1.0)
    space = learn("space", 2.0)
    assert {**space, "space": first["space"]} == first and space["space"]["weight"] == 2.0
    assert space["space"]["made"]["command"].endswith("--part space")
    claims = learn("claims", 3.0)
    assert claims["space"] == space["space"] and claims["claims"]["claim, side"]["weights"]["words"] == 3.0
    assert Deixis(backend).calibration.space.knows("near")
    (tmp_path / "model.safetensors").write_bytes(b"others")  # whose boxes nobody measured
    assert "space" not in learn("claims", 4.0)


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "accuracy", "--world", "moon", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "OptionError" and "moon" in error["message"]
