"""A reply's text taken apart as it comes: thought, answer, and calls of tools.

Knows how Qwen3-VL marks them: a thought up to `</think>`, a fence around JSON, calls in `<tool_call>`. Does not know tokens.
Whether a reply comes in one piece or in single characters makes no difference (test).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

Kind = Literal["reasoning", "content"]
Piece = tuple[Kind, str]

_OPEN, _CLOSE = "<think>", "</think>"
_FENCE, _FENCE_END = "```json\n", "\n```"
_CALL = "<tool_call>"
_CALLS = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


@dataclass
class ReplyParts:
    """`thinking`: the reply begins inside a thought. `held`: the answer is JSON, perhaps fenced. `tools`: it may call some."""

    thinking: bool = False
    held: bool = False
    tools: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    _state: Literal["begin", "thought", "turn", "answer", "calls", "over"] = "begin"
    _text: str = ""

    def add(self, text: str) -> list[Piece]:
        """What can be told now."""
        self._text += text
        return [piece for piece in self._read(final=False) if piece[1]]

    def rest(self) -> list[Piece]:
        """What was held back, where no more comes; `calls` is complete then."""
        return [piece for piece in self._read(final=True) if piece[1]]

    def _read(self, *, final: bool) -> list[Piece]:
        told: list[Piece] = []
        before = None
        while before != (self._state, self._text):
            before = (self._state, self._text)
            told += self._step(final)
        return told

    def _step(self, final: bool) -> list[Piece]:
        if self._state == "begin":
            if self._text.startswith(_OPEN):
                self._text = self._text.removeprefix(_OPEN)
                self._state = "thought"
            elif final or not _OPEN.startswith(self._text):
                self._state = "thought" if self.thinking else "turn"
            return []
        if self._state == "thought":
            found, closed = self._until(_CLOSE, final)
            if closed:
                self._state = "turn"
            return [("reasoning", found)]
        if self._state == "turn":  # between thought and answer
            self._text = self._text.lstrip("\n")
            fence = self.held and self._text.startswith(_FENCE)
            if fence:
                self._text = self._text.removeprefix(_FENCE)
            if fence or final or (self._text and not (self.held and _FENCE.startswith(self._text))):
                self._state = "answer"
            return []
        if self._state == "answer":
            mark = _FENCE_END if self.held else _CALL if self.tools else ""
            found, closed = self._until(mark, final)
            if closed:
                self._state = "over" if self.held else "calls"
            return [("content", found)]
        if self._state == "calls" and final:
            told: list[Piece] = [] if self._read_calls() else [("content", _CALL + self._text)]
            self._text, self._state = "", "over"
            return told
        if self._state == "over":
            self._text = ""
        return []

    def _until(self, mark: str, final: bool) -> tuple[str, bool]:
        """The text before the mark, or what cannot be its beginning; and whether it was found."""
        found, closed, rest = self._text.partition(mark) if mark else (self._text, "", "")
        if closed:
            self._text = rest
            return found, True
        keep = 0 if final else next((n for n in range(min(len(mark) - 1, len(found)), 0, -1) if mark.startswith(found[-n:])), 0)
        self._text = found[len(found) - keep :]
        return found[: len(found) - keep], False

    def _read_calls(self) -> bool:
        """Whether all calls can be read."""
        found = [call_of(text) for text in _CALLS.findall(_CALL + self._text)]
        if not found or None in found:
            return False
        self.calls += [call for call in found if call is not None]
        return True


def call_of(text: str) -> dict[str, Any] | None:
    """A tool call as OpenAI writes it, from {"name", "arguments"}; None where it is none."""
    try:
        raw = json.loads(text)
        name, arguments = str(raw["name"]), json.dumps(raw["arguments"], ensure_ascii=False)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": {"name": name, "arguments": arguments}}
