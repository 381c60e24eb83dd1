"""How far boxes may be off: the error models, their JSON, and what variants make of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from deixis.errors import GeometryError
from deixis.geometry import Box3D
from deixis.spatial.places.doubts import HalfWidth, SpaceDoubt
from deixis.spatial.places.variants import Things, Unsure, agreement, spread, variants

FITTED = SpaceDoubt(
    HalfWidth(of_depth=0.004, floor_m=0.02),
    HalfWidth(floor_m=0.007),
    HalfWidth(0.01, 0.008, 0.015),
    0.8,
    1.3,
    1.2,
    {"distance": 30},
    {"seed": 1},
)
CUP = Box3D((0.3, -0.2, 1.2), (0.1, 0.2, 0.3))


def test_half_widths_grow_with_length_and_depth_from_a_floor() -> None:
    assert FITTED.gap.at(0.0, 0.0) == pytest.approx(0.015)
    assert FITTED.gap.at(2.0, 3.0) == pytest.approx(0.015 + 0.02 + 0.024)
    assert HalfWidth().at(0.0, 0.0) > 0
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="half-width"):
            HalfWidth(floor_m=bad)
    with pytest.raises(ValueError, match="tail"):
        SpaceDoubt(tail=0.0)
    with pytest.raises(ValueError, match="offset_scale"):
        SpaceDoubt(offset_scale=math.inf)


@pytest.mark.parametrize("tail", [0.5, 1.0, 2.0])
def test_a_half_width_holds_ninety_percent_whatever_the_tail(tail: float) -> None:
    doubt = replace(FITTED, tail=tail)
    assert doubt.within(0.03, 0.03) == pytest.approx(0.9)
    assert doubt.within(0.0, 0.03) == 0.0
    assert 0.9 < doubt.within(0.06, 0.03) < 1.0


def test_a_weight_below_one_makes_shares_less_sure() -> None:
    assert SpaceDoubt().weighed(0.9) == pytest.approx(0.9)
    assert 0.5 < replace(FITTED, weight=0.5).weighed(0.9) < 0.9 < replace(FITTED, weight=2.0).weighed(0.9)
    assert replace(FITTED, weight=0.5).weighed(0.5) == pytest.approx(0.5)
    assert replace(FITTED, weight=50.0).weighed(0.99) < 0.998


def test_json_round_trip_and_what_is_none() -> None:
    row = FITTED.to_json()
    assert SpaceDoubt.from_json(row) == FITTED
    assert FITTED.fitted and not SpaceDoubt().fitted
    older = SpaceDoubt.from_json({key: value for key, value in row.items() if key not in ("measured", "offset_scale")})
    assert older == replace(FITTED, offset_scale=1.0, measured={})
    with pytest.raises(KeyError):
        SpaceDoubt.from_json({key: value for key, value in row.items() if key != "gap"})
    with pytest.raises(TypeError):
        SpaceDoubt.from_json({**row, "gap": {"of_width": 1.0}})
    with pytest.raises(ValueError, match="half-width"):
        SpaceDoubt.from_json({**row, "gap": {"floor_m": math.nan}})


def test_only_what_was_held_against_truth_is_known() -> None:
    assert FITTED.knows("distance") and not FITTED.knows("aligned")
    assert not replace(FITTED, made={}).knows("distance")


def test_variants_lie_within_the_doubt_nine_times_in_ten() -> None:
    moved = [these.boxes["cup"] for these in variants(Things({"cup": CUP}, [("pen", CUP)], doubt=FITTED))]
    errors = np.array([np.subtract(box.center_m, CUP.center_m) for box in moved])
    ray = np.array(CUP.center_m) / np.linalg.norm(CUP.center_m)
    half = FITTED.ray.at(0.0, 1.2)
    # Across its ray a box moves by so little that along it the two can hardly be told apart.
    assert np.mean(np.abs(errors @ ray) <= 1.1 * half) == pytest.approx(0.9, abs=0.06)
    assert all(box.size_m == CUP.size_m and box.rotation == CUP.rotation for box in moved)
    again = [these.boxes["cup"] for these in variants(Things({"cup": CUP}, [("pen", CUP)], doubt=FITTED))]
    assert moved == again


def test_a_variant_that_cannot_tell_agrees_with_nothing() -> None:
    def lost(_: Things) -> bool:
        raise Unsure("no direction")

    assert agreement(lost, Things({"cup": CUP})) < 0.02
    assert agreement(lambda _: True, Things({"cup": CUP})) > 0.98
    interval = spread(1.0, np.linspace(1.1, 2.1, 101))
    assert (interval.low, interval.high) == pytest.approx((1.0, 2.05))
    wider = spread(1.0, np.linspace(0.5, 2.0, 101), 1.5)
    assert (wider.low, wider.high) == pytest.approx((1 - 1.5 * 0.425, 1 + 1.5 * 0.925))


def test_a_moved_box_is_the_same_elsewhere() -> None:
    assert CUP.moved((1.0, 2.0, 3.0)) == replace(CUP, center_m=(1.0, 2.0, 3.0))
    assert hash(CUP.moved(CUP.center_m)) == hash(CUP)
    with pytest.raises(GeometryError, match="finite"):
        CUP.moved((0.0, math.nan, 1.0))
