"""Where tokens stand in text, and the tokens under a stretch of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deixis.backends.base import TokenProb

_LONGEST_CHARACTER = 4  # bytes, and so at most as many byte-level tokens


class TokenTexts:
    """Texts of consecutive tokens, from a function that decodes ids. A character split over tokens belongs to its last one."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._pending: list[int] = []

    def add(self, token_id: int) -> str:
        """The characters that this token completes; "" within a character."""
        self._pending.append(token_id)
        text = self._decode(self._pending)
        if text.endswith("\ufffd") and len(self._pending) < _LONGEST_CHARACTER:
            return ""
        self._pending = []
        return text

    def rest(self) -> str:
        """What was begun and never completed."""
        text = self._decode(self._pending) if self._pending else ""
        self._pending = []
        return text


def tokens_under(tokens: Sequence[TokenProb], span: tuple[int, int]) -> list[TokenProb]:
    """The tokens that touch text[start:end] of the tokens' joined text."""
    start, end = span
    found: list[TokenProb] = []
    at = 0
    for token in tokens:
        following = at + len(token.text)
        if at < end and following > start:
            found.append(token)
        at = following
    return found
