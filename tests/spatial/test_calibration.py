"""Weights of readings, widened intervals, and the file that holds them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.backends import FakeBackend, ModelCard
from deixis.backends.catalog import weights_identity
from deixis.errors import CheckpointError
from deixis.spatial import Deixis
from deixis.spatial.checking.calibration import (
    FILE,
    Calibration,
    Fusion,
    Opinion,
    calibration_of,
    features,
    kinds_of,
    log_odds_of,
    probability_of,
)
from deixis.spatial.deixis import UNPROVEN_MOST

FITTED = Calibration(
    {"claim": Fusion({"words": 1.0}), "claim, side": Fusion({"words": 0.5, "geometry": 2.0}, -0.25)},
    0.7,
    0.4,
    1.5,
    2.0,
    {"seed": 1},
)


def opinion(how: str, log_odds: float) -> Opinion:
    return Opinion(how, "", "", log_odds)


def test_features_are_means_and_no_reading_is_too_sure() -> None:
    found = features([opinion("words", 50.0), opinion("straight", 1.0), opinion("straight", -2.0)])
    assert found == {"words": 6.0, "straight": -0.5}


def test_fusion_weighs_kinds_of_readings() -> None:
    said = [opinion("words", 2.0), opinion("geometry", -1.0), opinion("never fitted", 5.0)]
    assert FITTED.claims["claim, side"].log_odds(said) == pytest.approx(-0.25 + 1.0 - 2.0)
    assert Fusion().log_odds(said) == pytest.approx(2.0)  # unfitted: all alike
    assert Fusion().log_odds([]) == 0


def test_rare_kinds_fall_back_on_what_they_are_a_case_of() -> None:
    assert kinds_of("claim, side, which") == ["claim", "claim, side", "claim, side, which"]
    assert FITTED.fusion("claim, side, which, seen again") is FITTED.claims["claim, side"]
    assert FITTED.fusion("claim, sides") is FITTED.claims["claim"]
    assert FITTED.fusion("absent") == Fusion()


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.5, 0.97])
def test_log_odds_and_back(probability: float) -> None:
    assert probability_of(log_odds_of(probability)) == pytest.approx(probability)
    assert abs(log_odds_of(round(probability))) == pytest.approx(6.0)
    assert probability_of(-1e9) == 0


def test_intervals_are_widened_about_the_number_and_stay_in_the_picture() -> None:
    assert FITTED.interval(90, 100, 120, 1000) == pytest.approx((83, 132))
    assert FITTED.interval(0, 1, 999, 1000) == (0, 1000)
    assert Calibration().interval(90, 100, 120, 1000) == (90, 120)


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 20_000)  # 5 MB
    return tmp_path


def written(directory: Path, **changed: Any) -> ModelCard:
    made = {"weights": weights_identity(directory), "seed": 830001}
    row = {**Calibration(FITTED.claims, 0.7, 0.4, 1.5, 2.0, made).to_json(), **changed}
    (directory / FILE).write_text(json.dumps(row), encoding="utf-8")
    return ModelCard("tiny", directory=directory)


def test_a_file_is_found_beside_its_weights(checkpoint: Path) -> None:
    assert not calibration_of(ModelCard("no directory")).fitted
    assert not calibration_of(ModelCard("no file", directory=checkpoint)).fitted
    found = calibration_of(written(checkpoint))
    assert found.fitted
    assert found.claims == FITTED.claims
    assert (found.unsure_below, found.absent_above, found.interval_scale, found.interval_extra) == (0.7, 0.4, 1.5, 2.0)


@pytest.mark.parametrize("at", [0, 2_560_000, 5_119_999])
def test_a_file_for_other_weights_is_not_used(checkpoint: Path, at: int) -> None:
    card = written(checkpoint)
    changed = bytearray((checkpoint / "model.safetensors").read_bytes())
    changed[at] ^= 1
    (checkpoint / "model.safetensors").write_bytes(changed)
    assert not calibration_of(card).fitted


BROKEN = [
    {"version": 2},
    {"interval_scale": "wide"},
    {"interval_extra": math.inf},
    {"claims": {"claim": {"weights": {"words": None}, "bias": 0}}},
    {"claims": []},
    {"made": None},
]


@pytest.mark.parametrize("changed", BROKEN)
def test_a_broken_file_is_said_to_be_broken(checkpoint: Path, changed: dict[str, Any]) -> None:
    card = written(checkpoint, **changed)
    with pytest.raises(CheckpointError, match="calibrate"):
        calibration_of(card)


def test_an_answer_says_whether_it_is_calibrated(checkpoint: Path) -> None:
    script = {"bbox": '[{"bbox_2d": [100, 200, 300, 400], "label": "cup"}]', "": "Yes"}
    pixels = np.zeros((480, 640, 3), np.uint8)
    plain = Deixis(FakeBackend(script)).ask(pixels, "Is there a cup?")
    assert plain.to_json()["calibrated"] is False
    assert any("not calibrated" in note for note in plain.provenance.notes)
    session = Deixis(FakeBackend(script, card=written(checkpoint)))
    session.calibration = replace(
        session.calibration, claims={**session.calibration.claims, "claim, exists": Fusion({"words": 1.0})}
    )
    fitted = session.ask(pixels, "Is there a cup?")
    assert fitted.to_json()["calibrated"] is True
    assert not any("not calibrated" in note for note in fitted.provenance.notes)


@pytest.mark.parametrize(
    ("question", "reply"),
    [("What colour is the cup?", "red"), ("Is there a cup?", "Yes"), ("杯子是什么颜色?", "红色"), ("在哪里", "桌上")],
)
def test_a_kind_that_was_never_held_against_truth_is_not_near_certain(checkpoint: Path, question: str, reply: str) -> None:
    session = Deixis(FakeBackend({"bbox": "[]", "": reply}, card=written(checkpoint), probability=0.9999))
    session.calibration = replace(
        session.calibration, claims={"claim, side": Fusion({"words": 1.0}), "value": Fusion({"words": 1.0})}
    )
    answer = session.ask(np.zeros((480, 640, 3), np.uint8), question)
    assert answer.calibrated is False
    assert answer.confidence <= UNPROVEN_MOST
    assert any("calibrated for this kind" in note or "这类问题" in note for note in answer.provenance.notes)


@pytest.mark.parametrize("question", ["How far apart are the cup and the cup?", "杯子和杯子相距多远？"])
def test_the_distance_between_two_things_of_one_name_is_unsure(checkpoint: Path, question: str) -> None:
    session = Deixis(FakeBackend({"bbox": "[]", "": "0.91 m"}, card=written(checkpoint), probability=0.9999))
    answer = session.ask(np.zeros((480, 640, 3), np.uint8), question)
    assert (answer.verdict, answer.calibrated) == ("unsure", False)
    assert answer.confidence <= 0.5
    assert any("cup" in note or "杯子" in note for note in answer.provenance.notes)
