"""A reply's text as its tokens come: whole characters only, and cut before the first stop string.

Knows one tokenizer's bytes. Does not know requests. Equals `Tokenizer.decode` (test).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from deixis.model import Tokenizer


class ReplyText:
    """Text of a reply so far. Tokens after the one that `stopped` it are refused."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._longest = max(map(len, stops), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # may be the beginning of a stop string
        self.stopped = False

    def add(self, token: int) -> str:
        """What can be shown now that this token has come."""
        assert not self.stopped, "a token after the end of its reply"
        return self._shown(self._characters(token), final=False)

    def rest(self) -> str:
        """What was held back, where no more tokens come."""
        return "" if self.stopped else self._shown(self._decoder.decode(b"", True), final=True)

    def _characters(self, token: int) -> str:
        name = self._tokenizer.added_name(token)
        if name is None:
            return self._decoder.decode(self._tokenizer.bytes_of(token))
        # A character does not go on beyond an added token.
        before = self._decoder.decode(b"", True)
        self._decoder.reset()
        return before if name in self._tokenizer.special else before + name

    def _shown(self, new: str, *, final: bool) -> str:
        if not self._stops:
            return new
        text = self._held + new
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else self._beginning_of_a_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _beginning_of_a_stop(self, text: str) -> int:
        """How many of the last characters could become a stop string."""
        for count in range(min(len(text), self._longest - 1), 0, -1):
            if any(stop.startswith(text[-count:]) for stop in self._stops):
                return count
        return 0
