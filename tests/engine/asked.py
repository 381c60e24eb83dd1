"""What the engine's tests ask, and what the reference loop says to each request alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import torch

from deixis.engine import EngineSettings, Reply, Sampling
from deixis.engine.step import KVPages
from deixis.model import Checkpoint, generate
from tests.model import tiny

MOST_TOKENS = 10


def about(text: str, *pictures: int) -> list[dict[str, Any]]:
    images = [{"type": "image", "image": tiny.photo(64, 32 * (1 + seed), seed)} for seed in pictures]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


VIDEO = {"type": "video", "frames": tiny.clip(4, 64, 64, 1), "timestamps_s": [0.0, 0.5, 1.0, 1.5]}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "short": about("Hello"),
    "longer": about("Hello there, where is the red cup? Report bbox coordinates"),
    "longest": about("Locate every instance of the red cup. Report bbox coordinates in JSON format. " * 3),
    "one picture": about("Where is the cup?", 1),
    "same picture": about("Where is the blue book left of the keyboard?", 1),
    "same beginning": about("Where is the cup? yes", 1),
    "other picture": about("Where is the cup?", 2),
    "two pictures": about("Where is the cup?", 1, 2),
    "other order": about("Where is the cup?", 2, 1),
    "twice the same": about("Where is the cup?", 1, 1),
    "three": about("Where?", 1, 2, 3),
    "video": [{"role": "user", "content": [VIDEO, {"type": "text", "text": "What moves?"}]}],
    "video and picture": [{"role": "user", "content": [VIDEO, *about("Where?", 2)[0]["content"]]}],
    "turns": [*about("Where is the cup?", 1), {"role": "assistant", "content": "left"}, {"role": "user", "content": "Sure?"}],
}


@dataclass(frozen=True)
class Expected:
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str
    text: str


class Reference:
    """The reference loop's replies, each computed once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._longest = lru_cache(maxsize=None)(self._generate)

    def _generate(self, name: str, temperature: float, top_k: int, top_p: float, seed: int, ignore: bool) -> Any:
        return generate(
            self.checkpoint.model,
            self.checkpoint.processor.encode(CONVERSATIONS[name]),
            max_new_tokens=MOST_TOKENS,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=torch.Generator().manual_seed(seed),
            stop_ids=() if ignore else self.checkpoint.stop_ids,
        )

    def __call__(self, name: str, asked: Sampling, index: int = 0) -> Expected:
        settings = (asked.temperature, asked.top_k, asked.top_p, asked.seed + index, asked.ignore_stop_tokens)
        whole = self._longest(name, *settings)
        decode = self.checkpoint.processor.decode
        count = min(asked.max_new_tokens, len(whole.ids))
        finish = whole.finish if count == len(whole.ids) and count < MOST_TOKENS else "length"
        if whole.finish == "stop" and count == len(whole.ids):
            finish = "stop"
        text = decode(whole.ids[:count])
        for places in range(1, count + 1):
            said = decode(whole.ids[:places])
            if hits := [at for stop in asked.stop if (at := said.find(stop)) >= 0]:
                count, finish, text = places, "stop", said[: min(hits)]
                break
        return Expected(whole.ids[:count], whole.logprobs[:count], finish, text)


def same(reply: Reply, expected: Expected) -> None:
    assert reply.ids == expected.ids
    assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert (reply.finish, reply.text) == (expected.finish, expected.text)


def settings_with(checkpoint: Checkpoint, pages: int, **more: Any) -> EngineSettings:
    size = more.get("page_tokens", 16)
    page = KVPages.page_bytes(checkpoint.config.text, checkpoint.model.dtype, size)
    return EngineSettings(kv_bytes=pages * page, **more)
