"""What pages hold, by name: beginnings of conversations that were read before, or are being read now.

Knows names (digests) and page numbers. Does not know tensors or who uses pages. A page's name covers everything that its keys and
values depend on: the page before, its own tokens, and the pictures whose features stand at them. A cut names the part of a page
up to where a picture ends: another question about the picture goes on from there, in a page of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_FIRST = hashlib.sha256(b"deixis page").digest()


@dataclass(frozen=True)
class Cut:
    """A place inside a page, `at` tokens from the beginning, and the name of what the page holds before it."""

    at: int
    name: bytes


def cut_at(names: Sequence[bytes], tokens: Sequence[int], page_tokens: int, at: int, digests: Sequence[bytes]) -> Cut:
    """The cut before token `at`; `names` are those of the full pages, `digests` those of the pictures in the part before it."""
    page = at // page_tokens
    name = hashlib.sha256(b"cut" + (names[page - 1] if page else _FIRST))
    name.update(np.array(tokens[page * page_tokens : at], np.int64).tobytes())
    for digest in digests:
        name.update(digest)
    return Cut(at, name.digest())


def extend_names(
    names: list[bytes], tokens: Sequence[int], page_tokens: int, digests: Mapping[int, Sequence[bytes]], limit: int | None = None
) -> None:
    """Add the names of the full pages of `tokens` that `names` lacks; `digests` are those of the pictures in each page."""
    first, end = len(names), len(tokens) // page_tokens if limit is None else limit
    if first >= end:
        return
    told = np.array(tokens[first * page_tokens : end * page_tokens], np.int64).tobytes()
    size = len(told) // (end - first)
    name = names[-1] if names else _FIRST
    for page in range(first, end):
        at = (page - first) * size
        name = hashlib.sha256(b"".join((name, told[at : at + size], *digests.get(page, ())))).digest()
        names.append(name)


class PrefixCache:
    """Names of pages: a page has one when it is full, and one for each cut. A name has at most one page, or somebody who is about
    to fill one."""

    def __init__(self) -> None:
        self._pages: dict[bytes, int] = {}
        self._names: dict[int, list[bytes]] = {}
        self._expected: dict[bytes, Hashable] = {}

    def found(self, names: Sequence[bytes]) -> list[int]:
        """The pages that hold the beginning of what `names` names, as far as they are filled."""
        pages: list[int] = []
        for name in names:
            page = self._pages.get(name)
            if page is None:
                break
            pages.append(page)
        return pages

    def page_of(self, name: bytes) -> int | None:
        """The page that holds what `name` names."""
        return self._pages.get(name)

    def expects(self, name: bytes) -> bool:
        """Whether somebody is about to fill a page of this name."""
        return name in self._expected

    def expect(self, names: Sequence[bytes], owner: Hashable) -> None:
        """`owner` is about to fill pages of these names; whoever said so first counts."""
        for name in names:
            self._expected.setdefault(name, owner)

    def give_up(self, names: Sequence[bytes], owner: Hashable) -> None:
        """`owner` will not fill them."""
        for name in names:
            if self._expected.get(name) is owner:
                del self._expected[name]

    def filled(self, name: bytes, page: int) -> None:
        """A page is full, or full up to a cut. A second page with the same content gets no name."""
        self._expected.pop(name, None)
        if name not in self._pages:
            self._pages[name] = page
            self._names.setdefault(page, []).append(name)

    def knows(self, page: int) -> bool:
        """Whether the page can be found."""
        return page in self._names

    def forget(self, page: int) -> None:
        """The page's content is gone or worth nothing."""
        for name in self._names.pop(page, ()):
            del self._pages[name]

    @property
    def named_pages(self) -> list[int]:
        """All pages that can be found."""
        return list(self._names)

    @property
    def expected(self) -> int:
        """Pages that somebody is about to fill."""
        return len(self._expected)
