"""A checkpoint in this process as a backend. torch is imported here, on first use of a local model."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from deixis.backends.base import Clip, Completion, Conversation, Finish, Look, ModelCard, Part, Pixels, Schema, TokenProb
from deixis.backends.tokens import TokenTexts
from deixis.engine import LocalEngine, Reply, Sampling, Ticket, can_constrain
from deixis.errors import CheckpointError
from deixis.geometry import FrontAxis
from deixis.model import open_checkpoint

CARD = "deixis.json"
_FENCED = re.compile(r"\n*(?:```json\n)?(?P<json>.*?)(?:\n```)?", re.DOTALL)


class LocalBackend:
    """Answers with a `LocalEngine`. It holds replies to schemas where llguidance is installed, and its card says whether."""

    def __init__(self, engine: LocalEngine, card: ModelCard) -> None:
        self._engine = engine
        self._card = replace(card, enforces_schema=can_constrain())
        # Alternatives repeat: ten a token, mostly digits and punctuation.
        self._token_text = lru_cache(maxsize=65_536)(
            lambda number: engine.checkpoint.processor.decode([number], skip_special=False)
        )

    @classmethod
    def open(cls, directory: Path | str, *, device: str | None = None) -> LocalBackend:
        """Load a checkpoint directory; on the GPU if there is one, unless `device` says otherwise. Raises CheckpointError."""
        import torch

        directory = Path(directory)
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        card = read_card(directory)
        return cls(LocalEngine(open_checkpoint(directory, chosen)), card)

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def engine(self) -> LocalEngine:
        """What computes, for whoever drives it or asks what it holds."""
        return self._engine

    def named(self, card: ModelCard) -> LocalBackend:
        """The same engine under another card."""
        return LocalBackend(self._engine, card)

    def fresh(self) -> LocalBackend:
        """The same checkpoint and card with nothing remembered: every picture is new to it."""
        return LocalBackend(LocalEngine(self._engine.checkpoint), self._card)

    def complete(
        self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0, schema: Schema | None = None
    ) -> Completion:
        """The engine's reply. Under a schema its text is bare JSON that matches, unless it ended at its limit ("length")."""
        started = time.perf_counter()
        schema = schema if self._card.enforces_schema else None
        reply = self._engine.complete(
            self._shown(conversation).to_messages(), max_new_tokens=max_new_tokens, temperature=temperature, schema=schema
        )
        read = self.read(reply, held=schema is not None)
        return replace(read, timings_ms={**reply.timings_ms, "total": (time.perf_counter() - started) * 1000})

    def submit(
        self, messages: Sequence[Mapping[str, Any]], sampling: Sampling, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> Ticket:
        """Ask for replies without waiting: messages as `deixis.model.Processor.encode` reads them, pictures of any size."""
        return self._engine.engine.submit([self._message_shown(message) for message in messages], sampling, tools=tools)

    def read(self, reply: Reply, *, held: bool) -> Completion:
        """A reply as text with its tokens' probabilities. One that was `held` to a schema is bare JSON."""
        count = len(reply.ids) - (reply.finish == "stop")
        texts = TokenTexts(self._engine.checkpoint.processor.decode)
        tokens = [
            TokenProb(
                texts.add(reply.ids[i]),
                reply.logprobs[i],
                tuple((self._token_text(number), logprob) for number, logprob in reply.top[i]),
            )
            for i in range(count)
        ]
        if rest := texts.rest():
            tokens[-1] = replace(tokens[-1], text=rest)
        text = "".join(token.text for token in tokens)
        # What did not stop by itself was too long, was called off, or ran out of time.
        finish: Finish = "stop" if reply.finish == "stop" else "length"
        whole = Completion(text, tuple(tokens), finish, self._card.name, reply.timings_ms)
        return self._bare(whole, reply.ids) if held else whole.split()

    def _shown(self, conversation: Conversation) -> Conversation:
        """The conversation with its pictures as the model knows them (see `ModelCard.sizes`)."""
        if not self._card.sizes:
            return conversation
        turns = (replace(turn, parts=tuple(self._part_shown(part) for part in turn.parts)) for turn in conversation.turns)
        return Conversation(tuple(turns))

    def _message_shown(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._card.sizes or not isinstance(message.get("content"), list):
            return message
        parts = [dict(part) for part in message["content"]]
        for part in parts:
            if part["type"] == "image":
                part["image"] = self._resized(part["image"])
            elif part["type"] == "video":
                part["frames"] = [self._resized(frame) for frame in part["frames"]]
        return {**message, "content": parts}

    def _part_shown(self, part: Part) -> Part:
        if isinstance(part, str):
            return part
        if isinstance(part, Clip):  # the frames are of one size, and stay so
            return replace(part, frames=tuple(self._resized(frame) for frame in part.frames))
        return self._resized(part)

    def _resized(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        size = min(self._card.sizes, key=lambda size: abs(math.log(size[0] / size[1] * height / width)))
        return pixels if size == (width, height) else np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))

    def _bare(self, whole: Completion, ids: Sequence[int]) -> Completion:
        """A reply under a schema without its thought, which is `reasoning`, and without its fence."""
        end = self._engine.checkpoint.processor.tokenizer.token_id("</think>")
        # The token, not its name: JSON may spell the name out in a string.
        thought = "".join(token.text for token in whole.tokens[: ids.index(end) + 1]) if end in ids else ""
        fenced = _FENCED.fullmatch(whole.text, len(thought))
        assert fenced is not None  # the expression matches any text
        reasoning = thought.removesuffix("</think>").removeprefix("<think>").strip("\n")
        return replace(whole.cut(*fenced.span("json")), reasoning=reasoning)

    def look(self, conversation: Conversation, *, max_new_tokens: int) -> Look:
        """Reply greedily, then read conversation and reply once more with the attention's weights kept."""
        messages = self._shown(conversation).to_messages()
        reply = self._engine.complete(messages, max_new_tokens=max_new_tokens)
        said = reply.ids[: len(reply.ids) - (reply.finish == "stop")] or reply.ids
        seen = self._engine.attention(messages, said)
        return Look(self._engine.checkpoint.processor.decode(said).strip(), seen.answer, seen.unasked)


def read_card(directory: Path) -> ModelCard:
    """What a checkpoint's `deixis.json` says of it; without one, only its name. Raises CheckpointError for a malformed one."""
    name = directory.resolve().name
    thinking = "thinking" in name.lower()
    path = directory / CARD
    if not path.is_file():
        return ModelCard(name, thinking=thinking, directory=directory)
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        focal = (raw.get("virtual_camera") or {}).get("focal_over_long_side")
        card = ModelCard(
            str(raw.get("name", name)),
            virtual_focal=None if focal is None else float(focal),
            knows=str(raw.get("knows", "")),
            thinking=thinking,
            box_front=raw.get("box_front"),
            directory=directory,
            sizes=tuple((int(width), int(height)) for width, height in raw.get("sizes", ())),
            words=tuple((str(en), str(zh)) for en, zh in raw.get("words", ())),
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); expected JSON with name, knows and virtual_camera") from error
    if card.box_front not in (None, *get_args(FrontAxis)):
        raise CheckpointError(f"{path} has box_front {card.box_front!r}; expected one of {', '.join(get_args(FrontAxis))}")
    if any(not 32 <= side <= 16_384 for size in card.sizes for side in size):
        raise CheckpointError(f"{path} has sizes {card.sizes}; expected pairs of 32 to 16384 pixels")
    if card.virtual_focal is not None and not 0 < card.virtual_focal < float("inf"):
        raise CheckpointError(f"{path} has focal_over_long_side {card.virtual_focal}; expected a positive number")
    return card
