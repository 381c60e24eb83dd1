"""What is asked of the engine and what comes back: settings of one reply, the reply, its tokens as they come.

Knows values and their limits. Does not know how replies are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deixis.errors import OptionError

ALTERNATIVES = 10  # all ten digits of a coordinate
MAX_ALTERNATIVES = 64
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_REPLIES = 256

Finish = Literal["stop", "length", "cancelled", "deadline"]
Top = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Sampling:
    """How one request is answered.

    `temperature` 0 is greedy; otherwise `top_k` (0: all) and then `top_p` truncate, as in `model.generate`. Of `n` replies the
    i-th draws with `seed + i`. A reply ends at a stop token, before the first of the `stop` strings in its text, after
    `max_new_tokens`, or `deadline_s` seconds after it was asked for. `alternatives` is how many of the likeliest tokens are told
    at each place; without `logprobs` neither they nor probabilities are computed. With a JSON schema the reply is JSON that
    matches it, bare or in a ```json fence, behind the thought where the conversation opens one.
    Raises OptionError for values out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    max_new_tokens: int = 1024
    stop: Sequence[str] = ()
    logprobs: bool = True
    alternatives: int = ALTERNATIVES
    schema: Mapping[str, Any] | None = None
    n: int = 1
    ignore_stop_tokens: bool = False
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        stops = len(self.stop) <= MAX_STOPS and all(isinstance(stop, str) for stop in self.stop)
        limits = {
            "temperature": (0 <= self.temperature < math.inf, "a number from 0 (greedy) up"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "seed": (0 <= self.seed < 2**62, "0 to 2^62"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "alternatives": (0 <= self.alternatives <= MAX_ALTERNATIVES, f"0 to {MAX_ALTERNATIVES}"),
            "n": (1 <= self.n <= MAX_REPLIES, f"1 to {MAX_REPLIES}"),
            "deadline_s": (self.deadline_s is None or 0 < self.deadline_s < math.inf, "a number of seconds above 0, or None"),
        }
        for name, (fits, expected) in limits.items():
            if not fits:
                raise OptionError(f"{name} is {getattr(self, name)}, expected {expected}")
        if not stops or any(not 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in self.stop):
            raise OptionError(
                f"stop has {len(self.stop)} entries; expected at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters"
            )


@dataclass(frozen=True)
class Reply:
    """Generated ids with their log-probabilities, and at each place the likeliest `(id, logprob)`, best first.

    With finish "stop" the last id is the stop token, or ends a stop string: `text` ends before it, `ids` do not. Probabilities
    and alternatives are the network's own, before temperature and before any schema: under one, the chosen id need not be the
    likeliest.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[Top, ...]
    finish: Finish
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    reused_tokens: int = 0
    text: str = ""


@dataclass(frozen=True)
class Token:
    """One token of reply number `reply`, as it comes.

    `text` is what can be shown since the token before: no half characters, and nothing that a stop string may yet take back.
    Where a reply ends while text is held back, that comes as a last piece of its own, with id None.
    """

    reply: int
    id: int | None
    logprob: float | None
    top: Top
    text: str


@dataclass(frozen=True)
class EngineStats:
    """What the engine holds and has done."""

    waiting: int
    running: int
    pages: int
    pages_in_use: int
    pages_cached: int
    kv_bytes: int  # of all pages, used or not
    vision_bytes: int
    steps: int
    rows: int
    rows_reused: int  # of prompts, found in the prefix cache
    pictures_seen: int
    preemptions: int
