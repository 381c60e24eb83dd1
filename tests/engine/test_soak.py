"""Ten thousand requests, a third of them called off: replies stay right, budgets hold, and in the end no page is missing."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from deixis.engine import Engine, EngineSettings, Sampling
from deixis.engine.step import KVPages
from deixis.engine.stream import Prompt
from deixis.model import Checkpoint, open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.engine.stub import SEEN, StubNetwork, said_after
from tests.model import tiny

REQUESTS = 10_000
PAGES = 30
VISION_BYTES = 200
SIZE = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


def conversations() -> list[list[dict[str, Any]]]:
    """Many that begin alike, with eight pictures between them."""
    pictures = [{"type": "image", "image": tiny.photo(64, 32 * (2 + seed % 5), seed)} for seed in range(8)]
    texts = ["Where is the cup?", "Where is the cup? yes", "Is the mouse left of the keyboard?", "no"]
    shown = [[pictures[i % 8]] if i % 3 else [] for i in range(60)]
    said = [{"type": "text", "text": texts[i % 4] + " yes" * (i % 5)} for i in range(60)]
    return [[{"role": "user", "content": [*parts, text]}] for parts, text in zip(shown, said, strict=True)]


def expected(network: StubNetwork, checkpoint: Checkpoint, messages: Any, count: int) -> list[int]:
    """What the stub says to one conversation alone, its whole past in one piece."""
    inputs = checkpoint.processor.encode(messages)
    tokens = inputs.input_ids.numpy().copy()
    if inputs.patches is not None:
        seen = network.see(inputs.patches, inputs.image_grids).merged[:, 0]
        tokens[inputs.visual_index.numpy()] = SEEN + (seen.double().numpy() * 1e6).astype(np.int64)
    said: list[int] = []
    for _ in range(count):
        said.append(said_after(tokens) % checkpoint.config.text.vocab_size)
        tokens = np.append(tokens, said[-1])
    return said


@pytest.mark.parametrize("overlap", [False, True])
def test_ten_thousand_requests(checkpoint: Checkpoint, overlap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(800_004)
    network = StubNetwork(checkpoint)
    page = KVPages.page_bytes(checkpoint.config.text, checkpoint.model.dtype, SIZE)
    settings = EngineSettings(
        PAGES * page, SIZE, max_rows=64, chunk_rows=24, max_streams=16, vision_cache_bytes=VISION_BYTES, overlap=overlap
    )
    engine = Engine(checkpoint, settings, network)  # type: ignore[arg-type]
    asked = conversations()
    prompts = [Prompt.read(messages, checkpoint.processor, SIZE) for messages in asked]
    # Reading the same sixty conversations ten thousand times is another test's matter.
    monkeypatch.setattr(Prompt, "read", lambda messages, *_: prompts[next(i for i, one in enumerate(asked) if one is messages)])
    longest = lru_cache(maxsize=None)(lambda i: expected(network, checkpoint, asked[i], 24))
    open_tickets: list[tuple[int, int, int, Any]] = []
    done = cancelled = sent = steps = most_in_use = 0
    with torch.inference_mode():
        while sent < REQUESTS // 2 or open_tickets:
            while sent < REQUESTS // 2 and len(open_tickets) < 30 and rng.random() < 0.9:
                i, count = rng.randrange(60), rng.randint(1, 24)
                ticket = engine.submit(asked[i], Sampling(max_new_tokens=count, ignore_stop_tokens=True, logprobs=False))
                # Some are called off before they begin, some in their prompt, some while they speak.
                off = steps + rng.randint(0, 30) if rng.random() < 0.45 else -1
                open_tickets.append((i, count, off, ticket))
                sent += 1
            for _, _, off, ticket in open_tickets:
                if off == steps:
                    ticket.cancel()
            engine.step()
            steps += 1
            if steps % 50 == 0:
                engine.check()
            stats = engine.stats()
            most_in_use = max(most_in_use, stats.pages_in_use)
            assert stats.vision_bytes <= VISION_BYTES
            assert stats.pages_in_use + stats.pages_cached <= PAGES
            for i, count, _, ticket in open_tickets:
                if ticket.done:
                    reply = ticket.result()
                    assert list(reply.ids) == longest(i)[: len(reply.ids)]
                    assert reply.finish == ("length" if len(reply.ids) == count else "cancelled")
                    done += 1
                    cancelled += reply.finish == "cancelled"
            open_tickets = [one for one in open_tickets if not one[3].done]
    engine.check()
    stats = engine.stats()
    assert (done, stats.pages_in_use, stats.running, stats.waiting) == (REQUESTS // 2, 0, 0, 0)
    assert 0.25 < cancelled / done < 0.5
    assert most_in_use > PAGES * 0.9
    assert stats.preemptions > 10 and stats.rows_reused > 1_000 and stats.pictures_seen > 50
