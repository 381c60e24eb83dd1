"""What hides what: is it partly hidden, what hides it, how much of it shows.

The truth's ``occluders`` are shares of a thing's silhouette inside the picture hidden by each other thing.
"""

from collections.abc import Mapping

from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.picture import Picture, as_typed, filled, pick
from deixis.lab.questions.question import Question, written, yes_or_no
from deixis.spatial.language.prompts import LANGUAGES, Language

# Hidden: at least this share of it by other things. Not hidden: at most this.
HIDDEN_SHARE = 0.15
OPEN_SHARE = 0.01
# Named as what hides it: the thing that does this share of the hiding.
MAIN_SHARE = 0.8
# At least this much of a thing shows beyond doubt ("100%"); below it, tens of percent.
WHOLE_SHARE = 0.97

HIDDEN: Phrasings = {
    "en": (
        "{Is} {a} partly hidden?",
        "{Is} {a} partly hidden by something else?",
        "Is something covering part of {a}?",
        "{Is} {a} partially occluded?",
        "Does anything hide a part of {a}?",
        "Is any part of {a} blocked from view by another object?",
        "{Is} {a} partly covered by another object?",
        "Does another object stand in the way of {a}?",
    ),
    "zh": (
        "{a}被遮挡了吗？",
        "{a}是否被部分遮挡？",
        "{a}有没有被别的东西挡住一部分？",
        "有东西挡住了{a}吗？",
        "{a}的一部分被其他物体遮住了吗？",
        "图中{a}是不是被挡住了一部分？",
        "{a}有一部分被别的物体挡住了吗？",
    ),
}
HIDDEN_BY: Phrasings = {  # {a} by {b}
    "en": (
        "{Is} {a} partly hidden by {b}?",
        "Is part of {a} hidden behind {b}?",
        "{Is} {a} partly covered by {b}?",
        "Is any part of {a} blocked from view by {b}?",
    ),
    "zh": (
        "{a}被{b}挡住了一部分吗？",
        "{a}是否被{b}部分遮挡？",
        "{a}有一部分被{b}遮住了吗？",
        "{a}是不是被{b}挡住了？",
    ),
}
HIDES: Phrasings = {  # {a} hides {b}
    "en": (
        "{Does} {a} hide part of {b}?",
        "{Is} {a} in the way of {b}?",
        "{Does} {a} block part of {b} from view?",
        "{Is} {a} covering part of {b}?",
    ),
    "zh": (
        "{a}挡住了{b}的一部分吗？",
        "{a}有没有遮住{b}？",
        "{a}是不是挡着{b}？",
        "{a}遮挡了{b}吗？",
    ),
}
PAIR: Phrasings = {language: (*HIDDEN_BY[language], *HIDES[language]) for language in LANGUAGES}
BY: Phrasings = {
    "en": (
        "What hides {a}?",
        "What is in front of {a} and hides part of it?",
        "What object is covering part of {a}?",
        "Which object blocks the view of {a}?",
        "By what {is_} {a} partly hidden?",
        "What is blocking {a}?",
        "What occludes {a}?",
    ),
    "zh": (
        "什么挡住了{a}？",
        "{a}被什么遮挡了？",
        "是什么东西遮住了{a}？",
        "哪个物体挡住了{a}的一部分？",
        "{a}被哪个物体挡住了？",
        "挡在{a}前面的是什么？",
        "遮挡{a}的是什么？",
    ),
}
VISIBLE: Phrasings = {
    "en": (
        "How much of {a} is visible?",
        "How much of {a} can be seen?",
        "What percentage of {a} is visible?",
        "What share of {a} is in view, in percent?",
        "About how many percent of {a} can you see?",
        "To what extent {is_} {a} visible?",
        "How visible {is_} {a}, in percent?",
    ),
    "zh": (
        "{a}露出了多少？",
        "{a}能看到多少？",
        "{a}可见的部分占百分之多少？",
        "{a}有百分之几是可见的？",
        "能看见{a}的百分之多少？",
        "图中{a}的可见比例是多少？",
        "{a}没有被挡住的部分有多少？",
    ),
}


def _hidden_shares(picture: Picture) -> list[float]:
    found: list[float] | None = picture.tables.get("hidden")
    if found is None:
        found = picture.tables["hidden"] = [float(sum([share for _, share in o["occluders"]])) for o in picture.objects]
    return found


def _named_even_if_hidden(picture: Picture) -> list[int]:
    """Things to ask about here: their label is unique and enough pixels show to find them, however small a share."""
    return [i for i in picture.indices_there if picture.unique[i] and picture.findable[i]]


def hidden(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Whether other things hide a part of it."""
    shares = _hidden_shares(picture)
    named = _named_even_if_hidden(picture)
    yes = [i for i in named if shares[i] >= HIDDEN_SHARE]
    no = [i for i in named if shares[i] <= OPEN_SHARE and picture.clear[i]]
    holds = rng.random() < 0.5
    # Most pictures hold open things and fewer hidden ones: a one-sided picture is asked so seldom that both stay even.
    if not yes or not no:
        if rng.random() >= (0.5 if yes else 0.1) or not (yes or no):
            return None
        holds = bool(yes)
    index = pick(yes if holds else no, rng)
    text = as_typed(filled(pick(HIDDEN[language], rng), [picture.name(index, language, rng)]), rng)
    target = {"holds": holds, "hidden_share": round(shares[index], 4), "objects": [picture.ids[index]]}
    return written(
        "occlusion_hidden", language, "ask", text, yes_or_no(holds, language), [picture.label(index, language)], target
    )


def pair(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Whether one thing hides part of another. Half the time it does not: it is hidden by it itself, or stands beside it."""
    shares = {(i, picture.index_of.get(k)): float(s) for i, o in enumerate(picture.objects) for k, s in o["occluders"]}
    named = _named_even_if_hidden(picture)
    couples = [(i, j) for i in named for j in picture.nameable_indices if i != j]
    yes = [c for c in couples if shares.get(c, 0.0) >= HIDDEN_SHARE]
    no = [c for c in couples if shares.get(c, 0.0) <= OPEN_SHARE and picture.clear[c[0]]]
    close = [c for c in no if shares.get(c[::-1], 0.0) >= HIDDEN_SHARE or _overlapping(picture, *c)]
    # Pictures with nothing hidden are many: they are asked so seldom that yes and no stay even.
    holds = rng.random() < 0.5 if yes else False
    if not (yes if holds else no) or (not yes and rng.random() >= 0.1):
        return None
    hidden_, cover = pick(yes, rng) if holds else pick(close if close and rng.random() < 0.75 else no, rng)
    first, second, phrasings = (hidden_, cover, HIDDEN_BY) if rng.random() < 0.5 else (cover, hidden_, HIDES)
    names = [picture.name(first, language, rng), picture.name(second, language, rng)]
    text = as_typed(filled(pick(phrasings[language], rng), names), rng)
    target = {
        "holds": holds,
        "hidden": picture.ids[hidden_],
        "cover": picture.ids[cover],
        "hidden_share": round(shares.get((hidden_, cover), 0.0), 4),
        "objects": [picture.ids[first], picture.ids[second]],
    }
    labels = picture.labels((first, second), language)
    return written("occlusion_pair", language, "ask", text, yes_or_no(holds, language), labels, target)


def _overlapping(picture: Picture, i: int, j: int) -> bool:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = picture.boxes_px[i], picture.boxes_px[j]
    return bool(ax1 < bx2 and bx1 < ax2 and ay1 < by2 and by1 < ay2)


def by(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Which thing does nearly all of the hiding."""
    shares = _hidden_shares(picture)
    cases = []
    for i in _named_even_if_hidden(picture):
        if shares[i] < HIDDEN_SHARE:
            continue
        occluder, share = max(picture.objects[i]["occluders"], key=lambda pair: float(pair[1]))
        j = picture.index_of.get(occluder)
        if j is not None and picture.nameable[j] and share >= MAIN_SHARE * shares[i]:
            cases.append((i, j))
    if not cases:
        return None
    index, cover = pick(cases, rng)
    text = as_typed(filled(pick(BY[language], rng), [picture.name(index, language, rng)]), rng)
    label = picture.label(cover, language)
    target = {
        "label": label,
        "category": words.category_label(picture.categories[cover], language),
        "category_unique": picture.category_counts[picture.categories[cover]] == 1,
        "object": picture.ids[cover],
        "objects": [picture.ids[index], picture.ids[cover]],
    }
    return written("occlusion_by", language, "ask", text, label, [picture.label(index, language)], target)


def visibility(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """In tens of percent. Things cut off by the picture's edge are left out: nobody can tell how much lies beyond."""
    named = [i for i in _named_even_if_hidden(picture) if not picture.cut_off(i)]
    fractions = [float(o["visible_fraction"]) for o in picture.objects]
    whole = [i for i in named if fractions[i] >= WHOLE_SHARE]
    part = [i for i in named if fractions[i] < WHOLE_SHARE]
    # Whole things are common: take a partly visible one where there is one, three times in four.
    if part and (not whole or rng.random() < 0.75):
        index = pick(part, rng)
    elif whole and rng.random() < 0.5:
        index = pick(whole, rng)
    else:
        return None
    percent = min(max(round(fractions[index] * 10) * 10, 10), 100)
    text = as_typed(filled(pick(VISIBLE[language], rng), [picture.name(index, language, rng)]), rng)
    target = {"percent": percent, "visible_fraction": round(fractions[index], 4), "objects": [picture.ids[index]]}
    return written("visibility", language, "ask", text, f"{percent}%", [picture.label(index, language)], target)


KINDS: Mapping[str, Kind] = {
    "occlusion_hidden": Kind(hidden, HIDDEN),
    "occlusion_pair": Kind(pair, PAIR),
    "occlusion_by": Kind(by, BY),
    "visibility": Kind(visibility, VISIBLE),
}
