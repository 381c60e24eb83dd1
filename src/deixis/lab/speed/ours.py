"""The rows of the table, measured on this house's engine.

Knows requests and clocks. Does not know peers, limits or goals.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray

from deixis.engine import Engine, EngineSettings, Sampling, Ticket
from deixis.lab.speed.asking import Asking, picture, question
from deixis.lab.speed.machine import timed_s

WARM_UPS = 3


class Asker:
    """Asks an engine and looks at the clock. Every picture and every question is new unless it is said to be the same."""

    def __init__(self, engine: Engine, asking: Asking) -> None:
        self.engine = engine
        self.asking = asking
        self.device: torch.device = engine.runner.network.device
        self._numbers = itertools.count()

    def new_picture(self) -> NDArray[Any]:
        """One that the engine has not seen."""
        return picture(next(self._numbers), self.asking.side_px)

    def submit(self, pixels: NDArray[Any] | None, text: str, tokens: int) -> Ticket:
        """Exactly `tokens` greedy tokens about a picture."""
        parts: list[dict[str, Any]] = [] if pixels is None else [{"type": "image", "image": pixels}]
        message = {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
        wanted = Sampling(max_new_tokens=tokens, ignore_stop_tokens=True, logprobs=False, alternatives=0)
        return self.engine.submit([message], wanted)

    def ask_s(self, pixels: NDArray[Any] | None, row: str, tokens: int) -> float:
        """Seconds from decoded pixels to the last token."""
        text = question(next(self._numbers), row)
        return timed_s(lambda: self.submit(pixels, text, tokens).result(), self.device)

    def burst_s(self, pictures: list[NDArray[Any]], row: str, tokens: int) -> float:
        """Seconds until questions about `pictures`, asked together, are all answered."""
        texts = [question(next(self._numbers), row) for _ in pictures]

        def run() -> None:
            tickets = [self.submit(pixels, text, tokens) for pixels, text in zip(pictures, texts, strict=True)]
            for ticket in tickets:
                ticket.result()

        return timed_s(run, self.device)

    def decode_rate(self) -> float:
        """Tokens/s of one stream about a new picture, after its first token."""
        tokens = self.asking.decode_tokens
        reply = self.submit(self.new_picture(), question(next(self._numbers), "decode"), 1 + tokens).result()
        return 1e3 * tokens / reply.timings_ms["decode"]

    def rows(self) -> Iterator[tuple[str, float]]:
        """(row, value) as they are measured: milliseconds, tokens/s or requests/s. See `table.ROWS`."""
        plan, median = self.asking, statistics.median
        for _ in range(WARM_UPS if plan.burst_repeats > 1 else 1):  # else each takes the better part of a minute
            self.ask_s(self.new_picture(), "warm", 8)
        yield "first", 1e3 * median([self.ask_s(self.new_picture(), "first", 1) for _ in range(plan.repeats)])
        same = self.new_picture()
        self.ask_s(same, "before", 1)
        yield "second", 1e3 * median([self.ask_s(same, "second", 1) for _ in range(plan.repeats)])
        yield "decode", median([self.decode_rate() for _ in range(max(plan.burst_repeats, 2))])
        for row in ("many", "one"):
            times = []
            for _ in range(plan.burst_repeats):
                first = self.new_picture()
                rest = [first if row == "one" else self.new_picture() for _ in range(plan.requests - 1)]
                times.append(self.burst_s([first, *rest], row, plan.request_tokens))
            yield row, plan.requests / median(times)

    def alone(self) -> float:
        """Requests/s of questions about one picture asked one after another, with nothing kept between them."""
        pixels, plan = self.new_picture(), self.asking
        fresh = Engine(
            self.engine.checkpoint, EngineSettings(prefix_cache=False, vision_cache_bytes=0), self.engine.runner.network
        )
        asker = Asker(fresh, plan)
        times = [asker.ask_s(pixels, f"alone {i}", plan.request_tokens) for i in range(plan.requests)]
        return plan.requests / sum(times)
