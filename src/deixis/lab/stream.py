"""The stream of training batches: workers draw scenes, the GPU renders and measures them, workers write the questions.

Knows the order of the work and keeps several rounds in flight. Does not know the network.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deixis.errors import OptionError
from deixis.lab.batch_render import BatchRenderer
from deixis.lab.data import HELD_OUT_SEEDS, Drawn, Packed, draw, write
from deixis.lab.observe import observe, silhouettes_of

Size = tuple[int, int]
MAX_FAILURES = 20


@dataclass(frozen=True)
class Batch:
    """``pixels`` (b, 3, h, w) uint8 on the device and the packed questions about them."""

    pixels: Tensor
    packed: Packed


@dataclass(frozen=True)
class Order:
    """One round of work: one world, one picture size, as many pictures as the renderer has worlds."""

    world: str
    seed: int
    first: int
    size: Size
    smooth: bool


class Stream:
    """Batches for ever, from (seed, round number) alone. ``orders`` says what each round holds.

    ``tokens``: how many question tokens go with a picture of each size; ``uses``: how often a rendered picture is asked about,
    each time with other questions. A context manager: its workers end with the block. Raises OptionError for pictures that do
    not fill whole batches.
    """

    def __init__(
        self,
        renderers: dict[bool, BatchRenderer],
        tokenizer_path: str,
        *,
        batch: int,
        tokens: dict[Size, int],
        workers: int,
        views: int,
        uses: int = 1,
        ahead: int = 4,
        only: tuple[str, ...] = (),
    ) -> None:
        self._renderers, self._tokenizer_path, self._only = renderers, tokenizer_path, only
        self.batch, self.tokens, self.views, self._ahead, self._uses = batch, tokens, views, ahead, uses
        self.pictures = next(iter(renderers.values())).worlds
        self.failures: list[str] = []
        if self.pictures % batch:
            raise OptionError(f"{self.pictures} pictures are rendered at once, expected a multiple of the batch of {batch}")
        # A worker must not start one tokenizer thread per core: with 14 workers on each of 4 GPUs, 64 cores had a load average
        # over 1,000 and training ran at a third of its speed. Workers inherit these settings.
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver"))
        self._chunk = max(8, self.pictures // max(1, workers))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # After an error nobody waits for the workers: each ends with the task in its hands, and the rest is cancelled.
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def batches(self, orders: Iterator[Order]) -> Iterator[Batch]:
        """Render and write each order; yields ``uses * (pictures // batch)`` batches an order."""
        drawing: deque[tuple[Order, list[Future[Drawn]]]] = deque()
        writing: deque[tuple[Tensor, Order, list[list[Future[Packed]]]]] = deque()
        while True:
            while len(drawing) < self._ahead:
                order = next(orders)
                drawing.append((order, self._draw(order)))
            while len(writing) < 2 and drawing:
                order, futures = drawing.popleft()
                if self._sound(order, futures):
                    writing.append(self._render(order, futures))
                order = next(orders)
                drawing.append((order, self._draw(order)))
            pixels, order, rounds = writing.popleft()
            for parts in rounds:
                if not self._sound(order, parts):
                    continue
                packed = Packed.join([p.result() for p in parts])
                for at in range(0, len(pixels) - self.batch + 1, self.batch):
                    rows = slice(at, at + self.batch)
                    yield Batch(pixels[rows], packed.rows(rows))

    def _sound(self, order: Order, futures: list[Future[Any]]) -> bool:
        """Wait for a round's workers. One scene in millions that trips them must not end a lease; many must."""
        for future in futures:
            if error := future.exception():
                self.failures.append(f"{order}: {error!r}")
                print(self.failures[-1], flush=True)
                if len(self.failures) > MAX_FAILURES:
                    raise RuntimeError(f"{len(self.failures)} rounds failed") from error
                return False
        return True

    def _draw(self, order: Order) -> list[Future[Drawn]]:
        # Each chunk has its own range of scene indices; a chunk of p pictures never needs more than 2 p of them.
        chunks = [(at, min(self._chunk, self.pictures - at)) for at in range(0, self.pictures, self._chunk)]
        return [
            self._pool.submit(draw, order.world, order.seed, 2 * (order.first + at), size, self.views, order.size)
            for at, size in chunks
        ]

    def _render(self, order: Order, futures: list[Future[Drawn]]) -> tuple[Tensor, Order, list[list[Future[Packed]]]]:
        parts = [f.result() for f in futures]
        rows, outlines = Drawn.join(parts)
        frames = self._renderers[order.smooth].render(rows, order.size)
        seen = observe(frames.things, frames.depth_m, silhouettes_of(outlines, frames.things.device))
        pixels = (frames.pixels * 255).round().to(torch.uint8)
        tokens = self.tokens[order.size]
        rounds: list[list[Future[Packed]]] = [[] for _ in range(self._uses)]
        at = 0
        for part in parts:
            measured = seen.rows(slice(at, at + part.pictures))
            for use, writes in enumerate(rounds):
                seed = (order.seed * 1_000_003 + order.first + at) * self._uses + use
                writes.append(self._pool.submit(write, part.truths, measured, seed, self._tokenizer_path, tokens, self._only))
            at += part.pictures
        return pixels, order, rounds


def orders(
    seed: int, rank: int, ranks: int, pictures: int, worlds: tuple[str, ...], sizes: "SizeMix", smooth_share: float
) -> Iterator[Order]:
    """Rounds of one rank, for ever; no two ranks and no two rounds share a scene. Raises OptionError for a held-out seed."""
    if seed in HELD_OUT_SEEDS:
        held = f"{HELD_OUT_SEEDS.start} to {HELD_OUT_SEEDS.stop - 1}"
        raise OptionError(f"seed {seed} is held out for benchmarks, as are all of {held}: train on another")
    rng = np.random.default_rng([seed, rank, 17])

    def rounds() -> Iterator[Order]:
        number = rank
        while True:
            world = worlds[int(rng.integers(len(worlds)))]
            yield Order(world, seed, number * pictures, sizes.pick(rng), bool(rng.random() < smooth_share))
            number += ranks

    return rounds()


@dataclass
class SizeMix:
    """Which picture sizes to draw now; ``full`` (0 to 1) is the share of large ones and may change while training."""

    small: tuple[Size, ...]
    large: tuple[Size, ...]
    full: float

    def pick(self, rng: np.random.Generator) -> Size:
        sizes = self.large if rng.random() < self.full else self.small
        return sizes[int(rng.integers(len(sizes)))]
