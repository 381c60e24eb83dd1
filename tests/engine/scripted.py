"""An engine that says what a test wants it to say, as far as a schema lets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deixis.engine import Engine, LocalEngine, Reply
from deixis.engine.network import Network
from deixis.engine.step import KVPages, Step
from deixis.model import Checkpoint


class ScriptedEngine(LocalEngine):
    """Reads like any engine, one conversation at a time; its scores come from scripts, the most wanted first.

    The likeliest token is the next one of the first script that begins with what was said so far, or a stop token at its end.
    Scripts are texts; a special token's name in them is the token.
    """

    def __init__(self, checkpoint: Checkpoint, scripts: Sequence[str]) -> None:
        super().__init__(checkpoint)
        self._network = _ScriptedNetwork(checkpoint, scripts)
        self.engine = Engine(checkpoint, network=self._network)

    def complete(self, messages: Any, **settings: Any) -> Reply:
        self._network.prompt_length = self.checkpoint.processor.encode(messages).length
        self._network.said.clear()
        return super().complete(messages, **settings)


class _ScriptedNetwork(Network):
    def __init__(self, checkpoint: Checkpoint, scripts: Sequence[str]) -> None:
        super().__init__(checkpoint.model)
        tokenizer = checkpoint.processor.tokenizer
        self.prompt_length = 0
        self.said = bytearray()
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

    def forward(self, step: Step, kv: KVPages) -> Tensor:
        (span,) = step.spans
        for number in step.input_ids[max(self.prompt_length - span.start, 0) :].tolist():
            self.said.extend(self._bytes[number])
        return super().forward(step, kv)

    def logits(self, hidden: Tensor) -> Tensor:
        scores = torch.zeros_like(super().logits(hidden))
        for rank, (script, starts) in enumerate(self._scripts):
            if script.startswith(self.said):
                at = len(self.said)
                scores[:, starts[at] if at in starts else self._byte_ids[script[at : at + 1]]] += 10.0 / (1 + rank)
        return scores
