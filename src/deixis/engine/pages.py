"""Pages of the KV cache as numbers: who uses them, which are kept for later, which are free.

Knows page numbers and users. Does not know tensors, tokens or requests. Every page is exactly one of: free; in use by one or
more; kept (its content has a name in the prefix cache, nobody uses it, and it may be taken when no page is free).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable


class PagePool:
    """`count` pages. `forget` is called with a kept page that is taken for something else."""

    def __init__(self, count: int, forget: Callable[[int], None]) -> None:
        self.count = count
        self._forget = forget
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        self._kept: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._users = [0] * count

    @property
    def available(self) -> int:
        """Pages that can be taken."""
        return len(self._free) + len(self._kept)

    @property
    def kept(self) -> int:
        """Pages that nobody uses and that are kept for later."""
        return len(self._kept)

    @property
    def in_use(self) -> int:
        """Pages with a user."""
        return self.count - self.available

    def take(self, after: int = -1) -> int | None:
        """A page for one user, None where all are in use; the one after `after` where it is free, for rows in order read fast."""
        if after + 1 in self._free:
            page = after + 1
            del self._free[page]
        elif self._free:
            page, _ = self._free.popitem(last=False)
        elif self._kept:
            page, _ = self._kept.popitem(last=False)
            self._forget(page)
        else:
            return None
        self._users[page] = 1
        return page

    def unused(self, pages: Iterable[int]) -> int:
        """How many of them nobody uses."""
        return sum(self._users[page] == 0 for page in pages)

    def share(self, page: int) -> None:
        """One more user for a page that is in use or kept."""
        if self._users[page] == 0:
            del self._kept[page]
        self._users[page] += 1

    def touch(self, page: int) -> None:
        """A page was of use to somebody who does not keep it."""
        if page in self._kept:
            self._kept.move_to_end(page)

    def give_back(self, page: int, *, keep: bool) -> None:
        """One user less. The last one leaves it kept, or free."""
        assert self._users[page] > 0, f"page {page} is given back and has no user"
        self._users[page] -= 1
        if self._users[page] == 0:
            (self._kept if keep else self._free)[page] = None

    def free(self, page: int) -> None:
        """A page's content has lost its name: if it was only kept, it is free."""
        if page in self._kept:
            del self._kept[page]
            self._free[page] = None

    def check(self, used: Iterable[int], named: Iterable[int]) -> None:
        """Assert that `used` (a page once per user) and `named` (pages in the prefix cache) are what the pool believes."""
        counted = Counter(used)
        for page in range(self.count):
            assert self._users[page] == counted[page], f"page {page} has {counted[page]} users and counts {self._users[page]}"
            states = (page in self._free) + (page in self._kept) + (self._users[page] > 0)
            assert states == 1, f"page {page} is in {states} states at once"
        names = set(named)
        assert set(self._kept) <= names, "a page is kept that nobody can find"
        assert not names & set(self._free), "a free page can be found"
