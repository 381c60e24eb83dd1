"""A request that was accepted: its replies, its tokens as they come, and the way to call it off.

Knows streams. Does not know how they are served; asks the engine to go on where nobody else drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from deixis.engine.reply_text import ReplyText
from deixis.engine.request import Reply, Token
from deixis.engine.stream import Stream
from deixis.model import Processor


class Driver(Protocol):
    """What a ticket asks of its engine."""

    def wait(self, done: Callable[[], bool]) -> None:
        """Serve, or let serve, until `done`."""

    def cancel(self, streams: Sequence[Stream]) -> None:
        """End these."""


class Ticket:
    """Safe to use from any thread. Who is interrupted while waiting calls the request off."""

    def __init__(self, driver: Driver, streams: Sequence[Stream], processor: Processor) -> None:
        self._driver = driver
        self._streams = tuple(streams)
        self._processor = processor

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the conversation, each picture's among them."""
        return len(self._streams[0].prompt.ids)

    @property
    def done(self) -> bool:
        """Whether every reply has come to its end."""
        return all(stream.over for stream in self._streams)

    def result(self) -> Reply:
        """The first reply, when all are there. Raises the request's own error."""
        return self.results()[0]

    def results(self) -> tuple[Reply, ...]:
        """All `n` replies. Raises the request's own error."""
        self._wait(lambda: self.done)
        self._raise_error()
        return tuple(stream.reply(self._processor) for stream in self._streams)

    def events(self) -> Iterator[Token]:
        """The tokens of all replies as they come, from the first on. Raises the request's own error at its end."""
        open_streams = {stream: self._tokens(stream) for stream in self._streams}
        while open_streams:
            self._wait(lambda: any(followed.news for followed in open_streams.values()))
            for stream, followed in tuple(open_streams.items()):
                over = stream.over  # read first: what was said by then is whole
                yield from followed.read()
                if over:
                    yield from followed.rest()
                    del open_streams[stream]
        self._raise_error()

    def cancel(self) -> None:
        """End the request; its replies are what was said so far. A request that is over stays as it is."""
        self._driver.cancel([stream for stream in self._streams if not stream.over])

    def _wait(self, done: Callable[[], bool]) -> None:
        try:
            self._driver.wait(done)
        except BaseException:
            self.cancel()
            raise

    def _tokens(self, stream: Stream) -> _Followed:
        return _Followed(stream, ReplyText(self._processor.tokenizer, stream.sampling.stop))

    def _raise_error(self) -> None:
        error = next((stream.error for stream in self._streams if stream.error is not None), None)
        if error is not None:
            raise error


class _Followed:
    """How far a stream's tokens were read."""

    def __init__(self, stream: Stream, text: ReplyText) -> None:
        self._stream = stream
        self._text = text
        self._read = 0

    @property
    def news(self) -> bool:
        return self._stream.over or self._stream.said > self._read

    def read(self) -> Iterator[Token]:
        stream, first = self._stream, len(self._stream.prompt.ids)
        while stream.said > self._read:
            place = self._read
            self._read += 1
            number = stream.tokens[first + place]
            shown = self._text.add(number)
            logprob = stream.logprobs[place] if stream.sampling.logprobs else None
            yield Token(stream.index, number, logprob, stream.top(place), shown)

    def rest(self) -> Iterator[Token]:
        if left := self._text.rest():
            yield Token(self._stream.index, None, None, (), left)
