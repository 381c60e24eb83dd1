"""How many there are, whether there is one, and questions about what is not there."""

from collections.abc import Mapping

from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions import distance, occlusion
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.locate import COLORED_THINGS, group_label, pick_group
from deixis.lab.questions.pairs import RELATIONS
from deixis.lab.questions.picture import Group, Picture, as_typed, definite, described, filled, pick
from deixis.lab.questions.question import Question, absent, written, yes_or_no
from deixis.lab.questions.relation import PHRASINGS as RELATION_PHRASINGS
from deixis.spatial.language.prompts import Language

# {xs}: "red cups", "objects"; in Chinese "杯子".
COUNT: Phrasings = {
    "en": (
        "How many {xs} are there?",
        "How many {xs} are in the picture?",
        "Count the {xs}.",
        "What is the number of {xs}?",
        "How many {xs} can you see?",
        "Can you count the {xs} in this image?",
        "In total, how many {xs} are visible?",
    ),
    "zh": (
        "有多少个{xs}？",
        "图中有几个{xs}？",
        "画面里一共有多少个{xs}？",
        "数一数有几个{xs}。",
        "{xs}有几个？",
        "能看到几个{xs}？",
        "{xs}的数量是多少？",
    ),
}
# {an_x}: "a red cup", in the plural-only "red headphones"; {any_xs}: "any red cups".
EXISTS: Phrasings = {
    "en": (
        "Is there {an_x} in the picture?",
        "Is there {an_x}?",
        "Can you see {an_x}?",
        "Does the picture show {an_x}?",
        "Are there any {xs}?",
        "Do you see any {xs} in this image?",
        "Is {an_x} visible?",
    ),
    "zh": (
        "图中有{x}吗？",
        "有没有{x}？",
        "画面里有{x}吗？",
        "能看到{x}吗？",
        "图片中是否有{x}？",
        "这里有{x}吗？",
        "桌上有没有{x}？",
    ),
}
_ALL_WORDS: Phrasings = {"en": ("objects", "things", "items", "objects"), "zh": ("物体", "东西", "物品", "物体")}


def _phrase(color: str | None, category: str | None, language: Language, rng: Generator, *, plural: bool) -> str:
    """A noun phrase without article for a label, a category or a colour."""
    if category is not None:
        return described(color, category, language, rng, plural=plural)
    thing = pick(COLORED_THINGS[language], rng)
    if language == "zh":
        joint = "的" if rng.random() < 0.5 else ""
        return f"{words.color_label(color or '', 'zh')}{joint}{thing}"
    one, many = thing.split("|")
    return f"{color} {many if plural else one}"


def _none_of(picture: Picture, rng: Generator) -> Group | None:
    """A label, category or colour of which there is none."""
    draw = rng.random()
    if draw < 0.45:
        label = picture.absent_label(rng)
        return None if label is None else Group("label", label[1], label[0], ())
    if draw < 0.8:
        category = picture.absent_category(rng)
        return None if category is None else Group("category", category, None, ())
    color = picture.absent_color(rng)
    return None if color is None else Group("color", None, color, ())


def count(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """How many of a category, a colour or a label there are, or of everything; now and then none."""
    draw = rng.random()
    if draw < 0.25:
        if not picture.all_clear:
            return None
        members = picture.left_to_right(picture.indices_there)
        phrase, labels = pick(_ALL_WORDS[language], rng), []
        query: dict[str, str | None] = {"category": None, "color": None}
    else:
        group = _none_of(picture, rng) if draw < 0.37 else pick_group(picture, rng)
        if group is None:
            return None
        members = group.members
        phrase = _phrase(group.color, group.category, language, rng, plural=True)
        labels, query = [group_label(group, language)], {"category": group.category, "color": group.color}
    text = as_typed(pick(COUNT[language], rng).format(xs=phrase), rng)
    target = {"count": len(members), "objects": [picture.ids[i] for i in members], "query": query}
    return written("count", language, "ask", text, str(len(members)), labels, target)


def exists(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Whether there is one: yes and no evenly, the no hard to tell from the company."""
    holds = rng.random() < 0.5
    group = pick_group(picture, rng, several=0.25) if holds else _none_of(picture, rng)
    if group is None:
        return None
    template = pick(EXISTS[language], rng)
    one = _phrase(group.color, group.category, language, rng, plural=False)
    if language == "zh":
        text = template.format(x=one)
    elif group.category is not None and words.CATEGORIES[group.category].plural_only:
        text = template.replace("Is there {an_x}", "Are there {an_x}").replace("Is {an_x}", "Are {an_x}").format(an_x=one, xs=one)
    else:
        many = _phrase(group.color, group.category, language, rng, plural=True)
        text = template.format(an_x=words.with_article(one), xs=many)
    target = {
        "holds": holds,
        "objects": [picture.ids[i] for i in group.members],
        "query": {"category": group.category, "color": group.color},
    }
    return written(
        "exists", language, "ask", as_typed(text, rng), yes_or_no(holds, language), [group_label(group, language)], target
    )


# Questions that take for granted what is not there.
_ONE_NAMED: Phrasings = {
    language: (*distance.DEPTH[language], *occlusion.BY[language], *occlusion.HIDDEN[language], *occlusion.VISIBLE[language])
    for language in ("en", "zh")
}
_TWO_NAMED = tuple(r for r in RELATIONS if r != "between")


def absent_named(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """A question about depth, hiding or a relation, one of whose things is not in the picture: the answer says so."""
    missing = picture.absent_label(rng)
    if missing is None:
        return None
    color, category = missing
    # "the cup" alone only when there is no cup of any colour.
    alone = category not in picture.category_counts and rng.random() < 0.5
    name = definite(None if alone else color, category, language, rng)
    label = words.label(color, category, language)
    others = picture.nameable_indices
    if others and rng.random() < 0.5:
        other = pick(others, rng)
        relation = pick(_TWO_NAMED, rng)
        names, labels = [name, picture.name(other, language, rng)], [label, picture.label(other, language)]
        if rng.random() < 0.5:
            names.reverse()
            labels.reverse()
        text = filled(pick(RELATION_PHRASINGS[relation][language], rng), names)
        objects = [picture.ids[other]]
    else:
        text, labels, objects = filled(pick(_ONE_NAMED[language], rng), [name]), [label], []
    target = {"absent": label, "objects": objects}
    return written("absent", language, "ask", as_typed(text, rng), absent(language), labels, target)


KINDS: Mapping[str, Kind] = {
    "count": Kind(count, COUNT),
    "exists": Kind(exists, EXISTS),
    "absent": Kind(absent_named, _ONE_NAMED),
}
