"""One conversation at a time through one checkpoint in this process, paying for each picture once.

Knows tokens, caches and probabilities. Does not know what is asked. Its slow reference is `deixis.model.generate`, which it must
equal (test). Two things are kept between calls: the ViT's features of recent pictures, by content, and the keys and values of the
last conversation, so that a second question about the same picture reads only its own words.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from deixis.engine.attention import Attention, AttentionTap
from deixis.engine.constrain import Grammars, Held
from deixis.errors import InputError, OptionError
from deixis.model import Checkpoint, KVCache, ModelInput, VisualFeatures

VISION_CACHE_BYTES = 256 * 2**20
ALTERNATIVES = 10  # all ten digits of a coordinate
# Below this, one token's products are too small to share between CPU threads: waiting for one another costs as much as it saves,
# and a hundred times as much where other programs want the cores (measured: 24 M parameters, 3 ms a token on one, 270 ms on two).
ONE_THREAD_PARAMETERS = 100_000_000


@dataclass(frozen=True)
class Reply:
    """Generated ids with their log-probabilities, and at each place the likeliest `(id, logprob)`, best first.

    With finish "stop" the last id is the stop token. Probabilities and alternatives are the network's own, before temperature
    and before any schema: under one, the chosen id need not be the likeliest.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[tuple[tuple[int, float], ...], ...]
    finish: Literal["stop", "length"]
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    reused_tokens: int = 0


@dataclass
class _Conversation:
    """What the kept cache holds: its tokens, and the contents of their pictures."""

    ids: list[int]
    pictures: tuple[bytes, ...]
    cache: KVCache


class LocalEngine:
    """Serves one checkpoint. Safe to call from several threads: calls take turns."""

    def __init__(self, checkpoint: Checkpoint, *, vision_cache_bytes: int = VISION_CACHE_BYTES) -> None:
        self.checkpoint = checkpoint
        self._features: OrderedDict[bytes, VisualFeatures] = OrderedDict()
        self._features_limit = vision_cache_bytes
        self._last: _Conversation | None = None
        self._grammars = Grammars(checkpoint)
        self._turn = threading.Lock()
        parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
        self._alone = checkpoint.model.device.type == "cpu" and parameters < ONE_THREAD_PARAMETERS

    @torch.inference_mode()
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
        if max_new_tokens < 1 or not 0 <= temperature < float("inf"):
            raise OptionError(f"max_new_tokens is {max_new_tokens}, temperature {temperature}; expected at least 1 and 0 or more")
        with self._turn:
            clock = _Clock()
            inputs = self.checkpoint.processor.encode(messages)
            pictures = tuple(_content(part) for kind in ("image", "video") for part in _pictures(messages, kind))
            limit = self.checkpoint.config.text.max_position_embeddings
            if inputs.length >= limit:
                raise InputError(
                    f"the conversation has {inputs.length} tokens and the model reads {limit}: ask less, or send smaller pictures"
                )
            clock.lap("prepare")
            room = min(max_new_tokens, limit - inputs.length)
            ids: list[int] = inputs.input_ids.tolist()
            held = None if schema is None else self._grammars.hold(schema, ids)
            kept, self._last = self._last, None  # a call that fails half way leaves nothing half read behind
            cache, reused = self._resume(kept, ids, pictures, inputs)
            hidden = self._read(inputs, pictures, cache, reused, clock)
            clock.lap("prefill")
            with _threads(1 if self._alone else torch.get_num_threads()):
                reply = self._decode(hidden, cache, inputs.next_position, room, temperature, seed, held)
            clock.lap("decode")
            # The last token was chosen and never read.
            self._last = _Conversation([*ids, *reply.ids[:-1]], pictures, cache)
            return Reply(reply.ids, reply.logprobs, reply.top, reply.finish, clock.laps_ms, reused)

    @torch.inference_mode()
    def attention(self, messages: Sequence[Mapping[str, Any]], answer: Sequence[int]) -> Attention:
        """Where the network looks in the first picture while it says `answer` (ids) to the conversation; reads it all once more.

        Raises InputError without a picture or an answer. Leaves the kept conversation as it is.
        """
        with self._turn:
            inputs = self.checkpoint.processor.encode(messages)
            if not inputs.image_grids or not answer:
                raise InputError("attention is shown for an answer about a picture: one of the two is missing")
            pictures = tuple(_content(part) for kind in ("image", "video") for part in _pictures(messages, kind))
            model = self.checkpoint.model
            whole = inputs.followed_by(answer[:-1])  # the last token was chosen and never read
            t, h, w = inputs.image_grids[0]
            merge = self.checkpoint.config.vision.spatial_merge_size
            patches = inputs.visual_index[: t * h * w // merge**2]
            tap = AttentionTap([int(patches[-1]) + 1, *range(inputs.length - 1, whole.length)], patches)
            model(whole.to(model.device), features=self._see(inputs, pictures), attend=tap)
            weights = tap.result((h // merge, w // merge))
            return Attention(weights[:, 1:], weights[:, 0])

    def _resume(
        self, kept: _Conversation | None, ids: list[int], pictures: tuple[bytes, ...], inputs: ModelInput
    ) -> tuple[KVCache, int]:
        """The kept cache cut to what this conversation shares with it, or a fresh one; and how many tokens that saves."""
        if kept is not None and kept.pictures == pictures:
            # At least the last token is read again: its hidden state gives the first new token.
            most = min(len(ids) - 1, len(kept.ids))
            shared = next((i for i in range(most) if ids[i] != kept.ids[i]), most)
            # Up to the last picture, so that none is cut in two.
            if inputs.visual_index.numel() == 0 or shared > int(inputs.visual_index.max()):
                kept.cache.crop(shared)
                return kept.cache, shared
        return KVCache(self.checkpoint.config.text.num_hidden_layers), 0

    def _read(self, inputs: ModelInput, pictures: tuple[bytes, ...], cache: KVCache, done: int, clock: _Clock) -> Tensor:
        """Read what the cache does not hold; the last token's hidden state (1, 1, hidden)."""
        model = self.checkpoint.model
        features = None
        if done:
            _, inputs = inputs.split(done, self.checkpoint.config)
        elif pictures:
            features = self._see(inputs, pictures)
            clock.lap("vision")
        hidden: Tensor = model(inputs.to(model.device), features=features, cache=cache)
        return hidden[:, -1:]

    def _see(self, inputs: ModelInput, pictures: tuple[bytes, ...]) -> VisualFeatures:
        """Features of all pictures in order: kept ones, and the ViT's for the others."""
        model = self.checkpoint.model
        grids = (*inputs.image_grids, *inputs.video_grids)
        patches = torch.cat([given for given in (inputs.patches, inputs.video_patches) if given is not None])
        parts: list[VisualFeatures] = []
        at = 0
        for content, (t, h, w) in zip(pictures, grids, strict=True):
            own = patches[at : at + t * h * w]
            at += t * h * w
            found = self._features.get(content)
            if found is None:
                merged, deepstack = model.visual(own.to(model.device), ((t, h, w),))
                found = VisualFeatures(merged, tuple(deepstack))
            self._keep(content, found)
            parts.append(found)
        return VisualFeatures.join(parts)

    def _keep(self, content: bytes, features: VisualFeatures) -> None:
        """The most recently seen pictures stay, up to the limit in bytes."""
        self._features[content] = features
        self._features.move_to_end(content)
        while self._features and sum(kept.nbytes for kept in self._features.values()) > self._features_limit:
            self._features.popitem(last=False)

    def _decode(
        self, hidden: Tensor, cache: KVCache, position: int, room: int, temperature: float, seed: int, held: Held | None
    ) -> Reply:
        model = self.checkpoint.model
        generator = torch.Generator().manual_seed(seed)
        ids: list[int] = []
        logprobs: list[float] = []
        top: list[tuple[tuple[int, float], ...]] = []
        while True:
            scores = model.logits(hidden[0, -1]).float().log_softmax(-1)  # (vocab,)
            best, order = scores.topk(min(ALTERNATIVES, scores.shape[0]))
            top.append(tuple(zip(order.tolist(), best.tolist(), strict=True)))
            if temperature > 0:
                chosen = _drawn(scores if held is None else held.masked(scores), temperature, generator)
            elif held is None:
                chosen = top[-1][0][0]
            else:
                chosen = held.likeliest([token for token, _ in top[-1]], scores)
            if held is not None:
                held.advance(chosen)
            ids.append(chosen)
            logprobs.append(float(scores[chosen]))
            if chosen in self.checkpoint.stop_ids:
                return Reply(tuple(ids), tuple(logprobs), tuple(top), "stop")
            if len(ids) == room:
                return Reply(tuple(ids), tuple(logprobs), tuple(top), "length")
            token = torch.tensor([[chosen]], device=model.device)
            at = torch.full((3, 1, 1), position, device=model.device)
            hidden = model.language(model.embed(token), at, cache=cache)
            position += 1


class _Clock:
    """Milliseconds between laps, by name."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps_ms[name] = self.laps_ms.get(name, 0.0) + (now - self._last) * 1000
        self._last = now


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many CPU threads inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _drawn(scores: Tensor, temperature: float, generator: torch.Generator) -> int:
    """A token by its probability at a temperature. On the CPU, as the reference draws, so that a seed means the same anywhere."""
    return int(torch.multinomial((scores.cpu() / temperature).softmax(-1), 1, generator=generator))


def _pictures(messages: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [
        part
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == kind
    ]


def _content(part: Mapping[str, Any]) -> bytes:
    """A digest of a picture's or a video's pixels and shape."""
    pixels = np.ascontiguousarray(part["image"] if part["type"] == "image" else np.asarray(part["frames"]))
    digest = hashlib.sha256(repr((part["type"], pixels.shape)).encode())
    digest.update(pixels.data)
    return digest.digest()
