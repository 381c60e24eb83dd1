"""One picture's truth, tabulated once so that many questions can be made from it quickly.

Knows which things may be asked about, what they may be called and their boxes as answers write them. Does not know
wordings or relations. The truth's format is the one of truth.jsonl (see ``lab``'s worlds).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deixis.lab import words
from deixis.lab.worlds import WORLDS, load_world
from deixis.spatial.language.prompts import Language

# A thing must show this much of itself, and this many pixels, before it is asked about or counted as plainly there.
CLEAR_FRACTION = 0.25
CLEAR_PX = 60
# A box this close to the picture's edge (pixels) is taken as cut off by it: how much of it shows is then unclear.
EDGE_PX = 1.5
# The virtual camera: focal length over the longer side. Depths in answers hold for it (deixis.json of the checkpoint).
VIRTUAL_FOCAL_OVER_LONG_SIDE = 1.0
NO_BOX = (0.0, 0.0, 0.0, 0.0)  # of things with no visible pixel

T = TypeVar("T")

CATEGORY_ALONE = 0.5  # how often a thing alone of its category goes without its colour
SYNONYM = 0.08  # how often an everyday synonym stands for the category


class Name(NamedTuple):
    """How a question refers to a thing: "the red cup" / "红色杯子", and the verb that agrees with it."""

    text: str
    plural: bool


class Group(NamedTuple):
    """All things of a label, a category or a colour: their indices, left to right."""

    sort: str  # "label", "category" or "color"
    category: str | None
    color: str | None
    members: tuple[int, ...]


class Picture:
    """Tables over the objects of one truth line; index i is the position in ``truth["objects"]``."""

    def __init__(self, truth: Mapping[str, Any]) -> None:
        self.truth = truth
        self.objects: Sequence[Mapping[str, Any]] = truth["objects"]
        camera = truth["camera"]
        self.width = int(camera["width"])
        self.height = int(camera["height"])
        self.virtual_factor = VIRTUAL_FOCAL_OVER_LONG_SIDE * max(self.width, self.height) / float(camera["fx"])
        self.categories = [str(o["category"]) for o in self.objects]
        self.colors = [str(o["color"]) for o in self.objects]
        self.ids = [int(o["id"]) for o in self.objects]
        # 0 pixels count as not there; between "there" and "clear" lies the doubtful zone.
        self.there = [o["visible_px"] > 0 for o in self.objects]
        self.findable = [o["visible_px"] >= CLEAR_PX for o in self.objects]
        self.clear = [f and o["visible_fraction"] >= CLEAR_FRACTION for f, o in zip(self.findable, self.objects, strict=True)]
        there = [i for i, t in enumerate(self.there) if t]
        self.indices_there = tuple(there)
        self.all_clear = all(self.clear[i] for i in there)
        self.kinds = list(zip(self.colors, self.categories, strict=True))  # (colour, category) per object
        self.label_counts = Counter(self.kinds[i] for i in there)
        self.category_counts = Counter(self.categories[i] for i in there)
        self.color_counts = Counter(self.colors[i] for i in there)
        # One thing of that label: it can be named. Being seen well is a separate matter.
        self.unique = [t and self.label_counts[k] == 1 for t, k in zip(self.there, self.kinds, strict=True)]
        self.nameable = [u and c for u, c in zip(self.unique, self.clear, strict=True)]
        self.nameable_indices = tuple(i for i, m in enumerate(self.nameable) if m)
        self.index_of = {id_: i for i, id_ in enumerate(self.ids)}
        self.tables: dict[str, Any] = {}  # what a family of kinds derives once per picture
        # Absent things are named from what such a world could hold.
        self.vocabulary = _vocabulary(str(truth.get("world", "")))

    # --- names ---------------------------------------------------------------------------------------------------

    def label(self, index: int, language: Language) -> str:
        color, category = self.kinds[index]
        return words.label(color, category, language)

    def labels(self, indices: Sequence[int], language: Language) -> tuple[str, ...]:
        return tuple([words.label(*self.kinds[i], language) for i in indices])

    def name(self, index: int, language: Language, rng: Generator) -> Name:
        """A definite phrase for a thing whose label is unique."""
        color, category = self.kinds[index]
        alone = self.category_counts[category] == 1 and rng.random() < CATEGORY_ALONE
        return definite(None if alone else color, category, language, rng)

    # --- boxes and numbers as answers write them -------------------------------------------------------------------

    @cached_property
    def boxes_px(self) -> NDArray[np.float64]:
        """Visible boxes (n, 4): x1, y1, x2, y2 in pixels."""
        return np.array([o["box_px"] or NO_BOX for o in self.objects], dtype=np.float64).reshape(-1, 4)

    @cached_property
    def boxes_norm1000(self) -> list[list[int]]:
        w, h = self.width, self.height
        scaled = np.rint(self.boxes_px * 1000.0 / np.array([w, h, w, h]))
        boxes: list[list[int]] = np.clip(scaled, 0, 1000).astype(int).tolist()
        return boxes

    @cached_property
    def points_px(self) -> list[list[float]]:
        """A visible point on each thing; the box's centre where the truth names none."""
        centers = ((self.boxes_px[:, :2] + self.boxes_px[:, 2:]) / 2).tolist()
        given = [o.get("point_px") for o in self.objects]
        return [[float(p[0]), float(p[1])] if p else center for p, center in zip(given, centers, strict=True)]

    @cached_property
    def depths_m(self) -> list[float]:
        return [float(o["depth_m"]) if o["depth_m"] is not None else float("nan") for o in self.objects]

    def virtual_box_3d(self, index: int) -> list[float]:
        """Nine numbers in Qwen's order; the centre's z holds for the virtual camera, all else is unchanged."""
        box = [float(v) for v in self.objects[index]["box_3d"]]
        box[2] *= self.virtual_factor
        return box

    def left_to_right(self, indices: Sequence[int]) -> tuple[int, ...]:
        boxes = self.boxes_norm1000
        return tuple(sorted(indices, key=lambda i: boxes[i][:2]))

    def cut_off(self, index: int) -> bool:
        """The whole thing's box reaches the picture's edge."""
        x1, y1, x2, y2 = self.objects[index]["amodal_box_px"]
        return bool(x1 < EDGE_PX or y1 < EDGE_PX or x2 > self.width - EDGE_PX or y2 > self.height - EDGE_PX)

    # --- kinds of things -------------------------------------------------------------------------------------------

    @cached_property
    def groups(self) -> Mapping[str, tuple[Group, ...]]:
        """Per sort ("label", "category", "color") the groups whose members are all clear."""
        by_label = [self._group("label", category, color) for color, category in self.label_counts]
        by_category = [self._group("category", category, None) for category in self.category_counts]
        by_color = [self._group("color", None, color) for color in self.color_counts]
        return {
            "label": tuple(g for g in by_label if g is not None),
            "category": tuple(g for g in by_category if g is not None),
            "color": tuple(g for g in by_color if g is not None),
        }

    def _group(self, sort: str, category: str | None, color: str | None) -> Group | None:
        members = [
            i
            for i in self.indices_there
            if (category is None or self.categories[i] == category) and (color is None or self.colors[i] == color)
        ]
        if not all(self.clear[i] for i in members):
            return None
        return Group(sort, category, color, self.left_to_right(members))

    def absent_label(self, rng: Generator) -> tuple[str, str] | None:
        """A (colour, category) that no visible thing has: a present category in another colour, a present colour on
        another category (both hard), or both new (easy)."""
        sort = int(rng.random() * 3)
        present = tuple(c for c in self.category_counts if c in self.vocabulary)
        categories = present if sort == 0 else tuple(self.vocabulary)
        if not categories:
            return None
        for _ in range(16):
            category = pick(categories, rng)
            if sort and category in self.category_counts:
                continue
            color = (
                pick(tuple(self.color_counts), rng) if sort == 1 and self.color_counts else pick(self.vocabulary[category], rng)
            )
            if color in self.vocabulary[category] and self._denies(color, category):
                return color, category
        return None

    def absent_category(self, rng: Generator) -> str | None:
        absent = [c for c in self.vocabulary if c not in self.category_counts]
        return pick(absent, rng) if absent else None

    def absent_color(self, rng: Generator) -> str | None:
        absent = [
            c
            for c in words.COLORS
            if c not in self.color_counts and not any((c, present) in words.CONFUSABLE_COLORS for present in self.color_counts)
        ]
        return pick(absent, rng) if absent else None

    def _denies(self, color: str, category: str) -> bool:
        for present, k in self.label_counts:
            if k == category and (present == color or (color, present) in words.CONFUSABLE_COLORS):
                return False
        return True


@cache
def _vocabulary(world: str) -> Mapping[str, Sequence[str]]:
    """Category to the colours that it may have in that world: a green plant is not denied where every plant has green
    leaves. A world that is not in the house may hold everything."""
    if world in WORLDS:
        return load_world(world).colors
    return {category: tuple(words.COLORS) for category in words.CATEGORIES}


# --- phrases -------------------------------------------------------------------------------------------------------


def pick(options: Sequence[T], rng: Generator) -> T:
    """One of ``options``, evenly. Several times faster than ``rng.choice``."""
    return options[int(rng.random() * len(options))]


def word_for(category: str, language: Language, rng: Generator, *, plural: bool = False) -> str:
    """The category's noun, now and then an everyday synonym."""
    noun = words.CATEGORIES[category]
    if language == "zh":
        forms = noun.zh
        return forms[0] if len(forms) == 1 or rng.random() >= SYNONYM else pick(forms, rng)
    pairs = noun.en
    pair = pairs[0] if len(pairs) == 1 or rng.random() >= SYNONYM else pick(pairs, rng)
    return pair[1] if plural else pair[0]


def described(color: str | None, category: str, language: Language, rng: Generator, *, plural: bool = False) -> str:
    """ "red cup", "cups", "红色杯子", "红色的杯子" (no article)."""
    noun = word_for(category, language, rng, plural=plural)
    if color is None:
        return noun
    if language == "en":
        return f"{color} {noun}"
    joint = "的" if rng.random() < 0.35 else ""
    return f"{words.COLORS[color]}{joint}{noun}"


def definite(color: str | None, category: str, language: Language, rng: Generator) -> Name:
    """ "the red cup" / "红色杯子"."""
    phrase = described(color, category, language, rng)
    return Name(f"the {phrase}" if language == "en" else phrase, words.CATEGORIES[category].plural_only)


def filled(template: str, names: Sequence[Name], **more: str) -> str:
    """A template with {a}, {b}, {c} for the names, {A} for the first at the start of a sentence, and verbs that agree
    with the first: {Is}, {is_}, {does}, {Does}."""
    fields = {letter: name.text for letter, name in zip("abc", names, strict=False)}
    if names:
        plural = names[0].plural
        text = names[0].text
        fields["A"] = text[0].upper() + text[1:]
        fields["is_"], fields["Is"] = ("are", "Are") if plural else ("is", "Is")
        fields["does"], fields["Does"] = ("do", "Do") if plural else ("does", "Does")
    return template.format(**fields, **more)


def as_typed(text: str, rng: Generator) -> str:
    """The text as people type it: now and then no question mark, a half-width one in Chinese, no capital."""
    draw = rng.random()
    if draw >= 0.16:
        return text
    if draw < 0.05 and text[-1] in "?？":
        return text[:-1]
    if draw < 0.1 and text[-1] == "？":
        return text[:-1] + "?"
    if draw < 0.13:
        return text[0].lower() + text[1:]
    return text
