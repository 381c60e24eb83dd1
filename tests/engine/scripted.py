"""An engine that says what a test wants it to say, as far as a schema lets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deixis.engine import LocalEngine, Reply
from deixis.model import Checkpoint


class ScriptedEngine(LocalEngine):
    """Reads like any engine; its scores come from scripts, the most wanted first.

    The likeliest token is the next one of the first script that begins with what was said so far, or a stop token at its end.
    Scripts are texts; a special token's name in them is the token.
    """

    def __init__(self, checkpoint: Checkpoint, scripts: Sequence[str]) -> None:
        super().__init__(checkpoint)
        tokenizer = checkpoint.processor.tokenizer
        self._bytes = tokenizer.token_bytes()
        self._byte_ids = {piece: number for number, piece in self._bytes.items() if len(piece) == 1}
        self._scripts: list[tuple[bytes, dict[int, int]]] = []  # bytes, and which token starts at which of them
        for script in scripts:
            at, starts = 0, {}
            for number in tokenizer.encode_structure(script, "\0"):
                starts[at] = number
                at += len(self._bytes[number])
            starts[at] = min(checkpoint.stop_ids)
            self._scripts.append((script.encode(), starts))

    def _decode(self, *args: Any) -> Reply:
        model = self.checkpoint.model
        said = bytearray()
        logits, embed = model.logits, model.embed

        def scripted(hidden: Tensor) -> Tensor:
            scores = torch.zeros_like(logits(hidden))
            for rank, (script, starts) in enumerate(self._scripts):
                if script.startswith(said):
                    at = len(said)
                    scores[starts[at] if at in starts else self._byte_ids[script[at : at + 1]]] += 10.0 / (1 + rank)
            return scores

        def heard(ids: Tensor) -> Tensor:
            for number in ids.flatten().tolist():
                said.extend(self._bytes[number])
            return embed(ids)

        model.logits, model.embed = scripted, heard  # type: ignore[method-assign]
        try:
            return super()._decode(*args)
        finally:
            del model.logits, model.embed
