"""What is asked of the engine and what comes back: settings of one reply, the reply, its tokens as they come.

Knows values and their limits. Does not know how replies are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from deixis.errors import OptionError

ALTERNATIVES = 10  # all ten digits of a coordinate
MAX_ALTERNATIVES = 64
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_REPLIES = 256
# Beyond these a float32 holds no more than "greedy" and "anything": quotients become infinite, and infinities no numbers.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-5, 100.0
_MOST_INT = 2**31  # what kernels count with

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
        if not isinstance(self.stop, str | list | tuple):
            raise OptionError(f"stop is {type(self.stop).__name__}, expected a text or a list of texts")
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        stops = len(self.stop) <= MAX_STOPS and all(isinstance(stop, str) for stop in self.stop)
        heat = f"0 (greedy), or {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}"
        whole: dict[str, tuple[int, int, str]] = {
            "top_k": (0, _MOST_INT, "0 (all tokens) or more, below 2^31"),
            "seed": (0, 2**62, "0 to 2^62"),
            "max_new_tokens": (1, _MOST_INT, "at least 1, below 2^31"),
            "alternatives": (0, MAX_ALTERNATIVES + 1, f"0 to {MAX_ALTERNATIVES}"),
            "n": (1, MAX_REPLIES + 1, f"1 to {MAX_REPLIES}"),
        }
        for name, (first, end, expected) in whole.items():
            value = getattr(self, name)
            if not _is(value, Integral) or not first <= value < end:
                raise OptionError(f"{name} is {_shown(value)}, expected a whole number, {expected}")
        parts: dict[str, tuple[Callable[[float], bool], str]] = {
            "temperature": (lambda x: x == 0 or LEAST_TEMPERATURE <= x <= MOST_TEMPERATURE, heat),
            "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
            "deadline_s": (lambda x: 0 < x < math.inf, "a number of seconds above 0, or None"),
        }
        for name, (fits, expected) in parts.items():
            value = getattr(self, name)
            if name == "deadline_s" and value is None:
                continue
            if not _is(value, Real) or not fits(value):
                raise OptionError(f"{name} is {_shown(value)}, expected {expected}")
        if not stops or any(not 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in self.stop):
            raise OptionError(
                f"stop has {len(self.stop)} entries; expected at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters"
            )


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A value in a message: not all of it, and a number of any size."""
    if isinstance(value, int) and abs(value) >= _MOST_INT**3:
        return "a number of more than 90 bits"  # Python refuses to write out very long ones
    return repr(value)[:80]


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
