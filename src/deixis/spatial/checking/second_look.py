"""Ways to look at a claim: the model's words, other questions, another view of the picture, and what the boxes say.

Knows how each becomes an opinion. Does not know which are worth asking for (cases.py), nor what they are worth (calibration.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from deixis.backends import Completion
from deixis.geometry import View
from deixis.spatial.answer import Claim, FoundObject
from deixis.spatial.checking.calibration import Opinion
from deixis.spatial.checking.confidence import odds_between, word_masses
from deixis.spatial.grounding.shown import Shown, shown_whole
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.rewording import Retell, Reworded
from deixis.spatial.language.translation import OTHER, names_of_reply, to_translate, translated
from deixis.spatial.run import Run

ZOOM_GROWN = 1.6  # a crop's side over that of what it shows
ZOOM_LEAST_PX = 160
WORDS_TOKENS = 24
TRANSLATION_TOKENS = 96
PLAUSIBLE = 2.0  # log-odds that geometry's word carries before its weight


@dataclass(frozen=True)
class SecondView:
    """Another view of the picture. `mirrored`: left is right in it."""

    shown: Shown
    mirrored: bool


def mirrored(run: Run) -> SecondView:
    """The whole picture in a mirror."""
    whole = shown_whole(run.picture)
    return SecondView(replace(whole, pixels=np.ascontiguousarray(whole.pixels[:, ::-1])), mirrored=True)


def zoomed(run: Run, things: Sequence[FoundObject]) -> SecondView | None:
    """The picture cut to what is asked about, as large as the whole; None where that is most of it anyway."""
    width, height = run.picture.width, run.picture.height
    x1, y1 = (min(item.box_px[i] for item in things) for i in (0, 1))
    x2, y2 = (max(item.box_px[i] for item in things) for i in (2, 3))
    scale = max(ZOOM_GROWN * (x2 - x1) / width, ZOOM_GROWN * (y2 - y1) / height, min(1.0, ZOOM_LEAST_PX / width))
    if scale > 0.75:
        return None
    wide, high = max(round(scale * width), 1), max(round(scale * height), 1)
    left = round(min(max((x1 + x2 - wide) / 2, 0), width - wide))
    top = round(min(max((y1 + y2 - high) / 2, 0), height - high))
    view = View((left, top, left + wide, top + high), width, height)
    cut = Image.fromarray(run.picture.pixels).crop(view.window_px)
    larger = np.asarray(cut.resize((view.width, view.height), Image.Resampling.BICUBIC))
    return SecondView(Shown(view, larger), mirrored=False)


def words_opinion(reading: Reading, reply: Completion) -> Opinion:
    """What the model's first answer makes of yes against no."""
    masses = word_masses(reply)
    return Opinion("words", reading.text, reply.text.strip(), odds_of(masses["yes"], masses["no"]))


def opinion_on(run: Run, asked: Reworded, language: Language, view: SecondView | None = None) -> Opinion:
    """What the answer to another question about a claim makes of it; in a mirror left speaks for right."""
    reply = run.complete("ask_again", prompts.ask(asked.question, language), WORDS_TOKENS, None if view is None else view.shown)
    if asked.options is not None:
        odds = odds_between(reply, *asked.options)
    else:
        masses = word_masses(reply)
        odds = odds_of(masses["yes"], masses["no"])
    against = asked.denies != (view is not None and view.mirrored and asked.sided)
    how: str = asked.how if view is None else "mirrored" if view.mirrored else "zoomed"
    return Opinion(how, asked.question, reply.text.strip(), -odds if against else odds)


def in_other_language(run: Run, labels: Sequence[str], retell: Retell, language: Language) -> Opinion | None:
    """What the model makes of a claim that is put to it in the other language; None where its names cannot be translated."""
    other = OTHER[language]
    names = _translated(run, labels, language)
    return None if names is None else opinion_on(run, replace(retell(names, other), how="other_language"), other)


def _translated(run: Run, labels: Sequence[str], language: Language) -> tuple[str, ...] | None:
    """By the words that came with the checkpoint, and where none did, by the model itself."""
    if pairs := run.backend.card.words:
        names = [translated(label, language, pairs) for label in labels]
        return None if None in names else tuple(name for name in names if name)
    reply = run.complete_text("translate", to_translate(labels, language), TRANSLATION_TOKENS)
    return names_of_reply(reply.text, len(labels), OTHER[language])


def tells(opinion: Opinion) -> bool:
    """An answer that is neither yes nor no, nor one of the two, is no opinion."""
    return opinion.log_odds != 0.0


def geometry_of(claim: Claim | None) -> tuple[Opinion, ...]:
    """What the boxes say: how far the relation holds, and whether that is beyond doubt."""
    if claim is None or claim.geometry not in ("yes", "no", "undecided"):
        return ()
    sign = {"yes": 1.0, "no": -1.0, "undecided": 0.0}[claim.geometry]
    found = [Opinion("geometry", "", claim.geometry, PLAUSIBLE * sign)]
    if claim.margin is not None:
        scaled = math.tanh(claim.margin.value / _MARGIN_SCALE.get(claim.margin.unit, 0.5))
        found.append(Opinion("margin", "", f"{claim.margin.value:.2f} {claim.margin.unit}", PLAUSIBLE * scaled))
    return tuple(found)


_MARGIN_SCALE = {"widths": 0.5, "m": 0.08, "sizes": 0.5, "spans": 0.3}


def overlap_of(things: Sequence[FoundObject]) -> tuple[Opinion, ...]:
    """How much of the first thing's box the second's covers: without overlap it hides nothing."""
    if len(things) < 2:
        return ()
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = things[0].box_px, things[1].box_px
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    share = shared / max((ax2 - ax1) * (ay2 - ay1), 1e-9)
    return (Opinion("overlap", "", f"{share:.0%}", PLAUSIBLE * (min(4 * share, 2.0) - 1)),)


def spoken_of(label: str, reading: Reading) -> bool:
    """Whether the question names it, by its noun at least."""
    return noun_of(label, reading.language) in reading.text.lower().replace("的", "")


def noun_of(label: str, language: Language) -> str:
    """ "cup" of "red cup", "杯子" of "红色杯子"."""
    label = label.lower().replace("的", "")
    return label[label.find("色") + 1 :] if language == "zh" else label.rpartition(" ")[2]


def odds_of(yes: float, no: float) -> float:
    """Log-odds of two masses."""
    return math.log(max(yes, 1e-6) / max(no, 1e-6))
