"""How far a model's 3D boxes may be off: fitted on worlds with exact truth, kept in `calibration.json`.

Knows error models. Does not know things by name, nor how the models are fitted (`deixis lab calibrate`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NINETY = 1.645  # standard deviations on either side that hold 90%
_MOST_LOG_ODDS = 6.0  # 99.75%: nothing is surer than that


@dataclass(frozen=True)
class HalfWidth:
    """Within how many metres 90% of errors lie: a share of the length that is measured, one of its depth, and a floor.

    The floor is what remains of errors however near things are: boxes are written to the centimetre.
    """

    of_length: float = 0.0
    of_depth: float = 0.0
    floor_m: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(part) and part >= 0 for part in asdict(self).values()):
            raise ValueError(f"half-width is {asdict(self)}; expected finite numbers, 0 or more")

    def at(self, length_m: float, depth_m: float) -> float:
        """Metres; never quite 0."""
        return max(self.of_length * length_m + self.of_depth * depth_m + self.floor_m, 1e-6)


@dataclass(frozen=True)
class SpaceDoubt:
    """The errors of 3D boxes against one another; what all are off by together moves none against the others.

    `ray` and `side`: of a centre, along its ray and across it. `gap`: of the distance between two surfaces, which sizes and turns
    change as well; its errors e have P(|e| ≤ u · half-width) = 1 − 0.1^(u^tail). `weight`: what the log-odds of a share of
    variants are worth. `offset_scale`: how many times as far as variants an interval along a direction must reach, since turns
    tilt the direction. `made` records what all that was fitted on, and `measured` how many answers of each family of questions
    (`SpaceQuestion.family`) were held against truth.

    The defaults hold for models that nobody calibrated; they were once measured on a far weaker checkpoint than nano is now, and
    answers that rest on them say so.
    """

    ray: HalfWidth = HalfWidth(of_depth=0.12)
    side: HalfWidth = HalfWidth(of_depth=0.06)
    gap: HalfWidth = HalfWidth(of_depth=0.08)
    tail: float = 1.4  # nearly the normal distribution
    weight: float = 1.0
    offset_scale: float = 1.0
    measured: Mapping[str, int] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(0 < number < math.inf for number in (self.tail, self.weight, self.offset_scale)):
            numbers = f"tail is {self.tail}, weight {self.weight} and offset_scale {self.offset_scale}"
            raise ValueError(f"{numbers}; expected positive finite numbers")

    @property
    def fitted(self) -> bool:
        return bool(self.made)

    def knows(self, family: str) -> bool:
        """Whether confidence in answers of that family was held against truth."""
        return self.fitted and family in self.measured

    def within(self, error_m: float, half_width_m: float) -> float:
        """The probability that a distance is off by no more than that."""
        return float(1 - 0.1 ** ((error_m / half_width_m) ** self.tail))

    def weighed(self, share: float) -> float:
        """The probability that is behind a share of variants (neither 0 nor 1)."""
        log_odds = self.weight * math.log(share / (1 - share))
        return 1 / (1 + math.exp(-min(max(log_odds, -_MOST_LOG_ODDS), _MOST_LOG_ODDS)))

    def to_json(self) -> dict[str, Any]:
        widths = {
            name: {part: round(value, 5) for part, value in asdict(width).items()}
            for name, width in (("ray", self.ray), ("side", self.side), ("gap", self.gap))
        }
        numbers = {name: round(getattr(self, name), 4) for name in ("tail", "weight", "offset_scale")}
        return {"made": dict(self.made), "measured": dict(self.measured), **widths, **numbers}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SpaceDoubt:
        """Raises ValueError, KeyError or TypeError for what is none."""
        ray, side, gap = (HalfWidth(**{str(k): float(v) for k, v in row[name].items()}) for name in ("ray", "side", "gap"))
        # An older file vouches for nothing.
        measured = {str(family): int(count) for family, count in row.get("measured", {}).items()}
        scale = float(row.get("offset_scale", cls.offset_scale))
        return cls(ray, side, gap, float(row["tail"]), float(row["weight"]), scale, measured, dict(row["made"]))


GUESSED = SpaceDoubt()  # of models that nobody calibrated
