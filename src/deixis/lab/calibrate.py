"""Fits `calibration.json` to one model: how much each reading of a claim is worth, and how wide an interval must be.

Two steps: `collected` asks about pictures with known truth and keeps what was read as JSON lines; `fitted` needs only those.
Knows truths and readings. Does not know how readings come about (`spatial.verify`).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from deixis.backends import ModelCard
from deixis.backends.catalog import weights_identity
from deixis.errors import OptionError
from deixis.lab import words
from deixis.lab.bench import asked
from deixis.lab.make import Example, example
from deixis.lab.questions import Question
from deixis.lab.scoring import DEPTH_SHARE, score
from deixis.spatial import Deixis
from deixis.spatial.answer import FoundObject
from deixis.spatial.checking.calibration import Calibration, Fusion, features, kinds_of, probability_of
from deixis.spatial.checking.missing import weights_of
from deixis.spatial.checking.verify import Weighed
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.values import parse_value

Row = dict[str, Any]
RIDGE = 3.0  # pull of every weight towards that of the more general kind
FEWEST = 25  # answers, or boxes, from which anything is learned
FEWEST_OF_KIND = 5  # answers of a kind for weights of its own, which the ridge keeps near those of the more general kind
# For intervals that hold 90%: what is fitted covers less of other pictures than of its own (on nano 0.882 where 0.9 was fitted).
FITTED = 0.91
EXTRAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # thousandths of a side
ABSENT_ABOVE = (0.25, 0.75)
UNSURE_BELOW = 0.9  # as intervals hold nine times in ten, so do answers: what is less likely is better called unsure


def collected(session: Deixis, world: str, seed: int, count: int, size: tuple[int, int], first: int = 0) -> Iterator[list[Row]]:
    """A picture's rows, one a question: what was weighed and what is true; where boxes were and should have been."""
    session.calibration = Calibration()  # raw
    for index in range(first, first + count):
        made = example(world, seed, index, size)
        yield [
            {"world": world, "seed": seed, "index": index, **_row(question, _weighed(session, made, question), made)}
            for question in asked(made.questions, index)
            if question.prompt_kind == "ask"
        ]


def provenance(card: ModelCard, worlds: list[str], count: int, seed: int, size: str) -> dict[str, Any]:
    """What a calibration says of itself. Raises OptionError for a model whose weights are not here."""
    if card.directory is None:
        raise OptionError(f"{card.name} has no checkpoint directory: only local models can be calibrated")
    told = " ".join(f"--world {world}" for world in worlds)
    return {
        "model": card.name,
        "weights": weights_identity(card.directory),
        "worlds": worlds,
        "seed": seed,
        "pictures_each": count,
        "command": f"deixis lab calibrate {told} --count {count} --seed {seed} --size {size} --model {card.name}",
    }


def _weighed(session: Deixis, made: Example, question: Question) -> tuple[Weighed, ...]:
    return session.weighed(made.pixels, question.question, camera=camera_of(made))


def camera_of(made: Example) -> tuple[float, float, float, float]:
    """The picture's true camera, as `Deixis` takes it."""
    camera = made.truth["camera"]
    return camera["fx"], camera["fy"], camera["cx"], camera["cy"]


def right(question: Question, text: str, language: Language) -> bool:
    """Whether an answer in the picture's own camera is right."""
    if question.kind == "depth":
        said = parse_value(text, language, wants="number").number
        true = float(question.target["depth_m"])
        return said is not None and abs(said - true) <= DEPTH_SHARE * true
    return bool(score(question, text)["correct"])


def _row(question: Question, weighed: tuple[Weighed, ...], made: Example) -> Row:
    first = weighed[0]
    absent = question.kind == "absent"
    claims = [
        {
            "kind": one.weights,
            "features": {how: round(value, 3) for how, value in features(one.opinions).items()},
            "holds": right(question, one.yes, question.language),
        }
        for one in weighed
        if not absent
    ]
    row: Row = {"question": question.kind, "language": question.language, "claims": claims}
    if first.missing:
        row["absent"] = {"features": {how: round(value, 3) for how, value in features(first.missing).items()}, "holds": absent}
    row["edges"] = edges(first.objects, made, question.language)
    return row


def edges(objects: Iterable[FoundObject], made: Example, language: Language) -> list[list[float]]:
    """[low, said, high, true] of every coordinate in thousandths of its side, for boxes whose label one true thing has."""
    things: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for thing in made.truth["objects"]:
        if thing["visible_px"] > 0:
            things[words.label(thing["color"], thing["category"], language)].append(thing)
    sides = (made.truth["camera"]["width"], made.truth["camera"]["height"]) * 2
    rows = []
    for item in objects:
        if item.interval_px is None or len(things[item.label]) != 1:
            continue
        true = things[item.label][0]["box_px"]
        for (low, high), said, at, side in zip(item.interval_px, item.box_px, true, sides, strict=True):
            rows.append([round(1000 * value / side, 2) for value in (low, said, high, at)])
    return rows


def fitted(rows: Iterable[Row], made: Mapping[str, Any]) -> Calibration:
    """The calibration that these rows bear out. Raises OptionError for rows too few to say anything."""
    by_kind: dict[str, list[Row]] = defaultdict(list)
    absences: list[Row] = []
    boxes: dict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    for row in rows:
        for claim in row["claims"]:
            for kind in kinds_of(claim["kind"]):
                by_kind[kind].append(claim)
        if "absent" in row:
            absences.append(row["absent"])
            for kind in kinds_of(weights_of(row["absent"]["features"])):
                by_kind[kind].append(row["absent"] | {"features": _known_to(kind, row["absent"]["features"])})
        # Things that are named one by one are hidden more often than those in lists.
        boxes[row["world"], "absent" in row].extend(row["edges"])
    found = Calibration()
    # From the general to the particular ("side" before "side, which"), each drawn to what it is a case of.
    for kind in sorted(by_kind, key=lambda kind: (kind.count(","), kind)):
        if len(by_kind[kind]) >= (FEWEST_OF_KIND if "," in kind else FEWEST):
            prior = found.fusion(kind)
            found = replace(found, claims={**found.claims, kind: fit_fusion(by_kind[kind], prior)})
    if not found.claims:
        raise OptionError(f"no kind of question was asked {FEWEST} times: collect more pictures")
    scale, extra = fit_intervals(np.array(found_there).reshape(-1, 4) for found_there in boxes.values())
    above = fit_absent(found, absences)
    return replace(found, unsure_below=UNSURE_BELOW, absent_above=above, interval_scale=scale, interval_extra=extra, made=made)


def fit_fusion(found: list[Row], prior: Fusion) -> Fusion:
    """Logistic regression, drawn to a prior by a ridge; no reading may count against what it says."""
    drawn = prior.weights or {}
    names = sorted({how for one in found for how in one["features"]} | set(drawn))
    x = np.array([[one["features"].get(how, 0.0) for how in names] for one in found])  # (n, kinds)
    y = np.array([one["holds"] for one in found], dtype=np.float64)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = x @ w[1:] + w[0]
        p = 1 / (1 + np.exp(-odds))
        off = w - center
        value = float(np.sum(np.logaddexp(0, odds) - y * odds) + RIDGE * (off @ off) / 2)
        return value, np.concatenate([[np.sum(p - y)], x.T @ (p - y)]) + RIDGE * off

    center = np.array([prior.bias, *(drawn.get(how, 0.0) for how in names)])
    limits = [(None, None), *[(0.0, None)] * len(names)]
    best = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=limits).x
    return Fusion({how: float(w) for how, w in zip(names, best[1:], strict=True)}, float(best[0]))


def _known_to(kind: str, features_: Mapping[str, float]) -> dict[str, float]:
    """What was read before anything was looked at again, for the weights that stand before that."""
    return {how: value for how, value in features_.items() if weights_of([how]) in (kind, "absent")}


def fit_absent(calibration: Calibration, found: list[Row]) -> float:
    """How likely "something is missing" must be to be said, for it to be said as often as it is true.

    Then as many of those answers are wrong as are left out: precision and recall are the same. Within bounds, since where nothing
    is wrong on either side any place between them would do.
    """
    held = sum(bool(one["holds"]) for one in found)
    if not 0 < held < len(found):
        return 0.5
    odds = sorted((_odds(calibration.fusion(weights_of(one["features"])), one["features"]) for one in found), reverse=True)
    return min(max(probability_of((odds[held - 1] + odds[held]) / 2), ABSENT_ABOVE[0]), ABSENT_ABOVE[1])


def _odds(fusion: Fusion, features_: Mapping[str, float]) -> float:
    return fusion.bias + sum((fusion.weights or {}).get(how, 0.0) * value for how, value in features_.items())


def fit_intervals(groups: Iterable[NDArray[np.float64]]) -> tuple[float, float]:
    """(scale, extra) of the narrowest intervals that hold FITTED of the true coordinates in every group.

    Rows are low, said, high, true. An easy world must not make up for a hard one.
    """
    known = [edges_ for edges_ in groups if len(edges_) >= FEWEST]
    if not known:
        return 1.0, 0.0
    options = []
    for extra in EXTRAS:
        scale = max(_scale(edges_, extra) for edges_ in known)
        width = float(np.mean([scale * (edges_[:, 2] - edges_[:, 0]).mean() + 2 * extra for edges_ in known]))
        options.append((width, scale, extra))
    _, scale, extra = min(options)
    return scale, extra


def _scale(edges_: NDArray[np.float64], extra: float) -> float:
    low, said, high, true = edges_.T
    reach = np.where(true > said, high - said, said - low) + 1e-6
    beyond = np.maximum(np.abs(true - said) - extra, 0)
    return float(np.quantile(beyond / reach, FITTED, method="higher"))


def read_rows(path: Path, weights: str) -> list[Row]:
    """Rows that were collected before. Raises OptionError for a file that is none, or of other weights."""
    try:
        rows: list[Row] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        strange = any(row["weights"] != weights for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{path} holds no readings ({error!r}); choose another file or remove it") from error
    if strange:
        raise OptionError(f"{path} holds readings of other weights; choose another file or remove it")
    return rows
