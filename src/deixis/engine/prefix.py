"""What full pages hold, by name: beginnings of conversations that were read before, or are being read now.

Knows names (digests) and page numbers. Does not know tensors or who uses pages. A page's name covers everything that its keys and
values depend on: the page before, its own tokens, and the pictures whose features stand at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

_FIRST = hashlib.sha256(b"deixis page").digest()


def extend_names(
    names: list[bytes], tokens: Sequence[int], page_tokens: int, digests: Mapping[int, Sequence[bytes]], limit: int | None = None
) -> None:
    """Add the names of the full pages of `tokens` that `names` lacks; `digests` are those of the pictures in each page."""
    first, end = len(names), len(tokens) // page_tokens if limit is None else limit
    if first >= end:
        return
    told = np.array(tokens[first * page_tokens : end * page_tokens], np.int64).view(f"V{8 * page_tokens}")
    for page in range(first, end):
        name = hashlib.sha256(names[-1] if names else _FIRST)
        name.update(told[page - first])
        for digest in digests.get(page, ()):
            name.update(digest)
        names.append(name.digest())


class PrefixCache:
    """Names of pages. A page has at most one name, a name at most one page, or somebody who is about to fill one."""

    def __init__(self) -> None:
        self._pages: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
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
        """A page is full. A second page with the same content gets no name."""
        self._expected.pop(name, None)
        if name not in self._pages:
            self._pages[name] = page
            self._names[page] = name

    def knows(self, page: int) -> bool:
        """Whether the page can be found."""
        return page in self._names

    def forget(self, page: int) -> None:
        """The page's content is gone or worth nothing."""
        name = self._names.pop(page, None)
        if name is not None:
            del self._pages[name]

    @property
    def named_pages(self) -> list[int]:
        """All pages that can be found."""
        return list(self._names)

    @property
    def expected(self) -> int:
        """Pages that somebody is about to fill."""
        return len(self._expected)
