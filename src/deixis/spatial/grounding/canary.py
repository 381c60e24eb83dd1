"""A model's grounding, found out by asking where things are in four pictures of which the truth is known.

Models say coordinates in 0–1000 of each side, in 0–999, in pixels of the picture, or in pixels of the size at which they read it;
none says in which. Knows the pictures (rendered, 1:1, 16:9, 3.3:1 and 1:2; `assets/canary/truth.json` tells how they were made),
the scales, and where outcomes are kept. Does not know questions, and does not correct anything itself.

An outcome is kept by the model's identity, beside the checkpoint (`grounding.json`) or in the user's cache.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from deixis.backends import Backend, Conversation
from deixis.errors import BackendError
from deixis.geometry import BoxPx, iou_px
from deixis.media import Picture, load_picture
from deixis.spatial.grounding.parse import parse_objects
from deixis.spatial.grounding.shown import Shown, shown_whole
from deixis.spatial.language import prompts

Scale = Literal["0-1000", "0-999", "pixels", "resized to 32", "resized to 28"]

BESIDE = "grounding.json"
EVERYTHING = "all objects"
REPLY_TOKENS = 1_024
LEAST_IOU = 0.3  # mean, of the best scale: below, the boxes are not where things are
CLEARLY = 0.02  # by which another scale must be better than 0-1000
TOLD_APART = 3e-4  # the doubt in a fitted scale that tells 999 from 1000


@dataclass(frozen=True)
class Grounding:
    """In which scale a model says coordinates; None: in none that is known, and its boxes are not to be used.

    `iou` is the mean, over the things in the pictures, of the overlap with the nearest box; `tried` has it for every scale.
    Without pictures the scale is taken for granted.
    """

    scale: Scale | None
    iou: float = 0.0
    pictures: int = 0
    tried: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The outcome in a few words."""
        if not self.pictures:
            return "not checked"
        return f"{self.scale or 'none'}, IoU {self.iou:.2f} on {self.pictures} pictures"

    def to_json(self) -> dict[str, Any]:
        """For `deixis models --json`, and for keeping."""
        return {"scale": self.scale, "iou": round(self.iou, 4), "pictures": self.pictures, "tried": dict(self.tried)}


TAKEN_FOR_GRANTED = Grounding("0-1000")
_MEASURED: dict[str, Grounding] = {}  # by this process, for where nothing can be written


@dataclass(frozen=True, eq=False)
class Canary:
    """A picture and the visible boxes of the things in it."""

    picture: Picture
    boxes_px: tuple[BoxPx, ...]


@lru_cache(maxsize=1)
def canaries() -> tuple[Canary, ...]:
    """The pictures that come with Deixis."""
    folder = Path(str(files("deixis.spatial.grounding"))) / "assets" / "canary"
    rows = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["pictures"]
    return tuple(
        Canary(load_picture(folder / row["image"]), tuple(tuple(thing["box_px"]) for thing in row["objects"])) for row in rows
    )


def usable_grounding(backend: Backend) -> Grounding:
    """The model's grounding, measured if it is not known yet. Raises BackendError for a model whose boxes cannot be used.

    A model without an identity (a test's, one that is still in training) is not measured.
    """
    card = backend.card
    if not card.identity:
        return TAKEN_FOR_GRANTED
    found = known_grounding(card.identity, card.directory) or measured_and_kept(backend)
    if found.scale is None:
        raise BackendError(
            f"{card.name} does not point at things: on {found.pictures} test pictures its boxes overlap the things with a mean "
            f"IoU of {found.iou:.2f} at best ({_figures(found)}), expected {LEAST_IOU} or more; use another model, or measure "
            f"again with `deixis models check`"
        )
    return found


def known_grounding(identity: str, directory: Path | None) -> Grounding | None:
    """What was measured of a model before: by this process, beside the checkpoint, or in the user's cache."""
    if identity in _MEASURED:
        return _MEASURED[identity]
    places = [_cached_at(identity)] if directory is None else [directory / BESIDE, _cached_at(identity)]
    return next((found for path in places if (found := _read(path, identity)) is not None), None)


def measured_and_kept(backend: Backend, beside: bool = False) -> Grounding:
    """Measure a model, and keep the outcome in the user's cache, or beside its checkpoint so that it travels along."""
    found = measure_grounding(backend)
    card = backend.card
    _MEASURED[card.identity] = found
    path = card.directory / BESIDE if beside and card.directory is not None else _cached_at(card.identity)
    row = {"model": card.name, "identity": card.identity, "canaries": _canaries_digest(), **found.to_json()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError:
        if beside:
            raise
        # A cache that cannot be written costs the next process a few seconds, and this one nothing.
    return found


def measure_grounding(backend: Backend) -> Grounding:
    """Ask for everything in each picture, and read the replies in every scale. Raises what the backend raises."""
    replies = [(canary, shown, _asked(backend, shown)) for canary in canaries() for shown in (shown_whole(canary.picture),)]
    tried: dict[Scale, float] = {}
    for scale in get_args(Scale):
        overlaps = [
            max((iou_px(box, truth) for box in _boxes(text, shown, canary.picture, scale)), default=0.0)
            for canary, shown, text in replies
            for truth in canary.boxes_px
        ]
        tried[scale] = sum(overlaps) / len(overlaps)
    figures: dict[str, float] = {scale: round(iou, 4) for scale, iou in tried.items()}
    best = max(tried, key=lambda scale: tried[scale] + (CLEARLY if scale == "0-1000" else 0.0))
    if best in ("0-1000", "0-999"):
        best = _thousand_or_less(replies)
    return Grounding(best if tried[best] >= LEAST_IOU else None, tried[best], len(replies), figures)


def full_of(scale: Scale, width: int, height: int) -> tuple[float, float]:
    """The coordinates of the lower right corner of a picture of width × height px, as a model of that scale says them."""
    match scale:
        case "0-1000":
            return 1000.0, 1000.0
        case "0-999":
            return 999.0, 999.0
        case "pixels":
            return float(width), float(height)
        case "resized to 32" | "resized to 28":
            from deixis.model import smart_resize  # which loads torch, and hardly any model needs it

            if scale == "resized to 32":
                h, w = smart_resize(height, width)
            else:  # Qwen2.5-VL: patches of 14, and its own limits
                h, w = smart_resize(height, width, 28, 56 * 56, 28 * 28 * 16_384)
            return float(w), float(h)


def _asked(backend: Backend, shown: Shown) -> str:
    conversation = Conversation.about(shown.pixels, prompts.locate(EVERYTHING, "en"))
    return backend.complete(conversation, max_new_tokens=backend.card.room_for(REPLY_TOKENS)).text


def _boxes(text: str, shown: Shown, picture: Picture, scale: Scale) -> list[BoxPx]:
    full = full_of(scale, shown.view.width, shown.view.height)
    parsed = parse_objects(text, shown.view.width, shown.view.height, expect="box_2d", full=full)
    found = (shown.box_in_picture(item.box_px, picture) for item in parsed.objects if item.box_px is not None)
    return [box for box in found if box is not None]


def _thousand_or_less(replies: Sequence[tuple[Canary, Shown, str]]) -> Scale:
    """0-999 where the boxes are exact enough to tell it from 0-1000 (a thousandth), and say so; else 0-1000.

    Least squares of true = factor · said over all edges; the factor's standard error is what can be told.
    """
    said_true: list[tuple[float, float]] = []
    for canary, shown, text in replies:
        sides = (shown.view.width, shown.view.height) * 2
        boxes = _boxes(text, shown, canary.picture, "0-1000")
        for truth in canary.boxes_px:
            near = max(boxes, key=lambda box: iou_px(box, truth), default=None)
            if near is not None and iou_px(near, truth) > 0.5:
                pairs = zip(shown.view.box_to_view(near), shown.view.box_to_view(truth), sides, strict=True)
                said_true += [(said / side, true / side) for said, true, side in pairs]
    weight = sum(said * said for said, _ in said_true)
    if weight == 0:
        return "0-1000"
    factor = sum(said * true for said, true in said_true) / weight
    rest = sum((true - factor * said) ** 2 for said, true in said_true)
    doubt = math.sqrt(rest / max(1, len(said_true) - 1) / weight)
    return "0-999" if doubt < TOLD_APART and abs(factor - 1000 / 999) < abs(factor - 1) else "0-1000"


def _figures(found: Grounding) -> str:
    return ", ".join(f"as {scale} {iou:.2f}" for scale, iou in found.tried.items())


def _cached_at(identity: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "deixis" / "grounding" / f"{sha256(identity.encode()).hexdigest()[:32]}.json"


@lru_cache(maxsize=1)
def _canaries_digest() -> str:
    """Of the truth: an outcome on other pictures is measured again."""
    truth = Path(str(files("deixis.spatial.grounding"))) / "assets" / "canary" / "truth.json"
    return sha256(truth.read_bytes()).hexdigest()[:16]


def _read(path: Path, identity: str) -> Grounding | None:
    """None for what is not there, is about other weights or other pictures, or cannot be read: it is then measured again."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if (row["identity"], row["canaries"]) != (identity, _canaries_digest()):
            return None
        if row["scale"] not in (None, *get_args(Scale)):
            return None
        tried = {str(scale): float(iou) for scale, iou in row["tried"].items()}
        return Grounding(row["scale"], float(row["iou"]), int(row["pictures"]), tried)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
