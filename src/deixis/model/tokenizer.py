"""Text to token ids and back, with a hard line between text and structure.

Knows one tokenizer file. Does not know conversations. Added tokens (``<|im_end|>``, ``<|image_pad|>``, ``<think>`` …) are matched
here and never by the library: ``encode`` treats whatever it gets as plain text, ``encode_structure`` matches them only where
the caller has not placed the mark that stands for "this is a user's".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from deixis.errors import CheckpointError, InputError

# How byte-level vocabularies write bytes: printable Latin-1 as itself, the others from U+0100 on (GPT-2's bytes_to_unicode).
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_OF = {
    **{chr(byte): byte for byte in _PRINTABLE},
    **{chr(0x100 + i): byte for i, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)},
}


class Tokenizer:
    """A byte-level BPE from a ``tokenizer.json``."""

    def __init__(self, raw: dict[str, Any]) -> None:
        """From the parsed file. Raises CheckpointError for a file that the tokenizers library does not read."""
        added = raw.get("added_tokens") or []
        for token in added:
            if token.get("lstrip") or token.get("rstrip") or token.get("single_word"):
                raise CheckpointError(
                    f"tokenizer.json: token {token['content']!r} swallows its surroundings, which is not supported"
                )
        self.added: dict[str, int] = {token["content"]: int(token["id"]) for token in added}
        self.special: frozenset[str] = frozenset(token["content"] for token in added if token.get("special"))
        self._names = {number: name for name, number in self.added.items()}
        longest_first = sorted(self.added, key=len, reverse=True)
        self._split = re.compile("|".join(f"({re.escape(name)})" for name in longest_first) or "(?!)")
        try:
            # Without its added tokens the library cannot mistake text for structure.
            self._plain = tokenizers.Tokenizer.from_str(json.dumps(raw | {"added_tokens": [], "post_processor": None}))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"tokenizer.json cannot be read ({error}): fetch the checkpoint again") from error

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """From a ``tokenizer.json``."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}): fetch the checkpoint again") from error
        if not isinstance(raw, dict) or "model" not in raw:
            raise CheckpointError(f"{path} is not a tokenizer, expected an object with a 'model': fetch the checkpoint again")
        return cls(raw)

    @property
    def size(self) -> int:
        """One more than the largest token id."""
        return max([self._plain.get_vocab_size(), *(number + 1 for number in self.added.values())])

    def token_id(self, name: str) -> int | None:
        """The id of an added token, None where there is none."""
        return self.added.get(name)

    def added_name(self, number: int) -> str | None:
        """The name of an added token, None for the id of plain text."""
        return self._names.get(number)

    def bytes_of(self, number: int) -> bytes:
        """The bytes of one id of plain text; none for an id that stands for nothing. Raises CheckpointError unless byte-level."""
        try:
            return bytes(_BYTE_OF[char] for char in self._plain.id_to_token(number) or "")
        except KeyError as error:
            raise CheckpointError(f"tokenizer.json: {error} stands for no byte, expected a byte-level vocabulary") from error

    def token_bytes(self) -> dict[int, bytes]:
        """The bytes that each id stands for; an added token stands for its name. Raises CheckpointError unless byte-level."""
        try:
            plain = {number: bytes(_BYTE_OF[char] for char in piece) for piece, number in self._plain.get_vocab().items()}
        except KeyError as error:
            raise CheckpointError(f"tokenizer.json: {error} stands for no byte, expected a byte-level vocabulary") from error
        return plain | {number: name.encode() for number, name in self._names.items()}

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` as plain text: an added token's name in it is spelled out."""
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []

    def encode_structure(self, text: str, mark: str) -> list[int]:
        """Ids of ``text`` with added tokens matched. ``mark``, set inside names to keep them text, is removed."""
        ids: list[int] = []
        at = 0
        for match in self._split.finditer(text):
            ids += self.encode(text[at : match.start()].replace(mark, ""))
            ids.append(self.added[match.group()])
            at = match.end()
        return ids + self.encode(text[at:].replace(mark, ""))

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Text of ``ids``. Bytes that are no UTF-8 become U+FFFD. Added tokens that are not special stay, as in transformers."""
        out: list[str] = []
        run: list[int] = []
        for number in ids:
            name = self._names.get(number)
            if name is None:
                run.append(number)
                continue
            if run:
                out.append(self._plain.decode(run, skip_special_tokens=False))
                run = []
            if not (skip_special and name in self.special):
                out.append(name)
        if run:
            out.append(self._plain.decode(run, skip_special_tokens=False))
        return "".join(out)


class Shield:
    """Keeps users' text from being read as structure, through any chat template.

    A mark, one private-use character that occurs in none of the texts, is put after every character that could begin an added
    token. Templates carry it along; ``Tokenizer.encode_structure`` finds no token across it and drops it. Only the first
    character counts, so that a name split over two text parts stays text too.
    """

    # What templates look for in a reply's own text, and what models are trained to read in a system prompt.
    FREE = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>")

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        used = set().union(*texts)
        mark = next((chr(c) for c in range(0xF0000, 0xFFFFE) if chr(c) not in used), None)
        if mark is None:
            raise InputError("the conversation uses every private-use character of Unicode plane 15: send plain text")
        self.mark = mark
        starts = "".join(sorted({name[0] for name in tokenizer.added if name}))
        free = sorted({*self.FREE, *(set(tokenizer.added) - tokenizer.special)}, key=len, reverse=True)
        anything = f"[{re.escape(starts)}]" if starts else "(?!)"
        self._strict = re.compile(anything)
        self._lenient = re.compile(f"(?!{'|'.join(map(re.escape, free))}){anything}")

    def __call__(self, text: str, *, trusted: bool) -> str:
        """``text`` with marks. ``trusted`` text (system prompts, replies) may hold the tokens that are not special."""
        return (self._lenient if trusted else self._strict).sub(lambda m: m.group() + self.mark, text)
