"""What is learned from readings: weights that were put in, intervals that hold, and no weight against what a reading says."""

import math
from typing import Any

import numpy as np
import pytest

from deixis.backends import FakeBackend, ModelCard
from deixis.errors import OptionError
from deixis.lab.bench import asked
from deixis.lab.calibrate import (
    ABSENT_ABOVE,
    FEWEST_OF_KIND,
    FITTED,
    camera_of,
    collected,
    edges,
    fit_absent,
    fit_fusion,
    fit_intervals,
    fitted,
    provenance,
    right,
)
from deixis.lab.make import example
from deixis.lab.questions import Picture, evidence_of
from deixis.spatial import Deixis
from deixis.spatial.answer import FoundObject
from deixis.spatial.checking.calibration import Calibration, Fusion, probability_of

SIZE = (256, 192)
SEED = 820_004


def answers_to(made: Any, index: int) -> dict[str, str]:
    """The truth, by prompt, evidence included."""
    picture = Picture(made.truth)
    told = {}
    for question in asked(made.questions, index):
        told[question.prompt] = question.answer
        if question.prompt_kind == "ask":
            for kind in ("evidence", "evidence_3d"):
                proof = evidence_of(picture, question, kind)  # type: ignore[arg-type]
                told[proof.prompt] = proof.answer
    return told


def simulated(rng: np.random.Generator, weights: dict[str, float], bias: float, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        said = {how: float(rng.normal(0, 2)) for how in weights}
        odds = bias + sum(weights[how] * value for how, value in said.items())
        rows.append({"kind": "claim, side", "features": said, "holds": bool(rng.random() < probability_of(odds))})
    return rows


def test_the_weights_that_made_the_answers_are_found() -> None:
    weights = {"words": 1.0, "geometry": 0.4, "choice": 0.0, "mirrored": -0.5}
    found = fit_fusion(simulated(np.random.default_rng(1), weights, 0.5, 6_000), Fusion({}))
    assert found.weights is not None
    assert found.bias == pytest.approx(0.5, abs=0.15)
    assert {how: round(w, 1) for how, w in found.weights.items() if how != "mirrored"} == {
        "words": pytest.approx(1.0, abs=0.11), "geometry": pytest.approx(0.4, abs=0.11), "choice": pytest.approx(0.0, abs=0.11)
    }  # fmt: skip
    assert found.weights["mirrored"] == 0  # never against what it says


def test_few_answers_are_drawn_to_what_they_are_a_case_of() -> None:
    rng = np.random.default_rng(2)
    many, few = simulated(rng, {"words": 1.5}, 0.0, 2_000), simulated(rng, {"words": 1.5}, 0.0, FEWEST_OF_KIND - 1)
    rows = [{"claims": [one], "edges": [], "world": "desk"} for one in many]
    rows += [{"claims": [{**one, "kind": "claim, between"}], "edges": [], "world": "desk"} for one in few]
    found = fitted(rows, {"seed": 1})
    assert set(found.claims) == {"claim", "claim, side"}  # too few for weights of their own
    assert found.fusion("claim, between") is found.claims["claim"]
    assert found.claims["claim"].weights == {"words": pytest.approx(1.5, abs=0.25)}
    assert found.made == {"seed": 1}


def test_nothing_is_learned_from_nothing() -> None:
    with pytest.raises(OptionError, match="collect more"):
        fitted([{"claims": simulated(np.random.default_rng(3), {"words": 1.0}, 0.0, 1), "edges": [], "world": "desk"}], {})


def test_absent_is_said_as_often_as_it_is_true() -> None:
    rng = np.random.default_rng(8)
    rows = []
    for _ in range(4_000):
        odds = rng.normal(-2, 2.5)
        rows.append({"features": {"words": float(odds)}, "holds": bool(rng.random() < probability_of(odds - 0.6))})
    calibration = Calibration({"absent": Fusion({"words": 1.0})})  # which says it too often
    above = fit_absent(calibration, rows)
    said = [probability_of(row["features"]["words"]) > above for row in rows]
    assert above > 0.52
    assert sum(said) == sum(row["holds"] for row in rows)
    none, clear = ({"features": {"words": -3.0}, "holds": False}, {"features": {"words": 9.0}, "holds": True})
    assert fit_absent(calibration, [none]) == 0.5
    assert fit_absent(calibration, [none, clear]) == ABSENT_ABOVE[1]


def test_what_is_looked_at_again_has_weights_of_its_own() -> None:
    rng = np.random.default_rng(9)
    rows = []
    for i in range(3_000):
        words, exists = rng.normal(0, 2), rng.normal(0, 2)
        holds = bool(rng.random() < probability_of(words + 2 * exists * (i % 2)))
        said = {"words": float(words), "exists": float(exists)} if i % 2 else {"words": float(words)}
        rows.append(
            {
                "claims": simulated(rng, {"words": 1.0}, 0.0, 1),
                "edges": [],
                "world": "desk",
                "absent": {"features": said, "holds": holds},
            }
        )
    found = fitted(rows, {})
    assert set(found.claims["absent"].weights or {}) == {"words"}
    assert found.claims["absent, seen again"].weights == {
        "words": pytest.approx(1.0, abs=0.2),
        "exists": pytest.approx(2.0, abs=0.3),
    }
    assert ABSENT_ABOVE[0] <= found.absent_above <= ABSENT_ABOVE[1]


def boxes(spread: float, seed: int) -> Any:
    """Rows of low, said, high, true whose errors are `spread` times what their digits say, with heavy tails."""
    rng = np.random.default_rng(seed)
    said, reach = rng.uniform(200, 800, 4_000), rng.uniform(1, 8, (2, 4_000))
    true = said + spread * rng.standard_t(3, 4_000) * reach.mean(0)
    return np.stack([said - reach[0], said, said + reach[1], true], axis=1)


def held(rows: Any, scale: float, extra: float) -> float:
    low, said, high, true = rows.T
    return float(np.mean((said - scale * (said - low) - extra <= true) & (true <= said + scale * (high - said) + extra)))


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_fitted_intervals_hold_nine_of_ten(spread: float) -> None:
    found = fit_intervals([boxes(spread, 4)])
    assert held(boxes(spread, 4), *found) == pytest.approx(FITTED, abs=0.002)
    assert held(boxes(spread, 5), *found) == pytest.approx(FITTED, abs=0.02)  # others of the same kind


def test_an_easy_world_does_not_make_up_for_a_hard_one() -> None:
    easy, hard = boxes(0.3, 6), boxes(2.0, 7)
    found = fit_intervals([easy, hard])
    assert held(hard, *found) == pytest.approx(FITTED, abs=0.002)
    assert held(easy, *found) > 0.95


def test_no_boxes_leave_intervals_as_they_are() -> None:
    assert fit_intervals([np.zeros((0, 4))]) == (1.0, 0.0)


def test_edges_are_of_things_that_a_label_tells_apart() -> None:
    made = example("primitives", SEED, 0, SIZE)
    picture = Picture(made.truth)
    thing = next(i for i in picture.nameable_indices)
    x1, y1, x2, y2 = picture.objects[thing]["box_px"]
    around = tuple((edge - 1, edge + 1) for edge in (x1, y1, x2, y2))
    item = FoundObject(picture.label(thing, "en"), (x1, y1, x2, y2), interval_px=around)  # type: ignore[arg-type]
    rows = edges([item, FoundObject("no such thing", item.box_px, interval_px=around)], made, "en")  # type: ignore[arg-type]
    assert len(rows) == 4
    for (low, said, high, true), side in zip(rows, (256, 192, 256, 192), strict=True):
        assert low < said < high
        assert true == pytest.approx(said, abs=0.02)
        assert high - low == pytest.approx(2_000 / side, abs=0.05)
    assert edges([FoundObject(item.label, item.box_px)], made, "en") == []


def test_a_truthful_models_claims_all_hold() -> None:
    made = example("primitives", SEED, 0, SIZE)
    told = answers_to(made, 0)
    backend = FakeBackend({**told, "": "I cannot tell"}, card=ModelCard("fake", virtual_focal=1.0), probability=0.99)
    (rows,) = collected(Deixis(backend), "primitives", SEED, 1, SIZE)
    assert {row["question"] for row in rows} >= {"relation", "occlusion_pair", "count", "depth"}
    for row in rows:
        for claim in row["claims"]:
            says = claim["features"]["words"] > 0
            assert claim["holds"] == says or claim["kind"].startswith("value"), row
        assert all(math.isfinite(value) for claim in row["claims"] for value in claim["features"].values())
        assert row["question"] != "absent" or (row["absent"]["holds"] and not row["claims"])
        assert row.get("absent", {"holds": False})["holds"] == (row["question"] == "absent")


def test_depths_are_judged_in_the_pictures_own_camera() -> None:
    made = example("primitives", SEED, 0, SIZE)
    question = next(q for q in made.questions if q.kind == "depth" and q.language == "en")
    depth_m = question.target["depth_m"]
    assert right(question, f"{depth_m:.2f} m", "en")
    assert not right(question, f"{depth_m * 1.3:.2f} m", "en")
    assert not right(question, "absent", "en")
    assert camera_of(made)[0] > 0


def test_only_local_models_can_be_calibrated() -> None:
    with pytest.raises(OptionError, match="only local models"):
        provenance(ModelCard("served"), ["desk"], 1, 1, "640x480")
