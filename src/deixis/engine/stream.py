"""One reply on its way through the engine, and the prompt that it shares with others.

Knows tokens, positions and how far they were read. Does not know who else is being served.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deixis.engine.constrain import Held
from deixis.engine.pictures import Picture, begin_digest
from deixis.engine.prefix import Cut, cut_at, extend_names
from deixis.engine.reply_text import ReplyText
from deixis.engine.request import Finish, Reply, Sampling, Top
from deixis.model import Message, Processor, VisualFeatures, check_messages, parts_of


@dataclass(frozen=True, eq=False)
class Prompt:
    """A conversation as tokens, before any picture of it was looked at."""

    ids: list[int]
    positions: NDArray[np.int64]  # (3, tokens)
    next_position: int
    pictures: tuple[Picture, ...]
    names: list[bytes]  # of its full pages
    page_digests: Mapping[int, Sequence[bytes]]  # of the pictures whose tokens stand in a page
    cuts: tuple[Cut, ...] = ()  # where pictures end inside a page, in order

    @classmethod
    def read(
        cls,
        messages: Sequence[Message],
        processor: Processor,
        page_tokens: int,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Prompt:
        """Raises InputError, PictureError."""
        check_messages(messages)
        parts = [part for kind in ("image", "video") for part in parts_of(messages, kind)]
        hashing = [begin_digest(part, processor) for part in parts]
        outline = processor.outline(messages, tools=tools)
        merge = processor.config.vision.spatial_merge_size**2
        places = outline.visual_index.numpy()
        at = 0
        pictures: list[Picture] = []
        digests: dict[int, list[bytes]] = {}
        for part, digest, (t, h, w) in zip(parts, hashing, outline.image_grids + outline.video_grids, strict=True):
            own = places[at : at + t * h * w // merge]
            at += len(own)
            pictures.append(Picture(digest(), part, (t, h, w), own))
            pages = own // page_tokens
            for page in pages[np.diff(pages, prepend=-1) != 0].tolist():
                digests.setdefault(page, []).append(pictures[-1].digest)
        ids: list[int] = outline.input_ids.tolist()
        names: list[bytes] = []
        extend_names(names, ids, page_tokens, digests)
        cuts = []
        for at in sorted({int(one.places[-1]) + 1 for one in pictures}):
            if first := at % page_tokens:
                inside = [one.digest for one in pictures if one.places[0] < at and one.places[-1] >= at - first]
                cuts.append(cut_at(names, ids, page_tokens, at, inside))
        return cls(ids, outline.positions.numpy(), outline.next_position, tuple(pictures), names, digests, tuple(cuts))


@dataclass(eq=False)
class Stream:
    """One reply. Only whoever drives the engine touches it, under the engine's lock; tickets read what has been appended.

    `computed` counts the tokens whose keys and values are in `pages`, or will be when the steps that were launched have run;
    `unknown` the tokens that were chosen on the device and not read yet: at most 1 when a step is planned.
    """

    number: int  # order of arrival
    index: int  # among the replies to its request
    prompt: Prompt
    sampling: Sampling
    room: int  # most tokens to say
    deadline: float | None = None  # time.monotonic()
    held: Held | None = None
    text: ReplyText | None = None  # only where it is needed to find stop strings
    generator: torch.Generator | None = None
    tokens: list[int] = field(default_factory=list)  # prompt and reply, as far as known
    logprobs: list[float] = field(default_factory=list)
    tops: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    computed: int = 0
    unknown: int = 0
    row: int = 0  # of its unknown token in the step that chose it
    named: int = 0  # pages that were found in the prefix cache, or entered there
    found: int = 0  # of these, pages that others had filled
    cuts: int = 0  # of its prompt's, those it has read past
    waits_for: bytes | None = None
    features: dict[int, VisualFeatures] = field(default_factory=dict)  # by picture, while its prompt is read
    finish: Finish | None = None
    error: Exception | None = None
    shown_text: str = ""
    reused_tokens: int | None = None
    laps_ms: dict[str, float] = field(default_factory=dict)
    lap_began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt.ids)
        self.names = list(self.prompt.names)

    @property
    def said(self) -> int:
        """Tokens of the reply that are known."""
        return len(self.tokens) - len(self.prompt.ids)

    @property
    def length(self) -> int:
        """Tokens of prompt and reply, the unknown one included."""
        return len(self.tokens) + self.unknown

    @property
    def over(self) -> bool:
        """Whether it has come to its end, whatever end."""
        return self.finish is not None or self.error is not None

    def place(self, at: int) -> int | None:
        """The position, on all three axes, of one token of the reply; None for a token of the prompt."""
        after = at - len(self.prompt.ids)
        return self.prompt.next_position + after if after >= 0 else None

    def positions(self, start: int, end: int) -> NDArray[np.int64]:
        """Positions (3, end - start) of some of its tokens."""
        given = self.prompt.positions
        length = given.shape[1]
        if end <= length:
            return given[:, start:end]
        after = np.arange(max(start, length) - length, end - length, dtype=np.int64) + self.prompt.next_position
        behind = np.broadcast_to(after, (3, len(after)))
        return behind if start >= length else np.concatenate((given[:, start:], behind), 1)

    def name_pages(self, page_tokens: int) -> None:
        """Name all pages that known tokens fill."""
        extend_names(self.names, self.tokens, page_tokens, self.prompt.page_digests)

    def lap(self, name: str, since: float | None = None) -> None:
        """Count the time since the last lap, or since then, under a name."""
        now = time.perf_counter()
        began = self.lap_began if since is None else since
        self.laps_ms[name] = self.laps_ms.get(name, 0.0) + (now - began) * 1000
        self.lap_began = now

    def reply(self, processor: Processor) -> Reply:
        """What was said, once it is over and no error."""
        assert self.finish is not None, "a reply that is not over"
        start = len(self.prompt.ids)
        ids = self.tokens[start:]
        text = self.shown_text if self.text is not None else processor.decode(ids)
        top = tuple(self.top(i) for i in range(len(ids)))
        return Reply(tuple(ids), tuple(self.logprobs), top, self.finish, self.laps_ms, self.reused_tokens or 0, text)

    def top(self, place: int) -> Top:
        """The likeliest tokens at a place of the reply."""
        if not self.sampling.alternatives or not self.sampling.logprobs:
            return ()
        ids, logprobs = self.tops[place]
        count = self.sampling.alternatives
        return tuple(zip(ids[:count].tolist(), logprobs[:count].tolist(), strict=True))

    def let_go(self) -> None:
        """Features that lie behind what was read are not needed any more."""
        for number in tuple(self.features):
            if self.prompt.pictures[number].places[-1] < self.computed:
                del self.features[number]


def pages_of(tokens: int, page_tokens: int) -> int:
    """Pages that so many tokens fill or begin."""
    return -(-tokens // page_tokens)
