"""One call, one reply: the engine for callers that wait.

Knows `Engine` and, for explanations, attention. Does not know what is asked. Calls from several threads share steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from deixis.engine.attention import Attention, AttentionTap
from deixis.engine.engine import Engine
from deixis.engine.request import Reply, Sampling
from deixis.engine.settings import EngineSettings
from deixis.errors import InputError
from deixis.model import Checkpoint, VisualFeatures

VISION_CACHE_BYTES = 256 * 2**20


class LocalEngine:
    """Serves one checkpoint. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, *, vision_cache_bytes: int = VISION_CACHE_BYTES) -> None:
        self.checkpoint = checkpoint
        self.engine = Engine(checkpoint, EngineSettings(vision_cache_bytes=vision_cache_bytes))

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Continue a conversation (messages as `Processor.encode` reads them) to a stop token or `max_new_tokens`.

        Temperature 0 is greedy. With a JSON schema the reply is JSON that matches it, bare or in a ```json fence, behind the
        thought where the conversation opens one; only `max_new_tokens` can cut it short (finish "length").
        Raises InputError for a conversation that leaves no room for an answer, OptionError for settings out of range, and
        SchemaError for a schema that no reply can be held to.
        """
        asked = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, schema=schema)
        return self.engine.submit(messages, asked).result()

    @torch.inference_mode()
    def attention(self, messages: Sequence[Mapping[str, Any]], answer: Sequence[int]) -> Attention:
        """Where the network looks in the first picture while it says `answer` (ids) to the conversation; reads it all once more.

        Raises InputError without a picture or an answer. Leaves what the engine keeps as it is.
        """
        inputs = self.checkpoint.processor.outline(messages)
        if not inputs.image_grids or not answer:
            raise InputError("attention is shown for an answer about a picture: one of the two is missing")
        model = self.checkpoint.model
        whole = inputs.followed_by(answer[:-1])  # the last token was chosen and never read
        _, h, w = inputs.image_grids[0]
        merge = self.checkpoint.config.vision.spatial_merge_size
        patches = inputs.visual_index[: h * w // merge**2]
        tap = AttentionTap([int(patches[-1]) + 1, *range(inputs.length - 1, whole.length)], patches)
        features = VisualFeatures.join(self.engine.features(messages))
        model(whole.to(model.device), features=features, attend=tap)
        weights = tap.result((h // merge, w // merge))
        return Attention(weights[:, 1:], weights[:, 0])
