"""The engine: many requests through one checkpoint, step after step, paying for each picture and each shared beginning once.

Knows requests, and brings scheduler, network, caches and sampling together. Does not know what is asked. Its slow reference is
`deixis.model.generate`, which every reply must equal (test), whoever else is being served.

Whoever calls may drive: `step` serves all requests by one step of the network. On a GPU the steps overlap: a step is launched
before the tokens of the one before are read, and reads them on the device; what turns out to be too much is dropped.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deixis.engine.constrain import Grammars
from deixis.engine.network import Network, network_for
from deixis.engine.pictures import VisionCache
from deixis.engine.reply_text import ReplyText
from deixis.engine.request import EngineStats, Finish, Sampling
from deixis.engine.runner import Flight, Runner
from deixis.engine.sampling import generator_of
from deixis.engine.scheduler import Chunk, Limits, Scheduler
from deixis.engine.settings import EngineSettings
from deixis.engine.stream import Prompt, Stream, pages_of
from deixis.engine.ticket import Ticket
from deixis.errors import DeixisError, EngineError, InputError, OverloadError, SchemaError
from deixis.model import Checkpoint, VisualFeatures

# Python lets a thread that waits for its turn wait 5 ms while another computes: the GPU would idle for steps on end.
_TURN_S = 0.0005


class Engine:
    """Serves one checkpoint. `submit`, tickets and `stats` are safe from any thread."""

    def __init__(self, checkpoint: Checkpoint, settings: EngineSettings | None = None, network: Network | None = None) -> None:
        """Raises OptionError for settings that leave no room for a single page, EngineError where memory does not suffice."""
        self.checkpoint = checkpoint
        self.settings = settings if settings is not None else EngineSettings()
        self.vision = VisionCache(self.settings.vision_cache_bytes)
        try:
            network = network if network is not None else network_for(checkpoint.model)
            device, size = network.device, self.settings.page_tokens
            pages = self.settings.pages(checkpoint.config.text, checkpoint.model.dtype, device)
            self.runner = Runner(checkpoint, network, pages, size, self.vision)
        except (RuntimeError, MemoryError) as error:
            if not _no_memory(error):
                raise
            raise EngineError(
                f"no memory for this network and its cache: use a smaller model, or less kv_bytes ({error})"
            ) from error
        limits = Limits(self.settings.max_rows, self.settings.chunk_rows, self.settings.max_streams)
        self.scheduler = Scheduler(pages, size, limits, share_prefixes=self.settings.prefix_cache)
        self.overlap = self.settings.overlap if self.settings.overlap is not None else device.type == "cuda"
        self._grammars = Grammars(checkpoint)
        self._numbers = itertools.count()
        self._arrived: deque[Stream] = deque()
        self._called_off: deque[Stream] = deque()
        self._timed: list[Stream] = []
        self._flight: Flight | None = None
        self._lock = threading.RLock()
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # --- requests ---------------------------------------------------------------------------------------------------------

    def submit(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ticket:
        """Ask for replies to a conversation (messages and tools as `Processor.encode` reads them).

        Raises at once what is wrong with the request: InputError for a conversation that leaves no room for an answer or needs
        more pages than there are, PictureError, OptionError, and SchemaError for a schema that no reply can be held to; and
        OverloadError where too many wait already.
        """
        began = time.perf_counter()
        if (waiting := len(self.scheduler.waiting) + len(self._arrived)) >= self.settings.max_waiting:
            raise OverloadError(f"{waiting} requests wait already, and no more than {self.settings.max_waiting} may: ask later")
        sampling = sampling if sampling is not None else Sampling()
        prompt = Prompt.read(messages, self.checkpoint.processor, self.settings.page_tokens, tools)
        room = self._room(len(prompt.ids), sampling)
        deadline = None if sampling.deadline_s is None else time.monotonic() + sampling.deadline_s
        streams = [Stream(next(self._numbers), i, prompt, sampling, room, deadline) for i in range(sampling.n)]
        for stream in streams:
            if sampling.schema is not None:
                stream.held = self._grammars.hold(sampling.schema, prompt.ids)
            if sampling.temperature > 0:
                stream.generator = generator_of(stream, self.checkpoint.config.text.vocab_size)
            if sampling.stop:
                stream.text = ReplyText(self.checkpoint.processor.tokenizer, sampling.stop)
            stream.lap("prepare", since=began)
        self._arrived.extend(streams)
        self._wake.set()
        return Ticket(self, streams, self.checkpoint.processor)

    def cancel(self, streams: Sequence[Stream]) -> None:
        """End streams where they are; their pages come back at once, or with the step that is being launched."""
        self._called_off.extend(streams)
        self._wake.set()
        self._hear_callers()

    def _room(self, length: int, sampling: Sampling) -> int:
        """Tokens that a reply may have."""
        limit = self.checkpoint.config.text.max_position_embeddings
        if length >= limit:
            raise InputError(
                f"the conversation has {length} tokens and the model reads {limit}: ask less, or send smaller pictures"
            )
        room = min(sampling.max_new_tokens, limit - length)
        pages = pages_of(length + room, self.settings.page_tokens)
        if pages > self.scheduler.pool.count:
            raise InputError(
                f"the conversation has {length} tokens and asks for {room} more: {pages} pages of the cache, which has "
                f"{self.scheduler.pool.count}; ask for fewer tokens, or give the engine more memory (kv_bytes)"
            )
        return room

    # --- driving ----------------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Serve everybody by one step of the network. Whether anything is left to do."""
        with self._lock:
            busy = self._step()
        self._hear_callers()
        with self._progress:
            self._progress.notify_all()
        return busy

    def wait(self, done: Callable[[], bool]) -> None:
        """Until `done`: drive, or leave that to the engine's own thread."""
        while not done():
            thread = self._thread
            if thread is not None and thread is not threading.current_thread():
                with self._progress:
                    self._progress.wait_for(done, timeout=1.0)
                continue
            with self._lock:
                if not done():
                    self._step()
            self._hear_callers()
            with self._progress:
                self._progress.notify_all()

    def start(self) -> None:
        """Serve from a thread of the engine's own, until `close`. Python's threads then take turns more often (`_TURN_S`)."""
        if self._thread is None:
            sys.setswitchinterval(min(sys.getswitchinterval(), _TURN_S))
            self._thread = threading.Thread(target=self._serve, name="deixis-engine", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop that thread; requests that are not over are cancelled."""
        thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None:
            thread.join()
        with self._lock:
            self._take_in()
            for stream in (*self.scheduler.waiting, *self.scheduler.running):
                self._end(stream, "cancelled")
            self._step()  # whatever was launched lands

    def _serve(self) -> None:
        try:
            while self._thread is not None:
                self._wake.clear()
                if not self.step():
                    self._wake.wait()
        except Exception as error:
            # The engine itself is broken: nobody may wait for ever.
            with self._lock:
                self._take_in()
                for stream in (*self.scheduler.waiting, *self.scheduler.running):
                    self._fail(stream, error)
            self._thread = None  # last: who waits would drive
            with self._progress:
                self._progress.notify_all()
            raise

    def _hear_callers(self) -> None:
        """Cancel what was called off, unless somebody holds the lock, who will do so then."""
        while self._called_off and self._lock.acquire(blocking=False):
            try:
                self._take_in()
            finally:
                self._lock.release()

    # --- one step ---------------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        try:
            return self._one_step()
        except BaseException:
            self._start_again()
            raise

    def _start_again(self) -> None:
        """After an interruption nobody can tell what the step had done: all pages come back, and everybody is read again."""
        self._flight = None
        for stream in tuple(self.scheduler.running):
            self.scheduler.preempt(stream)
        for stream in self.scheduler.waiting:
            stream.unknown = 0
            if stream.generator is not None:
                stream.generator = generator_of(stream, self.checkpoint.config.text.vocab_size)

    @torch.inference_mode()
    def _one_step(self) -> bool:
        self._take_in()
        flight = self._launch(self.scheduler.plan())
        if self._flight is not None:
            self._land(self._flight)
        self._flight = None
        if flight is not None and flight.streams:
            self._choose(flight)
            if self.overlap:
                self._flight = flight
            else:
                self._land(flight)
        busy = self.scheduler.busy or self._flight is not None or bool(self._arrived)
        if not busy:
            self.scheduler.check_idle()
        return busy

    def _take_in(self) -> None:
        """New requests, those called off, and those out of time."""
        while self._arrived:
            stream = self._arrived.popleft()
            self.scheduler.add(stream)
            if stream.deadline is not None:
                self._timed.append(stream)
        while self._called_off:
            stream = self._called_off.popleft()
            if not stream.over:
                self._end(stream, "cancelled")
        if self._timed:
            now = time.monotonic()
            for stream in self._timed:
                if not stream.over and stream.deadline is not None and now >= stream.deadline:
                    self._end(stream, "deadline")
            self._timed = [stream for stream in self._timed if not stream.over]

    def _launch(self, chunks: list[Chunk]) -> Flight | None:
        """Start the network on a step; what it raises ends the requests of that step and no others."""
        for chunk in chunks:
            if "queue" not in chunk.stream.laps_ms:
                chunk.stream.lap("queue")
        for stream, wrong in self.runner.look(chunks).items():
            self._fail(stream, wrong)
        chunks = [chunk for chunk in chunks if not chunk.stream.over]
        if not chunks:
            return None
        try:
            flight = self.runner.launch(chunks, self._flight)
        except Exception as error:  # noqa: BLE001 - whatever it is
            for chunk in chunks:
                self._fail(chunk.stream, error)
            return None
        self.scheduler.launched(chunks)
        return flight

    def _choose(self, flight: Flight) -> None:
        try:
            self.runner.choose(flight)
        except Exception as error:  # noqa: BLE001 - whatever it is
            for stream in flight.streams:
                self._fail(stream, error)

    def _land(self, flight: Flight) -> None:
        """Read the tokens that a step brought."""
        try:
            chosen = flight.chosen
        except Exception as error:  # noqa: BLE001 - whatever it is
            for stream in flight.streams:
                self._fail(stream, error)
            return
        if chosen is None:
            return
        ids, logprobs, likeliest, their_logprobs = chosen.read()
        for row, stream in enumerate(flight.streams):
            if stream.over:
                continue
            stream.unknown -= 1
            if row in flight.refused:
                self._fail(stream, flight.refused[row])
            elif logprobs[row] != logprobs[row]:
                self._fail(stream, EngineError("the network's logits are no numbers: the checkpoint or its precision is broken"))
            else:
                self._hear(stream, ids[row], logprobs[row], (likeliest[row], their_logprobs[row]))

    def _hear(self, stream: Stream, token: int, logprob: float, top: tuple[NDArray[np.int32], NDArray[np.float32]]) -> None:
        """A stream says a token."""
        try:
            if stream.held is not None:
                stream.held.advance(token)
        except SchemaError as error:
            self._fail(stream, error)
            return
        stream.logprobs.append(logprob)
        stream.tops.append(top)
        stream.tokens.append(token)  # last: who reads along counts tokens
        said = stream.said
        if said == 1:
            stream.lap("prefill")
        self.scheduler.enter(stream)
        if stream.text is not None:
            stream.shown_text += stream.text.add(token)
        stopped = stream.text is not None and stream.text.stopped
        if stopped or (token in self.checkpoint.stop_ids and not stream.sampling.ignore_stop_tokens):
            self._end(stream, "stop")
        elif said == stream.room:
            self._end(stream, "length")

    def _end(self, stream: Stream, finish: Finish) -> None:
        stream.lap("decode")
        if stream.text is not None:
            stream.shown_text += stream.text.rest()
        self.scheduler.remove(stream)
        stream.finish = finish

    def _fail(self, stream: Stream, error: Exception) -> None:
        if stream.over:
            return
        self.scheduler.remove(stream, keep_pages=False)
        stream.error = _typed(error)

    def features(self, messages: Sequence[Mapping[str, Any]]) -> list[VisualFeatures]:
        """The ViT's features of a conversation's pictures, images before videos. Raises InputError, PictureError, EngineError."""
        prompt = Prompt.read(messages, self.checkpoint.processor, self.settings.page_tokens)
        with self._lock:
            features, errors = self.runner.features(prompt.pictures)
        if errors:
            raise _typed(next(iter(errors.values())))
        return [features[picture.digest] for picture in prompt.pictures]

    # --- what it holds ----------------------------------------------------------------------------------------------------

    def stats(self) -> EngineStats:
        """What the engine holds and has done."""
        scheduler, pool = self.scheduler, self.scheduler.pool
        config, dtype = self.checkpoint.config.text, self.checkpoint.model.dtype
        return EngineStats(
            waiting=len(scheduler.waiting) + len(self._arrived),
            running=len(scheduler.running),
            pages=pool.count,
            pages_in_use=pool.in_use,
            pages_cached=pool.kept,
            kv_bytes=pool.count * self.settings.page_bytes(config, dtype),
            vision_bytes=self.vision.nbytes,
            steps=self.runner.steps,
            rows=self.runner.rows,
            rows_reused=scheduler.rows_reused,
            pictures_seen=self.runner.pictures_seen,
            preemptions=scheduler.preemptions,
        )

    def check(self) -> None:
        """Assert the integrity of all pages, and that the caches keep their budgets."""
        with self._lock:
            self.scheduler.check()
            assert self.vision.nbytes <= self.settings.vision_cache_bytes


def _no_memory(error: Exception) -> bool:
    """Whether that is what an allocator says; PyTorch's on the CPU has no exception of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _typed(error: Exception) -> DeixisError:
    if isinstance(error, DeixisError):
        return error
    typed = EngineError(f"the network failed at this request ({type(error).__name__}: {error})"[:400])
    typed.__cause__ = error
    return typed
