"""Fits how far a model's 3D boxes are off against one another: the part `space` of `calibration.json`.

Two steps, as in calibrate.py: `located` asks where things are, as questions in space do, and keeps it beside the truth as JSON
lines; `fitted_doubt` needs only those. Knows truths and boxes. Does not know what the figures are used for (`spatial.places`).

How wide is judged on pictures that the shape was not fitted on, a fold of them at a time: errors of one picture are of a kind.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize_scalar
from scipy.sparse import csr_array, eye_array, hstack

from deixis.geometry import Box3D, distance_m
from deixis.lab import words
from deixis.lab.calibrate import camera_of
from deixis.lab.make import Example, example
from deixis.lab.questions.picture import CLEAR_FRACTION, CLEAR_PX
from deixis.spatial import Deixis
from deixis.spatial.answer import FoundObject
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import AnyRelation
from deixis.spatial.language.space_reading import FrameWords, SpaceQuestion
from deixis.spatial.places.doubts import GUESSED, HalfWidth, SpaceDoubt
from deixis.spatial.places.frames import Outcome, decide, held, measured_in
from deixis.spatial.places.in_space import named_thing
from deixis.spatial.places.variants import Things, Unsure
from deixis.spatial.run import Run, load_picture_of

Row = dict[str, Any]
Array = NDArray[np.float64]
THINGS = 4  # asked for in a picture: six pairs
QUESTIONS = 6  # about relations of a picture's things
FEWEST = 100  # pairs to fit anything
FEWEST_OF_FAMILY = 25  # answers of a family of questions for its confidence to count as measured
FOLDS = 5
FITTED = 0.91  # share of errors that an interval holds: on pictures of other seeds it holds a little less
_SIDES: tuple[AnyRelation, ...] = ("left_of", "in_front_of", "above")
_LIMITS = (0.6, 0.85, 1.2, 1.6)  # "within": as shares of the true distance
_VIEWED: tuple[AnyRelation, ...] = ("left_of", "right_of", "in_front_of", "behind")
_FRAMES: tuple[Literal["viewer", "object"], ...] = ("viewer", "object")
_BETWEEN_TWO: tuple[AnyRelation, ...] = ("near", "far", "touching")
NO_DOUBT = SpaceDoubt(HalfWidth(), HalfWidth(), HalfWidth())


@dataclass(frozen=True)
class Pair:
    """Two things as found (0) and as they are (1): gaps between surfaces (2,), the farther depth, errors of their centres' offset
    along the ray to them and twice across it, and what those grow with."""

    gaps_m: tuple[float, float]
    depth_m: float
    along_m: float
    across_m: tuple[float, float]
    depths_m: float  # root of the sum of squares: errors of two things are independent


def located(session: Deixis, world: str, seed: int, count: int, size: tuple[int, int], first: int = 0) -> Iterator[list[Row]]:
    """A picture's one row: things that a name fits alone, each with its true 3D box and the one found, if any."""
    for index in range(first, first + count):
        made = example(world, seed, index, size)
        language: Language = ("en", "zh")[index % 2]
        run = Run(session.backend, load_picture_of(made.pixels), camera_of(made), language)
        things = []
        for name, true in named_things(made, language):
            found = named_thing(run, name, language)
            box = found.box_3d if isinstance(found, FoundObject) else None
            things.append({"name": name, "true": true, "found": None if box is None else [round(v, 5) for v in box.to_qwen()]})
        yield [{"world": world, "seed": seed, "index": index, "language": language, "things": things}]


def named_things(made: Example, language: Language) -> list[tuple[str, list[float]]]:
    """Names and 3D boxes of things that are plainly seen, and alone of their name."""
    clear = [
        (words.label(thing["color"], thing["category"], language), thing["box_3d"])
        for thing in made.truth["objects"]
        if thing["visible_px"] >= CLEAR_PX and thing["visible_fraction"] >= CLEAR_FRACTION
    ]
    names = [name for name, _ in clear]
    alone = [thing for thing in clear if names.count(thing[0]) == 1]
    rng = np.random.default_rng([made.truth["seed"], made.truth["index"], 2])
    return [alone[i] for i in sorted(rng.permutation(len(alone))[:THINGS])]


def fitted_doubt(rows: Iterable[Row], made: Mapping[str, Any]) -> SpaceDoubt:
    """What these rows bear out; a doubt that is not fitted where they hold too few pairs."""
    rows = list(rows)
    found = [(row["world"], i % FOLDS, pair) for i, row in enumerate(rows) for pair in pairs_of(row)]
    if len(found) < FEWEST:
        return GUESSED
    worlds, folds, pairs = np.array([row[0] for row in found]), np.array([row[1] for row in found]), [row[2] for row in found]
    grows = np.array([[pair.depths_m, 2**0.5] for pair in pairs])
    ray = half_widths(np.abs([pair.along_m for pair in pairs]), grows, worlds, folds)
    across = np.abs([pair.across_m for pair in pairs]).T.ravel()
    side = half_widths(across, np.tile(grows, (2, 1)), np.tile(worlds, 2), np.tile(folds, 2))
    gaps, true = np.array([pair.gaps_m for pair in pairs]).T
    columns = np.stack([gaps, [pair.depth_m for pair in pairs], np.ones(len(pairs))], axis=1)
    gap = half_widths(np.abs(gaps - true), columns, worlds, folds)
    tail = fit_tail(np.abs(gaps - true) / np.maximum(columns @ gap, 1e-6))
    made = {**made, "pictures": Counter(row["world"] for row in rows), "pairs": len(pairs)}
    doubt = SpaceDoubt(HalfWidth(0.0, *ray), HalfWidth(0.0, *side), HalfWidth(*gap), tail, made=made)
    offsets, reach = offset_errors(rows, doubt)
    scale = widest(reach, np.array([world for world, _ in offsets])) if offsets else 1.0
    relations = relations_held(rows, doubt)
    asked = Counter(
        [*(family for _, family in offsets), *(family for family, _, _ in relations), *["distance", "within"] * len(pairs)]
    )
    measured = {family: count for family, count in sorted(asked.items()) if count >= FEWEST_OF_FAMILY}
    return replace(doubt, weight=fit_weight(relations), offset_scale=scale, measured=measured)


def half_widths(errors: Array, grows_with: Array, worlds: NDArray[np.str_], folds: NDArray[np.int64]) -> list[float]:
    """Non-negative weights of columns (n, k) whose sums hold FITTED of the errors (n,) of every world."""
    shares = np.empty(len(errors))
    for fold in set(folds.tolist()):
        out = folds == fold
        shares[out] = errors[out] / np.maximum(grows_with[out] @ quantile_fit(errors[~out], grows_with[~out]), 1e-6)
    found: list[float] = (widest(shares, worlds) * np.array(quantile_fit(errors, grows_with))).tolist()
    return found


def widest(shares: Array, worlds: NDArray[np.str_]) -> float:
    """What holds FITTED of the shares (n,) of every world: an easy world must not make up for a hard one."""
    return max(float(np.quantile(shares[worlds == world], FITTED, method="higher")) for world in set(worlds.tolist()))


def pairs_of(row: Row) -> list[Pair]:
    """All pairs of a picture's things that were found."""
    return [_pair(a, b) for a, b in combinations([_boxes(thing) for thing in row["things"] if thing["found"]], 2)]


def quantile_fit(errors: Array, grows_with: Array, share: float = FITTED) -> list[float]:
    """The least half-widths, as non-negative combinations of columns (n, k), that hold a share of errors (n,) (Koenker, 1978)."""
    n, k = grows_with.shape
    cost = np.concatenate([np.zeros(k), np.full(n, share), np.full(n, 1 - share)])
    residuals = hstack([csr_array(grows_with), eye_array(n), -eye_array(n)])
    found: list[float] = linprog(cost, A_eq=residuals, b_eq=errors, method="highs").x[:k].tolist()
    return found


def fit_tail(shares: Array) -> float:
    """The exponent of P(error ≤ u · half-width) = 1 − 0.1^(u^tail) that makes these errors, in half-widths, likeliest."""
    u = np.maximum(shares, 1e-3)

    def unlikely(tail: float) -> float:
        return float(-np.sum(np.log(tail) + (tail - 1) * np.log(u) + np.log(0.1) * u**tail))

    return float(minimize_scalar(unlikely, bounds=(0.3, 3.0), method="bounded").x)


def offset_errors(rows: Iterable[Row], doubt: SpaceDoubt) -> tuple[list[tuple[str, str]], Array]:
    """(world, family) of every offset, and its error as a share of how far variants reach to that side (n,)."""
    found, shares = [], []
    for row in rows:
        for asked in questions_of(row):
            if asked.kind != "offset":
                continue
            things, true = things_of(row, asked, doubt)
            said, truth = (decide(asked, one, row["language"]) for one in (things, true))
            if said.interval_m is None or truth.interval_m is None:
                continue
            at, value = signed_m(truth, said), said.interval_m.value
            reach = said.interval_m.high - value if at > value else value - said.interval_m.low
            found.append((row["world"], asked.family))
            shares.append(abs(at - value) / max(reach, 1e-6))
    return found, np.array(shares)


def signed_m(truth: Outcome, said: Outcome) -> float:
    """The true offset, negative where the answer has it on the other side ("offset" says "no" for that)."""
    assert truth.interval_m is not None
    return truth.interval_m.value if (truth.verdict == "no") == (said.verdict == "no") else -truth.interval_m.value


def relations_held(rows: Iterable[Row], doubt: SpaceDoubt) -> list[tuple[str, float, bool]]:
    """Family, share of variants that agree, and whether it is true, of relations that are asked about and decided."""
    raw = replace(doubt, weight=1.0)
    found = []
    for row in rows:
        for asked in relations_of(row):
            things, true = things_of(row, asked, raw)
            try:
                margin, share = held(asked, things, row["language"])
                truth = measured_in(asked, true, row["language"])
            except Unsure:
                continue
            found.append((asked.family, share, (truth.value > 0) == margin.decided))
    return found


def fit_weight(relations: Iterable[tuple[str, float, bool]]) -> float:
    """What the log-odds of a share of variants are worth."""
    shares, holds = np.array([(share, right) for _, share, right in relations]).T
    odds, holds = np.log(shares / (1 - shares)), holds > 0

    def unlikely(weight: float) -> float:
        return float(np.sum(np.logaddexp(0, np.where(holds, -1, 1) * weight * odds)))

    return float(minimize_scalar(unlikely, bounds=(0.05, 5.0), method="bounded").x)


def things_of(row: Row, asked: SpaceQuestion, doubt: SpaceDoubt) -> tuple[Things, Things]:
    """The things that a question names, as found and as they are."""
    boxes = {thing["name"]: _boxes(thing) for thing in row["things"] if thing["name"] in asked.names}
    found, true = ({name: pair[i] for name, pair in boxes.items()} for i in (0, 1))
    return Things(found, doubt=doubt), Things(true, doubt=NO_DOUBT)


def questions_of(row: Row) -> list[SpaceQuestion]:
    """Every distance; distances within some limit; how far to a side; and relations."""
    rng = np.random.default_rng([row["seed"], row["index"], 4])
    asked = []
    for a, b in combinations([thing["name"] for thing in row["things"] if thing["found"]], 2):
        distance = SpaceQuestion("distance", a, b)
        asked.append(distance)
        gap = decide(distance, things_of(row, distance, NO_DOUBT)[1], row["language"]).interval_m
        limit = _LIMITS[rng.integers(len(_LIMITS))] * (0.0 if gap is None else gap.value)
        if limit > 0.01:
            asked.append(SpaceQuestion("within", a, b, limit_m=limit))
        if rng.random() < 0.4:
            asked.append(SpaceQuestion("offset", a, b, _SIDES[rng.integers(len(_SIDES))]))
    return asked + relations_of(row)


def relations_of(row: Row) -> list[SpaceQuestion]:
    """Some relations of the things that were found: near, touching, and what is where for who or what faces another."""
    rng = np.random.default_rng([row["seed"], row["index"], 3])
    names = [thing["name"] for thing in row["things"] if thing["found"]]
    asked = []
    for _ in range(QUESTIONS if len(names) > 1 else 0):
        a, b, *rest = (names[i] for i in rng.permutation(len(names)))
        if not rest or rng.random() < 0.3:
            asked.append(SpaceQuestion("relation", a, b, _BETWEEN_TWO[rng.integers(len(_BETWEEN_TWO))]))
        else:
            frame = FrameWords(_FRAMES[rng.integers(len(_FRAMES))], a, b)
            other = rest[1] if len(rest) > 1 and rng.random() < 0.5 else None  # else: to who stands there
            asked.append(SpaceQuestion("relation", rest[0], other, _VIEWED[rng.integers(len(_VIEWED))], frame))
    return list(dict.fromkeys(asked))


def _boxes(thing: Row) -> tuple[Box3D, Box3D]:
    """As found, as it is."""
    return Box3D.from_qwen(thing["found"]), Box3D.from_qwen(thing["true"])


def _pair(a: tuple[Box3D, Box3D], b: tuple[Box3D, Box3D]) -> Pair:
    (found, true), (other_found, other_true) = a, b
    error = np.subtract(found.center_m, other_found.center_m) - np.subtract(true.center_m, other_true.center_m)
    ray = np.add(found.center_m, other_found.center_m)
    ray = ray / np.linalg.norm(ray)
    right = np.cross(ray, [0.0, 1.0, 0.0])
    right = right / np.linalg.norm(right)
    depths = found.center_m[2], other_found.center_m[2]
    return Pair(
        (distance_m(found, other_found), distance_m(true, other_true)),
        max(depths),
        float(error @ ray),
        (float(error @ right), float(error @ np.cross(ray, right))),
        float(np.hypot(*depths)),
    )
