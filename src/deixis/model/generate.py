"""Reference generation: one conversation, one token after another, greedy or sampled.

Knows logits and caches. Does not know text. The fast engine is measured against this loop.
Sources: transformers 5.17 ``generation/logits_process.py`` for the order temperature, top-k, top-p.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deixis.errors import InputError, OptionError
from deixis.model.cache import KVCache
from deixis.model.inputs import ModelInput, VisualFeatures
from deixis.model.qwen3vl import Qwen3VL


@dataclass(frozen=True)
class Generation:
    """What was generated. With finish "stop" the last id is the stop token.

    ``logprobs`` are the chosen tokens' log-probabilities under the network itself, before temperature and truncation.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Literal["stop", "length"]


@dataclass(frozen=True)
class Prefix:
    """The beginning of a conversation, already read; serves one generation at a time."""

    inputs: ModelInput
    cache: KVCache
    hidden: Tensor  # (1, 1, hidden) of its last token

    @property
    def length(self) -> int:
        """Tokens read."""
        return self.inputs.length


@torch.inference_mode()
def prefill(model: Qwen3VL, inputs: ModelInput, *, features: VisualFeatures | None = None) -> Prefix:
    """Read ``inputs`` so that several conversations that begin with them pay only for the rest.

    ``features`` (from ``Qwen3VL.encode``) spare the ViT. Cut a conversation with ``ModelInput.split``.
    """
    if inputs.length == 0:
        raise InputError("there are no tokens to read, expected at least one")
    inputs = inputs.to(model.device)
    cache = KVCache(model.config.text.num_hidden_layers)
    hidden = model(inputs, features=features, cache=cache)
    return Prefix(inputs, cache, hidden[:, -1:])


@torch.inference_mode()
def generate(
    model: Qwen3VL,
    inputs: ModelInput,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    generator: torch.Generator | None = None,
    stop_ids: Collection[int] = (),
    prefix: Prefix | None = None,
    features: VisualFeatures | None = None,
) -> Generation:
    """Continue ``inputs`` by at most ``max_new_tokens`` tokens, up to and including the first of ``stop_ids``.

    ``temperature`` 0 is greedy; otherwise ``top_k`` (0: all) and then ``top_p`` truncate, and ``generator`` (on the CPU) draws.
    ``prefix`` holds the first tokens of ``inputs``, pictures included: the caller vouches that its pictures are the same.
    ``features`` are those of the pictures behind the prefix. A full context ends generation with "length".
    Raises OptionError for settings out of range, InputError where the conversation leaves no room for an answer.
    """
    _check(max_new_tokens, temperature, top_p, top_k)
    limit, length = model.config.text.max_position_embeddings, inputs.length
    if length == 0 or length >= limit:
        raise InputError(f"the conversation has {length} tokens, expected 1 to {limit - 1}: shorten it or send smaller pictures")
    inputs = inputs.to(model.device)
    started = _resume(model, inputs, prefix, features)
    cache, hidden = started.cache, started.hidden
    position, ids, logprobs = inputs.next_position, list[int](), list[float]()
    try:
        while True:
            logits = model.logits(hidden[0, -1]).float()  # (vocab,)
            chosen = _choose(logits, temperature, top_p, top_k, generator)
            ids.append(chosen)
            logprobs.append(float(logits.log_softmax(-1)[chosen]))
            if chosen in stop_ids:
                return Generation(tuple(ids), tuple(logprobs), "stop")
            if len(ids) == max_new_tokens or length + len(ids) >= limit:
                return Generation(tuple(ids), tuple(logprobs), "length")
            token = torch.tensor([[chosen]], device=model.device)
            at = torch.full((3, 1, 1), position, device=model.device)
            hidden = model.language(model.embed(token), at, cache=cache)
            position += 1
    finally:
        if prefix is not None:
            cache.crop(prefix.length)


def _resume(model: Qwen3VL, inputs: ModelInput, prefix: Prefix | None, features: VisualFeatures | None) -> Prefix:
    """Read what ``prefix`` has not read yet, into its own cache."""
    if prefix is None:
        return prefill(model, inputs, features=features)
    done = prefix.length
    if not torch.equal(inputs.input_ids[:done], prefix.inputs.input_ids) or not torch.equal(
        inputs.positions[:, :done], prefix.inputs.positions
    ):
        raise InputError(f"the conversation does not begin with the {done} tokens of the given prefix")
    if done == inputs.length:
        return prefix
    _, rest = inputs.split(done, model.config)
    hidden = model(rest, features=features, cache=prefix.cache)
    return Prefix(inputs, prefix.cache, hidden[:, -1:])


def distribution(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Probabilities (vocab,) that sampling draws from, given (vocab,) float32 logits and a temperature above 0."""
    ordered, order = (logits / temperature).sort(descending=True, stable=True)
    if top_k:
        ordered = ordered[:top_k]
    kept = ordered.softmax(-1)
    if top_p < 1:
        # Everything up to and including the token that reaches top_p.
        kept = kept.masked_fill(kept.cumsum(-1) - kept >= top_p, 0)
    return torch.zeros_like(logits).index_put((order[: len(kept)],), kept / kept.sum())


def _choose(logits: Tensor, temperature: float, top_p: float, top_k: int, generator: torch.Generator | None) -> int:
    """One token of (vocab,) float32 logits."""
    if temperature == 0:
        return int(logits.argmax())
    # Drawn on the CPU, so that a seed means the same on every device.
    return int(torch.multinomial(distribution(logits.cpu(), temperature, top_k, top_p), 1, generator=generator))


def _check(max_new_tokens: int, temperature: float, top_p: float, top_k: int) -> None:
    if max_new_tokens < 1:
        raise OptionError(f"max_new_tokens is {max_new_tokens}, expected at least 1")
    if not 0 <= temperature < float("inf"):
        raise OptionError(f"temperature is {temperature}, expected a number from 0 (greedy) up")
    if not 0 < top_p <= 1:
        raise OptionError(f"top_p is {top_p}, expected above 0 and at most 1")
    if top_k < 0:
        raise OptionError(f"top_k is {top_k}, expected 0 (all tokens) or more")
