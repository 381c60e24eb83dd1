"""What a model's own probabilities are worth: fitted on worlds with exact truth, and kept beside the checkpoint.

Knows `calibration.json`: for each kind of question the weights of readings, and how far intervals must be widened. A file that
was made for other weights is not used. Does not know how readings come about, nor how it is fitted (`deixis lab calibrate`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deixis.backends import ModelCard
from deixis.backends.catalog import weights_identity
from deixis.errors import CheckpointError
from deixis.spatial.places.doubts import GUESSED, SpaceDoubt

FILE = "calibration.json"
VERSION = 1
MOST_LOG_ODDS = 6.0  # 99.75%: no single reading is surer than that


@dataclass(frozen=True)
class Opinion:
    """One reading of a claim: how it came about, what was asked ("" for geometry) and said, the log-odds that the claim holds."""

    how: str
    asked: str
    said: str
    log_odds: float

    def to_json(self) -> dict[str, Any]:
        row = {"how": self.how, "said": self.said, "probability": round(probability_of(self.log_odds), 4)}
        return {**row, "asked": self.asked} if self.asked else row


@dataclass(frozen=True)
class Fusion:
    """The log-odds of a claim from its readings: bias + Σ weight × mean log-odds of the readings of that kind.

    The default is for models that nobody calibrated: every kind of reading counts alike.
    """

    weights: Mapping[str, float] | None = None
    bias: float = 0.0

    def log_odds(self, opinions: Sequence[Opinion]) -> float:
        found = features(opinions)
        if self.weights is None:
            return sum(found.values()) / max(len(found), 1)
        return self.bias + sum(self.weights.get(how, 0.0) * value for how, value in found.items())


@dataclass(frozen=True)
class Calibration:
    """`claims` by kind of question (see `Weighed.weights`). `unsure_below`: the least confidence that is still an answer.
    `absent_above`: how likely it must be that something is missing to say so.

    A coordinate's interval reaches `interval_scale` times as far from the written number as its digits alone say, and
    `interval_extra` thousandths of the picture's side further. `made` records what it was fitted on. `space`: how far 3D boxes
    may be off against one another, fitted by itself.
    """

    claims: Mapping[str, Fusion] = field(default_factory=dict)
    unsure_below: float = 0.55
    absent_above: float = 0.5
    interval_scale: float = 1.0
    interval_extra: float = 0.0
    made: Mapping[str, Any] = field(default_factory=dict)
    space: SpaceDoubt = GUESSED

    @property
    def fitted(self) -> bool:
        return bool(self.made)

    def fusion(self, kind: str) -> Fusion:
        """The weights of a kind of question, else of what it is a case of: "claim, side, which", "claim, side", "claim"."""
        return next((self.claims[name] for name in reversed(kinds_of(kind)) if name in self.claims), Fusion())

    def knows(self, kind: str) -> bool:
        """Whether weights were fitted to this kind of question, and not only to questions at large."""
        return any(name in self.claims for name in kinds_of(kind) if "," in name or name == "absent")

    def interval(self, low: float, at: float, high: float, side_px: float) -> tuple[float, float]:
        """A coordinate's interval in pixels, widened, and cut at the picture's edge."""
        extra = self.interval_extra * side_px / 1000
        wide = at - self.interval_scale * (at - low) - extra, at + self.interval_scale * (high - at) + extra
        return max(wide[0], 0.0), min(wide[1], side_px)

    def to_json(self) -> dict[str, Any]:
        space = {"space": self.space.to_json()} if self.space.fitted else {}
        return {
            "version": VERSION,
            "made": dict(self.made),
            "unsure_below": self.unsure_below,
            "absent_above": round(self.absent_above, 4),
            "interval_scale": round(self.interval_scale, 4),
            "interval_extra": round(self.interval_extra, 4),
            "claims": {
                kind: {"bias": round(fusion.bias, 4), "weights": {how: round(w, 4) for how, w in (fusion.weights or {}).items()}}
                for kind, fusion in sorted(self.claims.items())
            },
            **space,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Calibration:
        """Raises ValueError, KeyError or TypeError for what is none."""
        if row["version"] != VERSION:
            raise ValueError(f"version is {row['version']!r}, expected {VERSION}")
        claims = {
            str(kind): Fusion({str(how): _finite(w) for how, w in one["weights"].items()}, _finite(one["bias"]))
            for kind, one in row["claims"].items()
        }
        return cls(
            claims,
            _finite(row["unsure_below"]),
            _finite(row.get("absent_above", cls.absent_above)),
            _finite(row["interval_scale"]),
            _finite(row["interval_extra"]),
            dict(row["made"]),
            SpaceDoubt.from_json(row["space"]) if "space" in row else GUESSED,
        )


def calibration_of(card: ModelCard) -> Calibration:
    """The calibration beside a model's checkpoint; an unfitted one where there is none, or one for other weights.

    Raises CheckpointError for a file that cannot be read.
    """
    if card.directory is None or not (card.directory / FILE).is_file():
        return Calibration()
    return calibration_in(card.directory, weights_identity(card.directory))


def calibration_in(directory: Path, weights: str) -> Calibration:
    """The same from a folder, for weights of that identity."""
    path = directory / FILE
    if not path.is_file():
        return Calibration()
    try:
        found = Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); make it again with `deixis lab calibrate`, or remove it"
        ) from error
    return found if found.made.get("weights") == weights else Calibration()


def kinds_of(kind: str) -> list[str]:
    """What a kind is a case of, from the general on, and itself: "claim", "claim, side", "claim, side, which"."""
    parts = kind.split(", ")
    return [", ".join(parts[: i + 1]) for i in range(len(parts))]


def features(opinions: Sequence[Opinion]) -> dict[str, float]:
    """The mean log-odds of each kind of reading, no single one surer than 99.75%."""
    kinds: dict[str, list[float]] = {}
    for opinion in opinions:
        kinds.setdefault(opinion.how, []).append(min(max(opinion.log_odds, -MOST_LOG_ODDS), MOST_LOG_ODDS))
    return {how: sum(values) / len(values) for how, values in kinds.items()}


def probability_of(log_odds: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def log_odds_of(probability: float) -> float:
    """Its inverse, within what a reading may say."""
    least = 1 / (1 + math.exp(MOST_LOG_ODDS))
    clipped = min(max(probability, least), 1 - least)
    return math.log(clipped / (1 - clipped))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number
