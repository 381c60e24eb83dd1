"""Replies held to a JSON schema: which tokens may come next.

Knows one checkpoint's tokens and, through llguidance, grammars. Does not know what is asked, nor how the network scores.

A reply under a schema is JSON, bare or inside the one fence that models are trained to write (```json … ```), after the thought
where the conversation opens one. The fence is not a courtesy: a vocabulary may join a list's end and the fence's end into one
token, and a model that may not say it never comes to an end (measured on `nano`: 2,048 tokens instead of 42). Tokens are never
forced, so that the choice among spellings of the same text stays the network's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.errors import OptionError, SchemaError
from deixis.model import Checkpoint

if TYPE_CHECKING:
    from llguidance import LLExecutor, LLMatcher, LLTokenizer

# A schema may come from outside. llguidance counts its work and gives up beyond a limit, at compilation and at each token. With
# these limits the worst schemas that were found cost 0.25 s to compile and 0.1 s a token (alternatives multiplied by allOf).
MAX_SCHEMA_BYTES = 32 * 2**10
MAX_SCHEMA_DEPTH = 64
_KEPT_GRAMMARS = 64
_MASK_THREADS = 2  # measured on 16 cores, 64 replies: more only take the cores from whoever launches the steps
_LIMITS = {
    "max_grammar_size": 20_000,  # symbols; beyond 65,000 llguidance 1.9 panics
    "step_max_items": 20_000,
    "max_lexer_states": 50_000,  # 1 to 2 kB each, for one reply
}
# One line break with its indentation, or two blanks: without a bound, white space is the repetition that never ends.
_WHITE_SPACE = r"\r?\n[ \t]{0,32}|[ \t]{1,2}"
_GRAMMAR = """%llguidance {{"no_forcing": true}}
start: {thought}"\\n\\n"? answer
answer: json | "```json\\n" json "\\n```"
json: %json {schema}
"""


def can_constrain() -> bool:
    """Whether llguidance is installed."""
    return find_spec("llguidance") is not None


class Grammars:
    """The schemas that replies of one checkpoint are held to, each compiled once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._tokens: LLTokenizer | None = None
        self._compiled = lru_cache(maxsize=_KEPT_GRAMMARS)(self._compile)
        self._one_at_a_time = threading.Lock()

    def hold(self, schema: Mapping[str, Any], prompt: Sequence[int]) -> Held:
        """A new reply to `prompt` (ids), held to `schema`.

        Raises SchemaError for a schema that is impossible, unsupported, too large or too deep, OptionError without llguidance.
        """
        return Held(self._compiled(schema_text(schema), self._open_thought(prompt)).deep_copy(), self._checkpoint)

    def _open_thought(self, prompt: Sequence[int]) -> int | None:
        """The token that ends the thought which the prompt opens; None where it opens none."""
        named = self._checkpoint.processor.tokenizer.token_id
        turn, begin, end = (named(name) for name in ("<|im_start|>", "<think>", "</think>"))
        # In the reply's own turn: an earlier one is no longer open, whatever stands in it.
        last = next((number for number in reversed(prompt) if number in (turn, begin, end)), None)
        return end if last is not None and last == begin else None

    def _compile(self, schema: str, end_of_thought: int | None) -> LLMatcher:
        if not can_constrain():
            raise OptionError("replies are held to a schema by llguidance, which is not installed: pip install llguidance")
        from llguidance import LLMatcher, LLParserLimits

        with self._one_at_a_time:
            if self._tokens is None:
                self._tokens = self._tokenizer()
        thought = "" if end_of_thought is None else f"/(.|\\n)*/ <[{end_of_thought}]> "
        grammar = _GRAMMAR.format(thought=thought, schema=schema)
        matcher = LLMatcher(self._tokens, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False, **_LIMITS))
        _raise_error_of(matcher)
        return matcher

    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper

        # llguidance parses tokenizer files itself, with its own expressions and added tokens: the bytes of each id leave it no
        # room to differ from `Tokenizer`.
        stops = sorted(self._checkpoint.stop_ids)
        size = self._checkpoint.config.text.vocab_size
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self._checkpoint, size)), size, stops)


class Held:
    """One reply on its way through a grammar."""

    def __init__(self, matcher: LLMatcher, checkpoint: Checkpoint) -> None:
        self._matcher = matcher
        self._stops = checkpoint.stop_ids
        self._size = checkpoint.config.text.vocab_size

    def likeliest(self, ranked: Sequence[int], scores: Tensor) -> int:
        """The best-scored (vocab,) token that may come next, where `ranked` are the best of all, best first."""
        # Nearly always the network's own first choice may: then no mask is computed.
        found = next((token for token in ranked if self.allows(token)), None)
        return int(self.masked(scores).argmax()) if found is None else found

    def masked(self, scores: Tensor) -> Tensor:
        """Scores (vocab,) with -inf for every token that may not come next. Raises SchemaError where none may."""
        allowed = np.unpackbits(self.bits(), count=self._size, bitorder="little").astype(bool)  # (vocab,)
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), float("-inf"))

    def bits(self) -> NDArray[np.uint8]:
        """Which tokens may come next, a bit each, lowest bit first: (vocab/8,). Raises SchemaError where none may."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self.check(allowed=bool(bits.any()))
        return bits

    def check(self, *, allowed: bool) -> None:
        """Raise SchemaError where the grammar has grown too complex to follow, or no token is `allowed`."""
        _raise_error_of(self._matcher)
        if not allowed:
            raise SchemaError("no reply can match the schema: it asks for something that never ends, or contradicts itself")

    def allows(self, token: int) -> bool:
        """Whether the token may come next; a stop token where the reply is whole."""
        if token in self._stops:
            return bool(self._matcher.is_accepting())
        return bool(self._matcher.validate_tokens([token]) == 1)

    def advance(self, token: int) -> None:
        """The reply goes on with this token. Raises SchemaError where the grammar has grown too complex to follow."""
        if token not in self._stops:
            self._matcher.consume_token(token)
            _raise_error_of(self._matcher)


def fill_masks(held: Mapping[int, Held], masks: NDArray[np.int32]) -> dict[int, SchemaError]:
    """Write `Held.bits` of replies of one checkpoint to their rows of `masks` (rows, vocab/32), computed side by side.

    All bits of the other rows are set, as are those of rows where something went wrong, which is what is given back.
    """
    from llguidance.numpy import fill_next_token_bitmask, fill_next_token_bitmask_par

    for row in range(len(masks)):
        if row not in held:
            masks[row] = -1
    if len(held) > 1:
        fill_next_token_bitmask_par(_executor(), [(one._matcher, row) for row, one in held.items()], masks)
    else:
        for row, one in held.items():
            fill_next_token_bitmask(one._matcher, masks, row)
    allowed = masks.view(np.uint32).max(1).tolist()
    wrong: dict[int, SchemaError] = {}
    for row, one in held.items():
        try:
            one.check(allowed=bool(allowed[row]))
        except SchemaError as error:
            masks[row] = -1
            wrong[row] = error
    return wrong


@cache
def _executor() -> LLExecutor:
    from llguidance import LLExecutor

    return LLExecutor(min(_MASK_THREADS, os.cpu_count() or 1))


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, checkpoint: Checkpoint, size: int) -> None:
        self._tokenizer = checkpoint.processor.tokenizer
        self.eos_token_id = min(checkpoint.stop_ids)
        known = self._tokenizer.token_bytes()
        self.tokens = [known.get(number, b"") for number in range(size)]  # rows without a token are never allowed
        self.special_token_ids = sorted(self._tokenizer.added.values())  # structure, so never part of a JSON string

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


def schema_text(schema: Mapping[str, Any]) -> str:
    """A schema as one line of JSON, with this house's white space. Raises SchemaError for one too large, too deep or no JSON."""
    if not isinstance(schema, Mapping):
        raise SchemaError(f"the schema is {type(schema).__name__}; expected a JSON object")
    level: list[Any] = [schema]
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, Mapping | list | tuple)
            for item in (node.values() if isinstance(node, Mapping) else node)
        ]
        if not level:
            break
        if len(level) > MAX_SCHEMA_BYTES:
            raise SchemaError(f"the schema has more than {MAX_SCHEMA_BYTES} parts; expected at most {MAX_SCHEMA_BYTES} bytes")
    else:
        raise SchemaError(f"the schema is nested more than {MAX_SCHEMA_DEPTH} deep, or holds itself; use $ref for recursion")
    try:
        text = json.dumps({**schema, "x-guidance": {"whitespace_pattern": _WHITE_SPACE}}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"the schema is not JSON: {error}") from error
    if len(text) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"the schema has {len(text)} bytes; expected at most {MAX_SCHEMA_BYTES}")
    return text


def _raise_error_of(matcher: LLMatcher) -> None:
    if matcher.is_error():
        why = matcher.get_error().splitlines()[0].rpartition("failed to compile JSON schema: ")[2]
        raise SchemaError(f"no reply can be held to the schema: {why}")
