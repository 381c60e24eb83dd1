"""From seeds to training sequences, in worker processes: scenes for the renderer, then token rows for the network.

Knows scenes, truths, questions and the packed format. Does not know rendering or optimisation.

A packed row is one picture and many questions about it. Every question attends to the picture and to itself alone
(its segment number says which tokens are its own), and counts its positions as if it stood right after the picture, so
that no question holds another's answer and each is trained exactly as it will be asked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from deixis.lab.nano import token_id
from deixis.lab.observe import Observation, silhouette_arrays, stacked
from deixis.lab.questions.question import Question
from deixis.lab.scene import furnished_room, sampled_view, settled_scene
from deixis.lab.truth import observed, truth_of

HELD_OUT_SEEDS = range(800_000, 1_000_000)  # for validation and benchmarks: never trained on
ASKED_MORE = (
    *("relation", "relation_choice", "occlusion_hidden", "occlusion_pair", "occlusion_by"),
    *("nearest", "farthest", "count", "locate_one", "depth", "exists", "box_3d"),
)
SHORT_ANSWER_WEIGHT = 3.0  # a yes or no is one token among hundreds of digits


@dataclass(frozen=True)
class Drawn:
    """Pictures to be rendered: arrays for the renderer's pool and for ``observe``, a row a picture; truths without pixels.

    Truths travel as JSON, which the process between two workers need not open.
    """

    rows: dict[str, NDArray[Any]]
    silhouettes: dict[str, NDArray[np.float32]]
    truths: bytes
    pictures: int

    @staticmethod
    def join(parts: list["Drawn"]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float32]]]:
        """The rows and silhouettes of several parts as one batch."""
        rows = {k: np.concatenate([p.rows[k] for p in parts]) for k in parts[0].rows}
        return rows, {k: np.concatenate([p.silhouettes[k] for p in parts]) for k in parts[0].silhouettes}


def draw(world: str, seed: int, first: int, pictures: int, views: int, size: tuple[int, int]) -> Drawn:
    """``pictures`` views of settled scenes, ``views`` of each scene, from (seed, index) alone."""
    from deixis.lab.batch_render import pool_row

    rows: list[dict[str, NDArray[Any]]] = []
    silhouettes: list[dict[str, NDArray[np.float32]]] = []
    truths: list[dict[str, Any]] = []
    index = first
    while len(rows) < pictures:
        rng = np.random.default_rng([seed, index])
        scene = settled_scene(world, rng)
        for _ in range(min(views, pictures - len(rows))):
            view = sampled_view(scene, rng, *size)
            row = pool_row(scene, furnished_room(scene, rng), view)
            if row is None:
                break
            rows.append(row)
            silhouettes.append(silhouette_arrays(scene, view))
            truths.append(truth_of(seed, index, scene, view))
        index += 1
    return Drawn(stacked(rows), stacked(silhouettes), json.dumps(truths).encode(), len(rows))


@dataclass(frozen=True)
class Packed:
    """Token rows (n, tokens): ids, segment (0 picture, 1.. questions, -1 padding), position after the picture (from 0),
    weight of the loss at predicting this token (0 where it is not an answer), and the kind of each question segment.
    """

    ids: NDArray[np.int32]
    segment: NDArray[np.int32]
    position: NDArray[np.int32]
    weight: NDArray[np.float32]
    kinds: list[list[str]]

    @staticmethod
    def empty(pictures: int, tokens: int) -> "Packed":
        """Rows of padding, with no question yet."""
        ids, segment, position = (np.full((pictures, tokens), value, np.int32) for value in (0, -1, 0))
        return Packed(ids, segment, position, np.zeros((pictures, tokens), np.float32), [])

    @staticmethod
    def join(parts: list["Packed"]) -> "Packed":
        """The rows of several parts, one after the other."""
        ids, segment, position = (np.concatenate([getattr(p, f) for p in parts]) for f in ("ids", "segment", "position"))
        return Packed(ids, segment, position, np.concatenate([p.weight for p in parts]), [k for p in parts for k in p.kinds])

    def rows(self, rows: slice) -> "Packed":
        """Some of the rows."""
        return Packed(self.ids[rows], self.segment[rows], self.position[rows], self.weight[rows], self.kinds[rows])


@cache
def _tokenizer(path: str) -> Tokenizer:
    return Tokenizer.from_file(path)


def write(
    truths_json: bytes, seen: Observation, seed: int, tokenizer_path: str, tokens: int, only: tuple[str, ...] = ()
) -> Packed:
    """Ask as many questions about each picture as fit into ``tokens`` tokens."""
    from deixis.lab.questions import Picture, ask_everything

    asked = []
    for row, truth in enumerate(json.loads(truths_json)):
        rng = np.random.default_rng([seed, row])
        picture = Picture(observed(truth, seen, row))
        questions = ask_everything(picture, rng, kinds=only or None)
        if not only:
            questions += ask_everything(picture, rng, kinds=ASKED_MORE)
        asked.append([questions[k] for k in rng.permutation(len(questions))])
    return pack(asked, tokenizer_path, tokens)


def pack(asked: Sequence[Sequence[Question]], tokenizer_path: str, tokens: int) -> Packed:
    """For each picture or video as many of its questions, in this order, as fit into ``tokens`` tokens."""
    tokenizer = _tokenizer(tokenizer_path)
    start, end = token_id(tokenizer, "<|im_start|>"), token_id(tokenizer, "<|im_end|>")
    line, reply = tokenizer.encode("\n").ids, tokenizer.encode("assistant\n").ids
    out = Packed.empty(len(asked), tokens)
    for row, questions in enumerate(asked):
        texts = [text for question in questions for text in (question.prompt, question.answer)]
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        at, kinds = 0, []
        for rank, question in enumerate(questions):
            prompt, answer = encoded[2 * rank].ids, encoded[2 * rank + 1].ids
            before = [*prompt, end, *line, start, *reply]
            whole = [*before, *answer, end]
            if at + len(whole) > tokens:
                continue
            span = slice(at, at + len(whole))
            out.ids[row, span] = whole
            kinds.append(question.kind)
            out.segment[row, span] = len(kinds)
            out.position[row, span] = np.arange(len(whole))
            out.weight[row, at + len(before) : at + len(whole)] = SHORT_ANSWER_WEIGHT if len(answer) < 8 else 1.0
            at += len(whole)
            if at > tokens - 24:
                break
        out.kinds.append(kinds)
    return out
