"""Where the model looked while it answered: a heat map over the picture, for `--explain`.

Knows attention by patches and how to draw it. Does not know how a network computes it, nor whether looking there was right: what
a model attends to is a hint at what it used, and no proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deixis.backends import Backend, Conversation, Look, Looking
from deixis.errors import OptionError
from deixis.media import Picture
from deixis.spatial.answer import Answer, BoxPx, LocateAnswer
from deixis.spatial.grounding.shown import shown_whole
from deixis.spatial.language import prompts
from deixis.spatial.showing.draw import with_footer

REPLY_TOKENS = 512
# A patch to which a token that has read no question pays so many times an even share is a sink, looked at whatever is asked.
SINK_TIMES = 10.0
_SHOWN = 120  # characters of the reply below the picture
# Dark violet to yellow (the ends and the middle of matplotlib's inferno), and how much of the picture they leave.
_COLORS = np.array([(20, 11, 52), (120, 28, 109), (237, 105, 37), (252, 222, 100)], np.float64)
_DIMMED, _COVERED = 0.45, 0.65
_GAMMA = 0.65  # a few patches hold most, and the others shall be seen too
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where the model looked, (rows, columns) over the whole picture, which add up to 1; what was asked, and what it replied."""

    weights: Array
    asked: str
    reply: str

    def share_in(self, box_px: BoxPx, width: int, height: int) -> float:
        """The share that lies in a box of the picture of width × height px, patches taken as evenly filled."""
        rows, columns = self.weights.shape
        down = _covered(box_px[1] * rows / height, box_px[3] * rows / height, rows)
        across = _covered(box_px[0] * columns / width, box_px[2] * columns / width, columns)
        return float(down @ self.weights @ across)

    def part(self, box_px: BoxPx, width: int, height: int) -> HeatMap:
        """The map of a box alone, in patches of about the same size: of the picture without the borders it was shown with."""
        rows, columns = self.weights.shape
        down = _cells(box_px[1] * rows / height, box_px[3] * rows / height, rows)
        across = _cells(box_px[0] * columns / width, box_px[2] * columns / width, columns)
        weights = down @ self.weights @ across.T
        total = weights.sum()
        return replace(self, weights=weights / total if total > 0 else np.full(weights.shape, 1 / weights.size))


def explain(backend: Backend, picture: Picture, answer: Answer | LocateAnswer) -> HeatMap:
    """Ask the model the same again and see where it looks. Raises OptionError for a backend without the model's weights."""
    looking = explainable(backend)
    if isinstance(answer, Answer):
        asked, prompt = answer.question, prompts.ask(answer.question, answer.language)
    else:
        asked, prompt = answer.what, prompts.locate(answer.what, answer.language)
    shown = shown_whole(picture)  # as it was asked: a long picture has borders, which the map then leaves out
    heat = heat_map(looking.look(Conversation.about(shown.pixels, prompt), max_new_tokens=REPLY_TOKENS), asked)
    inside = shown.view.box_to_view((0, 0, picture.width, picture.height))
    return heat.part(inside, shown.view.width, shown.view.height)


def explainable(backend: Backend) -> Looking:
    """The backend, if it can say where it looks. Raises OptionError where it cannot."""
    if not isinstance(backend, Looking):
        raise OptionError(f"{backend.card.name} gives no attention weights; a heat map needs a model that runs on this machine")
    return backend


def heat_map(look: Look, asked: str) -> HeatMap:
    """One map of all the reply's tokens and the later half of the layers, without sinks and without what every patch gets.

    The later half: earlier layers gather what stands where, whatever is asked (measured on nano: the asked object's box gets
    twice its area's share there, and six times in the later ones).
    """
    later = look.answer.shape[0] // 2
    heat = look.answer[later:].mean(axis=(0, 1), dtype=np.float64)  # (rows, columns)
    before = look.unasked[later:].mean(axis=0, dtype=np.float64)
    sinks = before > SINK_TIMES * before.mean()
    kept = heat[~sinks]
    heat = np.where(sinks, 0.0, np.clip(heat - np.median(kept), 0.0, None))
    total = heat.sum()
    return HeatMap(heat / total if total > 0 else np.full(heat.shape, 1 / heat.size), asked, look.reply)


def draw_heat(picture: Picture, heat: HeatMap) -> Image.Image:
    """The picture, dimmed, with the map in colour over it, and question and reply below."""
    strength = heat.weights / heat.weights.max()
    grid = Image.fromarray(strength.astype(np.float32))
    wide = np.asarray(grid.resize((picture.width, picture.height), Image.Resampling.BICUBIC), np.float64)
    level = np.clip(wide, 0.0, 1.0)[..., None] ** _GAMMA  # (h, w, 1)
    steps = np.linspace(0, 1, len(_COLORS))
    color = np.stack([np.interp(level[..., 0], steps, channel) for channel in _COLORS.T], axis=-1)
    grey = picture.pixels.mean(axis=-1, keepdims=True)
    dimmed = _DIMMED * (0.5 * grey + 0.5 * picture.pixels)
    cover = _COVERED * level
    shown = (1 - cover) * (dimmed + (picture.pixels - dimmed) * level) + cover * color
    reply = " ".join(heat.reply.replace("```json", "").replace("```", "").split())
    reply = reply if len(reply) <= _SHOWN else reply[: _SHOWN - 1] + "…"
    return with_footer(Image.fromarray(shown.round().astype(np.uint8)), heat.asked, [reply])


def _covered(low: float, high: float, count: int) -> Array:
    """How much of each of `count` unit cells lies between two places."""
    edges = np.arange(count + 1)
    covered: Array = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, 1.0)
    return covered


def _cells(low: float, high: float, count: int) -> Array:
    """(cells, count): how much of each of `count` unit cells lies in each of the equal cells between two places."""
    edges = np.linspace(low, high, max(1, round(high - low)) + 1)
    return np.stack([_covered(a, b, count) for a, b in pairwise(edges)])
