"""Reads JSON as models write it: fenced or not, quoted or not, truncated, followed by prose. Never raises.

Knows brackets, strings, numbers and where each stood in the text. Does not know boxes. One pass with an explicit stack, so
that neither deep nesting nor 100 kB of brackets hurts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?|[-+]?(?:NaN|Infinity|nan|inf)\b", re.ASCII)
_OPENING = re.compile(r"[\[{]")
_WORD = re.compile(r"[^\W\d]\w*")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_MAX_DEPTH = 64


@dataclass
class Node:
    """A value with its place `text[start:end]`. `closed` is False where the text ended (or a bracket was missing) inside it."""

    start: int
    end: int
    closed: bool = True


@dataclass
class Number(Node):
    """A number, NaN and infinities included."""

    value: float = 0.0


@dataclass
class Text(Node):
    """A string, quoted or not."""

    value: str = ""


@dataclass
class List(Node):
    """[…]"""

    items: list[Node] = field(default_factory=list)


@dataclass
class Dict(Node):
    """{…}"""

    pairs: list[tuple[str, Node]] = field(default_factory=list)  # in order, keys may repeat
    key: str | None = None  # read, its value still to come
    last: str | None = None  # a string that becomes the key when a colon follows

    def get(self, *names: str) -> Node | None:
        """The first value under any of `names`, in the order of the names."""
        for name in names:
            for key, value in self.pairs:
                if key == name:
                    return value
        return None


def scan(text: str) -> list[Node]:
    """The lists and dicts of `text` in order; whatever stands outside of brackets is skipped."""
    roots: list[Node] = []
    stack: list[List | Dict] = []
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if char in "[{":
            if len(stack) < _MAX_DEPTH:
                stack.append(List(at, end, closed=False) if char == "[" else Dict(at, end, closed=False))
            at += 1
        elif not stack:
            # Prose between answers: jump to the next bracket.
            opening = _OPENING.search(text, at + 1)
            at = opening.start() if opening else end
        elif char in "]}":
            at += 1
            _close(stack, roots, List if char == "]" else Dict, at)
        elif char in _QUOTES:
            node = _string(text, at)
            _add(stack[-1], node)
            at = node.end
        elif char in ":\uff1a":
            top = stack[-1]
            if isinstance(top, Dict) and top.last is not None:
                top.key, top.last = top.last, None
            at += 1
        elif text.startswith("```", at):
            # The fence closes every bracket that the model left open.
            while stack:
                _finish(stack, roots, at, closed=False)
            at += 3
        elif match := _NUMBER.match(text, at):
            _add(stack[-1], Number(at, match.end(), value=_float(match.group())))
            at = match.end()
        elif match := _WORD.match(text, at):
            _add(stack[-1], Text(at, match.end(), value=match.group()))
            at = match.end()
        else:
            at += 1
    while stack:
        _finish(stack, roots, end, closed=False)
    return roots


def _float(digits: str) -> float:
    try:
        return float(digits)
    except ValueError:  # beyond what float reads, such as 5,000 digits in a row
        return float("nan")


def _string(text: str, at: int) -> Text:
    """The string that starts with the quote at `at`; it ends at its closing quote, at a line break, or with the text."""
    closing = _QUOTES[text[at]]
    pieces: list[str] = []
    i = at + 1
    while i < len(text):
        char = text[i]
        if char == closing:
            return Text(at, i + 1, value="".join(pieces))
        if char in "\r\n":
            break
        if char == "\\" and i + 1 < len(text):
            follower = text[i + 1]
            if follower == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", text[i + 2 : i + 6]):
                pieces.append(chr(int(text[i + 2 : i + 6], 16)))
                i += 6
                continue
            pieces.append(_ESCAPES.get(follower, follower))
            i += 2
            continue
        pieces.append(char)
        i += 1
    return Text(at, i, closed=False, value="".join(pieces))


def _add(parent: List | Dict, node: Node) -> None:
    if isinstance(parent, List):
        parent.items.append(node)
    elif parent.key is not None:
        parent.pairs.append((parent.key, node))
        parent.key = None
    elif isinstance(node, Text):
        parent.last = node.value.strip()


def _close(stack: list[List | Dict], roots: list[Node], kind: type[List] | type[Dict], at: int) -> None:
    """Closes the innermost open bracket of `kind`, and what was left open inside it; a bracket that opened nothing is skipped."""
    if not any(isinstance(node, kind) for node in stack):
        return
    while not isinstance(stack[-1], kind):
        _finish(stack, roots, at - 1, closed=False)
    _finish(stack, roots, at, closed=True)


def _finish(stack: list[List | Dict], roots: list[Node], at: int, *, closed: bool) -> None:
    node = stack.pop()
    node.end, node.closed = at, closed
    if stack:
        _add(stack[-1], node)
    else:
        roots.append(node)
