"""Who is served next: requests that wait, those that run, and which of their tokens make up the next step.

Knows streams, pages and row budgets. Does not know tensors, the network or how tokens are chosen.

First come, first served. A step takes first a row of every reply that is being said, oldest first, then parts of prompts in
order of arrival. A request starts when there are pages for its prompt and its first token. Where pages run out, the youngest
gives its own up: they stay findable, and it reads again later what it had said.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from deixis.engine.pages import PagePool
from deixis.engine.prefix import PrefixCache
from deixis.engine.stream import Stream, pages_of


@dataclass(frozen=True)
class Limits:
    """Most rows of a step, most rows of one prompt in a step, most requests at a time."""

    max_rows: int
    chunk_rows: int
    max_streams: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tokens of a stream that a step reads: `count` from `start` on. After its last token the next one is `wanted`.

    Where `source` is given, that page holds what comes before `start` in the stream's own page: it is copied first.
    """

    stream: Stream
    start: int
    count: int
    wanted: bool
    source: int | None = None


class Scheduler:
    """Not safe to call from several threads: the engine's lock is around it."""

    def __init__(self, pages: int, page_tokens: int, limits: Limits, *, share_prefixes: bool = True) -> None:
        self.page_tokens = page_tokens
        self.limits = limits
        self.prefix = PrefixCache()
        self.pool = PagePool(pages, self.prefix.forget)
        self.waiting: list[Stream] = []
        self.running: list[Stream] = []
        self.preemptions = 0
        self.rows_reused = 0
        self._share = share_prefixes

    @property
    def busy(self) -> bool:
        """Whether anybody is to be served."""
        return bool(self.waiting or self.running)

    def add(self, stream: Stream) -> None:
        """A new stream, or one that has to start again, takes its place in the queue."""
        insort(self.waiting, stream, key=_age)

    def plan(self) -> list[Chunk]:
        """The next step. Its pages are taken; `launched` must follow, or the streams must be removed."""
        chunks: list[Chunk] = []
        rows = self.limits.max_rows
        before = self.preemptions
        for stream in tuple(self.running):
            # One without pages was just made to give them up.
            if rows and stream.length - stream.computed == 1 and stream.pages and self._goes_on(stream):
                chunks.append(Chunk(stream, stream.computed, 1, True))
                rows -= 1
        for stream in self.running:
            if rows and stream.length - stream.computed > 1:
                chunks.append(self._part(stream, rows))
                rows -= chunks[-1].count
        if self.preemptions == before:  # pages that were just given up are not for newcomers
            self._admit(chunks, rows)
        return chunks

    def launched(self, chunks: list[Chunk]) -> None:
        """The step is on its way: whatever is launched later finds its keys and values."""
        for chunk in chunks:
            stream = chunk.stream
            stream.computed += chunk.count
            stream.unknown += chunk.wanted
            self.enter(stream)
            stream.let_go()

    def enter(self, stream: Stream) -> None:
        """Let others find the pages that known tokens fill, up to their end or up to a cut."""
        if not self._share:
            return
        cuts = stream.prompt.cuts
        while stream.cuts < len(cuts) and cuts[stream.cuts].at <= stream.computed:
            cut = cuts[stream.cuts]
            self.prefix.filled(cut.name, stream.pages[cut.at // self.page_tokens])
            stream.cuts += 1
        full = min(stream.computed, len(stream.tokens)) // self.page_tokens
        if full <= stream.named:
            return
        stream.name_pages(self.page_tokens)
        for page in range(stream.named, full):
            self.prefix.filled(stream.names[page], stream.pages[page])
        stream.named = full

    def remove(self, stream: Stream, *, keep_pages: bool = True) -> None:
        """A stream is over. Without `keep_pages` what it computed is worth nothing and will not be found."""
        if stream in self.running:
            self.running.remove(stream)
        else:
            self.waiting.remove(stream)
        if not keep_pages:
            for page in stream.pages[stream.found :]:
                self.prefix.forget(page)
                self.pool.free(page)
        self._give_back(stream)

    def preempt(self, stream: Stream) -> None:
        """A stream that runs gives its pages up and takes its place in the queue; what is known of it is read again."""
        self.running.remove(stream)
        self._give_back(stream)
        self.preemptions += 1
        self.add(stream)

    def check(self) -> None:
        """Assert that every page is exactly one of free, kept and in use, with the right number of users."""
        self.pool.check((page for stream in self.running for page in stream.pages), self.prefix.named_pages)
        assert not any(stream.pages for stream in self.waiting), "a waiting request holds pages"
        for stream in self.running:
            assert len(stream.pages) >= pages_of(stream.computed, self.page_tokens), "tokens without a page"
        self.check_idle()

    def check_idle(self) -> None:
        """The part of `check` that is cheap and says all where nobody is served."""
        if not self.running:
            assert self.pool.in_use == 0, f"{self.pool.in_use} pages are in use and nobody runs"
            assert self.prefix.expected == 0, "pages are expected and nobody runs"

    def _goes_on(self, stream: Stream) -> bool:
        """Whether another token of it is read; room for it is made."""
        if stream.said + stream.unknown >= stream.room:
            return False  # it ends with the token that is on its way
        if stream.computed < len(stream.pages) * self.page_tokens:
            return True
        while (page := self.pool.take(stream.pages[-1])) is None:
            youngest = self.running[-1]
            self.preempt(youngest)
            if youngest is stream:
                return False
        stream.pages.append(page)
        return True

    def _part(self, stream: Stream, rows: int, source: int | None = None) -> Chunk:
        left = stream.length - stream.computed
        count = min(left, self.limits.chunk_rows, rows)
        return Chunk(stream, stream.computed, count, count == left, source)

    def _admit(self, chunks: list[Chunk], rows: int) -> None:
        started: list[Stream] = []
        for stream in self.waiting:
            if not rows or len(self.running) >= self.limits.max_streams:
                break
            # One whose last token is unknown cannot be read again; one whose next page is being filled has nothing to do yet.
            if stream.unknown or (stream.waits_for is not None and self.prefix.expects(stream.waits_for)):
                continue
            found, source, known = self._found(stream)
            if stream.waits_for is not None:
                continue
            if not self._start(stream, found, known):
                break
            started.append(stream)
            chunks.append(self._part(stream, rows, source))
            rows -= chunks[-1].count
        for stream in started:
            self.waiting.remove(stream)

    def _found(self, stream: Stream) -> tuple[list[int], int | None, int]:
        """Pages that hold its beginning, one that holds a part of the next, and how many tokens all of them hold.

        `waits_for` says whether more is being filled.
        """
        stream.waits_for = None
        if not self._share:
            return [], None, 0
        stream.name_pages(self.page_tokens)
        # At least the last token is read again: its hidden state gives the next one.
        names = stream.names[: (len(stream.tokens) - 1) // self.page_tokens]
        found = self.prefix.found(names)
        if len(found) < len(names) and self.prefix.expects(names[len(found)]):
            stream.waits_for = names[len(found)]
        for cut in reversed(stream.prompt.cuts):
            if cut.at // self.page_tokens == len(found) and cut.at < len(stream.tokens):
                if (source := self.prefix.page_of(cut.name)) is not None:
                    # It may be taken for something else from now on, even by this stream: the step copies before it writes.
                    self.pool.touch(source)
                    return found, source, cut.at
                if self.prefix.expects(cut.name):
                    stream.waits_for = cut.name
                    break
        return found, None, len(found) * self.page_tokens

    def _start(self, stream: Stream, found: list[int], known: int) -> bool:
        """Take the pages for its tokens and one more, where there are enough."""
        missing = pages_of(len(stream.tokens) + 1, self.page_tokens) - len(found)
        if missing > self.pool.available - self.pool.unused(found):
            return False
        for page in found:
            self.pool.share(page)
        stream.pages = found
        stream.named = stream.found = len(found)
        stream.computed = known
        if stream.reused_tokens is None:
            stream.reused_tokens = stream.computed
        self.rows_reused += stream.computed
        for _ in range(missing):
            taken = self.pool.take(stream.pages[-1] if stream.pages else -1)
            assert taken is not None, "fewer pages than were counted"
            stream.pages.append(taken)
        if self._share:
            self.prefix.expect(stream.names[stream.found : len(stream.tokens) // self.page_tokens], stream)
            self.prefix.expect([cut.name for cut in stream.prompt.cuts if cut.at > stream.computed], stream)
        insort(self.running, stream, key=_age)
        return True

    def _give_back(self, stream: Stream) -> None:
        # Its end first, so that of pages unused for equally long the beginnings, which more can share, stay longest.
        for page in reversed(stream.pages):
            self.pool.give_back(page, keep=self.prefix.knows(page))
        self.prefix.give_up(stream.names[stream.named :], stream)
        self.prefix.give_up([cut.name for cut in stream.prompt.cuts[stream.cuts :]], stream)
        stream.pages = []
        stream.computed = stream.named = stream.found = stream.cuts = 0
        stream.features.clear()


def _age(stream: Stream) -> int:
    return stream.number
