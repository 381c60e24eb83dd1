"""How far boxes are off is found again from boxes that were moved by so much; and coverage is counted right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deixis.backends import FakeBackend, ModelCard
from deixis.geometry import Box3D
from deixis.lab import calibrate_space
from deixis.lab.bench_space import reliability, report
from deixis.lab.calibrate_space import (
    FITTED,
    fit_tail,
    fitted_doubt,
    half_widths,
    located,
    pairs_of,
    quantile_fit,
    questions_of,
    relations_of,
)
from deixis.spatial import Deixis
from deixis.spatial.places import variants
from deixis.spatial.places.doubts import SpaceDoubt


@pytest.fixture(autouse=True)
def few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a hundred variants."""
    monkeypatch.setattr(calibrate_space, "QUESTIONS", 2)
    monkeypatch.setattr(variants, "VARIANTS", 40)


def rows(count: int, ray_m: float, seed: int, world: str = "desk") -> list[dict[str, Any]]:
    """Pictures of four boxes on a table, each found up to `ray_m` (one sigma) nearer or farther than it is."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        things = []
        for name in ("cup", "book", "lamp", "box"):
            center = np.array([rng.uniform(-0.5, 0.5), 0.2, rng.uniform(1.0, 2.0)])
            found = center * (1 + ray_m * rng.normal() / np.linalg.norm(center))
            boxes = [Box3D((x, y, z), (0.1, 0.1, 0.1)).to_qwen() for x, y, z in (center.tolist(), found.tolist())]
            things.append({"name": name, "true": list(boxes[0]), "found": list(boxes[1])})
        made.append({"world": world, "seed": seed, "index": index, "language": "en", "things": things})
    return made


def test_the_doubt_that_moved_the_boxes_is_found() -> None:
    found = fitted_doubt(rows(30, 0.03, 1), {"seed": 1})
    assert found.fitted and found.made["pairs"] == 180
    assert found.ray.at(0.0, 1.5) == pytest.approx(1.7 * 0.03, rel=0.25)  # 91% of a normal distribution
    assert found.side.at(0.0, 1.5) < 0.01
    wider = fitted_doubt(rows(30, 0.06, 1), {"seed": 1})
    assert wider.gap.at(0.3, 1.5) == pytest.approx(2 * found.gap.at(0.3, 1.5), rel=0.35)


def test_intervals_hold_what_they_say_on_other_pictures() -> None:
    doubt = fitted_doubt(rows(40, 0.03, 2), {"seed": 2})
    told = report(rows(15, 0.03, 3), doubt)
    assert (told["things"], told["found"]) == (60, 60)
    assert told["intervals"]["distance"]["n"] == 90
    assert told["intervals"]["distance"]["coverage"] == pytest.approx(FITTED, abs=0.08)
    assert told["intervals"]["offset"]["coverage"] == pytest.approx(FITTED, abs=0.1)
    assert told["reliability"]["ece"] < 0.1
    assert {"distance", "within", "offset, camera"} <= set(told["families"])
    assert any(family.endswith(", viewer") for family in told["families"])
    guessed = report(rows(15, 0.03, 3), SpaceDoubt())
    assert guessed["intervals"]["distance"]["coverage"] > 0.97
    assert guessed["intervals"]["distance"]["median_width_m"] > 2 * told["intervals"]["distance"]["median_width_m"]


def test_too_few_pairs_fit_nothing() -> None:
    assert not fitted_doubt(rows(5, 0.03, 4), {"seed": 4}).fitted
    lost = rows(1, 0.03, 4)[0]
    lost["things"][0]["found"] = None
    assert len(pairs_of(lost)) == 3
    assert all("cup" not in asked.names for asked in (*questions_of(lost), *relations_of(lost)))


def test_an_easy_world_does_not_make_up_for_a_hard_one() -> None:
    rng = np.random.default_rng(5)
    errors = np.abs(np.concatenate([rng.normal(0, 1, 500), rng.normal(0, 3, 500)]))
    worlds = np.array(["easy"] * 500 + ["hard"] * 500)
    (half,) = half_widths(errors, np.ones((1000, 1)), worlds, np.arange(1000) % 5)
    assert np.mean(errors[500:] <= half) == pytest.approx(FITTED, abs=0.012)
    assert quantile_fit(errors, np.ones((1000, 1)), 0.5)[0] == pytest.approx(np.median(errors), abs=0.01)


@pytest.mark.parametrize("tail", [0.8, 1.5])
def test_the_tail_is_found(tail: float) -> None:
    errors = (np.log10(1 / np.random.default_rng(6).random(5_000))) ** (1 / tail)  # by the inverse of its distribution
    assert fit_tail(errors) == pytest.approx(tail, rel=0.05)


def test_reliability_is_the_gap_between_said_and_right() -> None:
    said = [("x", 0.9, i < 6) for i in range(10)]
    told = reliability(said)
    assert (told["n"], told["ece"]) == (10, 0.3)
    assert told["bins"] == [{"to": 0.9, "n": 10, "confidence": 0.9, "right": 0.6}]
    assert reliability([])["n"] == 0


def test_a_picture_gives_one_row_with_the_truth_beside() -> None:
    backend = FakeBackend({"": "[]"}, card=ModelCard("fake", virtual_focal=1.0))
    ((row,),) = located(Deixis(backend), "primitives", 820_005, 1, (256, 192))
    assert (row["world"], row["seed"], row["index"], row["language"]) == ("primitives", 820_005, 0, "en")
    assert row["things"] and all(thing["found"] is None and len(thing["true"]) == 9 for thing in row["things"])
    names = [thing["name"] for thing in row["things"]]
    assert len(set(names)) == len(names)
