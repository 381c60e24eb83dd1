"""Where things are: boxes and points of one thing, of all of a kind, of everything, and of what is not there."""

from collections.abc import Mapping, Sequence

from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.picture import Group, Picture, described, pick
from deixis.lab.questions.question import Question, box_3d_row, box_row, fenced, point_row, written
from deixis.spatial.language.prompts import Language

# {x}: "red cup"; {xs}: "red cups". In Chinese the prompt itself says "all", and nouns have no plural.
ONE: Phrasings = {
    "en": (
        "{x}",
        "the {x}",
        "{x}",
        "the {x}",
        "{an_x}",
        "the {x} in the picture",
        "the {x} in this image",
        "the one {x}",
        "{xs}",
        "any {x}",
    ),
    "zh": ("{x}", "{x}", "{x}", "那个{x}", "这个{x}", "图中的{x}", "画面中的{x}", "图片里的{x}", "一个{x}"),
}
KIND: Phrasings = {
    "en": (
        "{xs}",
        "{x}",
        "all {xs}",
        "the {xs}",
        "all the {xs}",
        "every {x}",
        "each {x}",
        "any {x}",
        "all {xs} in the picture",
    ),
    "zh": ("{x}", "{x}", "{x}", "图中的{x}", "画面中的{x}", "每个{x}", "每一个{x}", "全部{x}", "所有{x}", "图片里的{x}"),
}
ALL: Phrasings = {
    "en": (
        "all objects",
        "every object",
        "objects",
        "object",
        "everything",
        "all the objects",
        "all things",
        "each object",
        "all objects in the picture",
        "everything on the table",
    ),
    "zh": (
        "物体",
        "物体",
        "东西",
        "物品",
        "图中的物体",
        "画面中的物体",
        "每个物体",
        "全部物体",
        "所有物体",
        "桌上的东西",
        "桌子上的物体",
    ),
}
_SINGULAR = frozenset(("every {x}", "each {x}", "the one {x}"))
COLORED_THINGS: Phrasings = {
    "en": ("thing|things", "object|objects", "item|items"),
    "zh": ("物体", "东西", "物品"),
}


def _what(template: str, color: str | None, category: str | None, language: Language, rng: Generator) -> str:
    """``category`` None: things of that colour."""
    if category is not None:
        if language == "zh":
            return template.format(x=described(color, category, language, rng))
        one = described(color, category, language, rng)
        many = described(color, category, language, rng, plural=True)
        if words.CATEGORIES[category].plural_only:
            # "every red headphones" is no English.
            return f"all {many}" if template in _SINGULAR else template.format(x=many, xs=many, an_x=many)
        return template.format(x=one, xs=many, an_x=words.with_article(one))
    thing = pick(COLORED_THINGS[language], rng)
    if language == "zh":
        joint = "的" if rng.random() < 0.5 else ""
        return template.format(x=f"{words.color_label(color or '', 'zh')}{joint}{thing}")
    one, many = (f"{color} {form}" for form in thing.split("|"))
    return template.format(x=one, xs=many, an_x=words.with_article(one))


def _boxes(
    kind: str,
    picture: Picture,
    language: Language,
    what: str,
    members: Sequence[int],
    labels: Sequence[str],
    query: dict[str, str | None],
) -> Question:
    """A locate question; ``labels`` are the queried ones, the rows carry each thing's own."""
    own = picture.labels(members, language)
    boxes = [picture.boxes_norm1000[i] for i in members]
    answer = fenced([box_row(box, label) for box, label in zip(boxes, own, strict=True)])
    target = {
        "objects": [picture.ids[i] for i in members],
        "labels": list(own),
        "boxes_norm1000": boxes,
        "boxes_px": [picture.objects[i]["box_px"] for i in members],
        "size": [picture.width, picture.height],
        "query": query,
    }
    return written(kind, language, "locate", what, answer, labels, target)


def locate_one(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The box of one thing whose label is unique."""
    if not picture.nameable_indices:
        return None
    index = pick(picture.nameable_indices, rng)
    color, category = picture.kinds[index]
    named: str | None = None if picture.category_counts[category] == 1 and rng.random() < 0.5 else color
    what = _what(pick(ONE[language], rng), named, category, language, rng)
    return _boxes(
        "locate_one", picture, language, what, [index], [picture.label(index, language)], {"category": category, "color": named}
    )


def _group_what(group: Group, language: Language, rng: Generator) -> str:
    return _what(pick(KIND[language], rng), group.color, group.category, language, rng)


def group_label(group: Group, language: Language) -> str:
    """What a group is called in ``labels``: "red cup", "cup" or "red"."""
    if group.category is None:
        return words.color_label(group.color or "", language)
    if group.color is None:
        return words.category_label(group.category, language)
    return words.label(group.color, group.category, language)


def pick_group(picture: Picture, rng: Generator, *, several: float = 0.6) -> Group | None:
    """All of a category (often), of a colour, or of a label. ``several``: how often a group of more than one thing is
    taken where there is one, as they are rarer."""
    draw = rng.random()
    groups = picture.groups["category" if draw < 0.45 else "color" if draw < 0.85 else "label"]
    if not groups:
        return None
    if rng.random() < several:
        larger = [g for g in groups if len(g.members) > 1]
        if larger:
            return pick(larger, rng)
    return pick(groups, rng)


def locate_kind(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The boxes of all things of a label, a category or a colour, left to right."""
    group = pick_group(picture, rng)
    if group is None:
        return None
    query = {"category": group.category, "color": group.color}
    what = _group_what(group, language, rng)
    return _boxes("locate_kind", picture, language, what, group.members, [group_label(group, language)], query)


def locate_all(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The boxes of everything, left to right; only where nothing is doubtful."""
    if not picture.all_clear or not picture.indices_there:
        return None
    members = picture.left_to_right(picture.indices_there)
    return _boxes("locate_all", picture, language, pick(ALL[language], rng), members, [], {"category": None, "color": None})


def locate_absent(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Something that is not there: mostly a label, also a whole category or colour."""
    color: str | None
    category: str | None
    draw = rng.random()
    if draw < 0.15:
        color, category = None, picture.absent_category(rng)
    elif draw < 0.25:
        color, category = picture.absent_color(rng), None
    else:
        color, category = picture.absent_label(rng) or (None, None)
    if color is None and category is None:
        return None
    templates = ONE[language] if category is not None and rng.random() < 0.6 else KIND[language]
    what = _what(pick(templates, rng), color, category, language, rng)
    label = group_label(Group("label", category, color, ()), language)
    return _boxes("locate_absent", picture, language, what, [], [label], {"category": category, "color": color})


def _one_or_group(
    picture: Picture, rng: Generator, language: Language
) -> tuple[str, tuple[int, ...], str, dict[str, str | None]] | None:
    """One named thing (60%) or a group: the ``what``, its members, its label and the query."""
    if rng.random() < 0.6:
        if not picture.nameable_indices:
            return None
        index = pick(picture.nameable_indices, rng)
        color, category = picture.kinds[index]
        named: str | None = None if picture.category_counts[category] == 1 and rng.random() < 0.5 else color
        what = _what(pick(ONE[language], rng), named, category, language, rng)
        return what, (index,), picture.label(index, language), {"category": category, "color": named}
    group = pick_group(picture, rng)
    if group is None:
        return None
    query = {"category": group.category, "color": group.color}
    return _group_what(group, language, rng), group.members, group_label(group, language), query


def point(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """A visible point on one thing, or on each of a kind."""
    asked = _one_or_group(picture, rng, language)
    if asked is None:
        return None
    what, members, label, query = asked
    own = picture.labels(members, language)
    w, h = picture.width, picture.height
    points = [[round(picture.points_px[i][0] * 1000 / w), round(picture.points_px[i][1] * 1000 / h)] for i in members]
    answer = fenced([point_row(p, name) for p, name in zip(points, own, strict=True)])
    target = {
        "objects": [picture.ids[i] for i in members],
        "labels": list(own),
        "points_norm1000": points,
        "boxes_px": [picture.objects[i]["box_px"] for i in members],
        "size": [w, h],
        "query": query,
    }
    return written("point", language, "point", what, answer, [label], target)


def box_3d(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The 3D box of one thing (mostly) or of everything, in the virtual camera."""
    everything = picture.all_clear and picture.indices_there and rng.random() < 0.2
    if everything:
        members: tuple[int, ...] = picture.left_to_right(picture.indices_there)
        what, labels, query = pick(ALL[language], rng), [], dict[str, str | None](category=None, color=None)
    elif picture.nameable_indices:
        index = pick(picture.nameable_indices, rng)
        color, category = picture.kinds[index]
        named: str | None = None if picture.category_counts[category] == 1 and rng.random() < 0.5 else color
        what = _what(pick(ONE[language], rng), named, category, language, rng)
        members, labels, query = (index,), [picture.label(index, language)], {"category": category, "color": named}
    else:
        return None
    target = boxes_3d_target(picture, members, language) | {"query": query}
    return written("box_3d", language, "locate_3d", what, boxes_3d_text(picture, members, language), labels, target)


def boxes_3d_text(picture: Picture, members: Sequence[int], language: Language) -> str:
    """The answer: one row a thing, in the virtual camera."""
    return fenced([box_3d_row(picture.virtual_box_3d(i), picture.label(i, language)) for i in members])


def boxes_3d_target(picture: Picture, members: Sequence[int], language: Language) -> dict[str, object]:
    """The truth for scoring, in the real camera, with the factor between both."""
    return {
        "objects": [picture.ids[i] for i in members],
        "labels": list(picture.labels(members, language)),
        "boxes_3d": [list(picture.objects[i]["box_3d"]) for i in members],  # the real camera
        "virtual_factor": picture.virtual_factor,
        "size": [picture.width, picture.height],
    }


KINDS: Mapping[str, Kind] = {
    "locate_one": Kind(locate_one, ONE),
    "locate_kind": Kind(locate_kind, KIND),
    "locate_all": Kind(locate_all, ALL),
    "locate_absent": Kind(locate_absent, ONE),
    "point": Kind(point, ONE),
    "box_3d": Kind(box_3d, ONE),
}
