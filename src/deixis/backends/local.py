"""A checkpoint in this process as a backend. torch is imported here, on first use of a local model."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from deixis.backends.base import Completion, Conversation, ModelCard, TokenProb
from deixis.backends.tokens import TokenTexts
from deixis.engine import LocalEngine
from deixis.errors import CheckpointError
from deixis.model import open_checkpoint

CARD = "deixis.json"


class LocalBackend:
    """Answers with a `LocalEngine`."""

    def __init__(self, engine: LocalEngine, card: ModelCard) -> None:
        self._engine = engine
        self._card = card
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

    def named(self, card: ModelCard) -> LocalBackend:
        """The same engine under another card."""
        return LocalBackend(self._engine, card)

    def complete(self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0) -> Completion:
        started = time.perf_counter()
        reply = self._engine.complete(conversation.to_messages(), max_new_tokens=max_new_tokens, temperature=temperature)
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
        timings = {**reply.timings_ms, "total": (time.perf_counter() - started) * 1000}
        text = "".join(token.text for token in tokens)
        return Completion(text, tuple(tokens), reply.finish, self._card.name, timings).split()


def read_card(directory: Path) -> ModelCard:
    """What a checkpoint's `deixis.json` says of it; without one, only its name. Raises CheckpointError for a malformed one."""
    name = directory.resolve().name
    thinking = "thinking" in name.lower()
    path = directory / CARD
    if not path.is_file():
        return ModelCard(name, thinking=thinking)
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        focal = (raw.get("virtual_camera") or {}).get("focal_over_long_side")
        card = ModelCard(
            str(raw.get("name", name)),
            virtual_focal=None if focal is None else float(focal),
            knows=str(raw.get("knows", "")),
            thinking=thinking,
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); expected JSON with name, knows and virtual_camera") from error
    if card.virtual_focal is not None and not 0 < card.virtual_focal < float("inf"):
        raise CheckpointError(f"{path} has focal_over_long_side {card.virtual_focal}; expected a positive number")
    return card
