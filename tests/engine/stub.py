"""A network without weights, whose every token depends on all tokens before it, as it finds them in the pages it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from deixis.engine.ops import TorchOps
from deixis.engine.step import Step
from deixis.model import Checkpoint, Grid, VisualFeatures

SEEN = 7  # what a visual token counts as, before its feature


class StubPages:
    """Where the keys would be: the tokens themselves."""

    def __init__(self, count: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self.tokens = np.full((count, page_tokens), -1, np.int64)


class StubNetwork:
    """Stands in for `Network`. `break_at` may raise, or give logits back changed, for a step."""

    def __init__(self, checkpoint: Checkpoint, break_at: Callable[[Step, Tensor], Tensor] | None = None) -> None:
        self.model = checkpoint.model
        self.ops = TorchOps()
        self.config = checkpoint.config
        self.device = torch.device("cpu")
        self.break_at = break_at
        self.steps: list[Step] = []
        self._vocab = checkpoint.config.text.vocab_size
        self._merge = checkpoint.config.vision.spatial_merge_size**2
        self._step: Step | None = None

    def pages(self, count: int, page_tokens: int) -> StubPages:
        return StubPages(count, page_tokens)

    def warm(self, kv: StubPages) -> None:
        """Nothing to prepare."""

    def see(self, patches: Tensor, grids: Sequence[Grid]) -> VisualFeatures:
        features = [
            part.reshape(-1, self._merge * part.shape[1]).mean(-1, keepdim=True)
            for part in patches.split([t * h * w for t, h, w in grids])
        ]
        return VisualFeatures(torch.cat(features), ())

    def forward(self, step: Step, kv: StubPages) -> Tensor:
        self._step = step
        if step.copies is not None:
            source, target = step.copies.numpy()
            kv.tokens.reshape(-1)[target] = kv.tokens.reshape(-1)[source]
        values = step.input_ids.numpy().copy()
        if step.features is not None:
            values[step.visual_rows.numpy()] = SEEN + (step.features.merged[:, 0].double().numpy() * 1e6).astype(np.int64)
        kv.tokens.reshape(-1)[step.slots.numpy()] = values
        hidden, at = [], 0
        wanted = set(step.wanted.tolist())
        for span in step.spans:
            at += span.count
            if at - 1 in wanted:
                hidden.append(said_after(kv.tokens[list(span.pages[: -(-span.end // kv.page_tokens)])].reshape(-1)[: span.end]))
        return torch.tensor(hidden, dtype=torch.int64)

    def logits(self, hidden: Tensor) -> Tensor:
        logits = torch.zeros(len(hidden), self._vocab)
        logits[torch.arange(len(hidden)), hidden % self._vocab] = 9.0
        return logits if self.break_at is None else self.break_at(self._step, logits)


def said_after(tokens: np.ndarray) -> int:
    """A number that depends on every token and its place."""
    weights = np.arange(1, len(tokens) + 1, dtype=np.int64) * 2_654_435_761 % 1_000_003
    return int((tokens * weights).sum() % 1_000_003)
