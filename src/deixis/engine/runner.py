"""A step on its way through the network: pictures seen, rows read, tokens chosen and told.

Knows the network, its pages, and the features of pictures. Does not know who waits, nor what ends a reply. Whatever the network
raises is passed on: the engine decides whose request it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deixis.engine.batch import pictures_needed, step_of
from deixis.engine.network import Network
from deixis.engine.pictures import Picture, VisionCache
from deixis.engine.pixels import device_patches
from deixis.engine.sampling import Chosen, begin_masks, choose
from deixis.engine.scheduler import Chunk
from deixis.engine.stream import Stream
from deixis.errors import SchemaError
from deixis.model import Checkpoint, VisualFeatures

# Below this, one token's products are too small to share between CPU threads: waiting for one another costs as much as it saves,
# and a hundred times as much where other programs want the cores (measured: 24 M parameters, 3 ms a token on one, 270 ms on two).
ONE_THREAD_PARAMETERS = 100_000_000
ONE_THREAD_ROWS = 16


@dataclass(eq=False)
class Flight:
    """A step that was launched: whose tokens it brings, and, once they are chosen, these."""

    streams: list[Stream]
    logits: Tensor
    refused: dict[int, SchemaError] = field(default_factory=dict)
    choosing: Callable[[], Chosen] | None = None
    _chosen: Chosen | None = None

    @property
    def chosen(self) -> Chosen | None:
        """What is chosen; None where that was never begun. Waits for masks, and raises what went wrong with all of them."""
        if self._chosen is None and self.choosing is not None:
            self._chosen = self.choosing()
        return self._chosen


class Runner:
    """One checkpoint's network, with room for `pages` pages."""

    def __init__(self, checkpoint: Checkpoint, network: Network, pages: int, page_tokens: int, vision: VisionCache) -> None:
        self.network = network
        self.vision = vision
        self.kv = network.pages(pages, page_tokens)
        network.warm(self.kv)
        self.steps = self.rows = self.pictures_seen = 0
        self._processor = checkpoint.processor
        parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
        self._alone = network.device.type == "cpu" and parameters < ONE_THREAD_PARAMETERS

    def look(self, chunks: Sequence[Chunk]) -> dict[Stream, Exception]:
        """Give streams the features that their chunks need, and say which failed and why."""
        lacking = [
            (chunk.stream, number)
            for chunk in chunks
            if chunk.start < len(chunk.stream.prompt.ids)
            for number in pictures_needed(chunk)
            if number not in chunk.stream.features
        ]
        if not lacking:
            return {}
        for stream, _ in lacking:
            stream.lap("prefill")
        before = self.pictures_seen
        features, errors = self.features(stream.prompt.pictures[number] for stream, number in lacking)
        failed: dict[Stream, Exception] = {}
        for stream, number in lacking:
            digest = stream.prompt.pictures[number].digest
            if self.pictures_seen > before:
                stream.lap("vision")
            if digest in errors:
                failed[stream] = errors[digest]
            else:
                stream.features[number] = features[digest]
        return failed

    def features(self, pictures: Iterable[Picture]) -> tuple[dict[bytes, VisualFeatures], dict[bytes, Exception]]:
        """The ViT's features of pictures by digest, and what went wrong with which. Known ones are not seen again."""
        features: dict[bytes, VisualFeatures] = {}
        new: dict[bytes, Picture] = {}
        for picture in pictures:
            found = self.vision.get(picture.digest)
            if found is None:
                new[picture.digest] = picture
            else:
                features[picture.digest] = found
        seen, errors = self._see(list(new.values())) if new else ({}, {})
        return features | seen, errors

    def launch(self, chunks: Sequence[Chunk], before: Flight | None) -> Flight:
        """Start the network on a step. `before` is the step on its way, whose tokens are read on the device."""
        rows = sum(chunk.count for chunk in chunks)
        streams = [chunk.stream for chunk in chunks if chunk.wanted]
        with self._threads(rows):
            step = step_of(chunks, self.kv.page_tokens, lambda: None if before is None else before.chosen)
            logits = self.network.logits(self.network.forward(step, self.kv))
        self.steps += 1
        self.rows += rows
        for row, stream in enumerate(streams):
            stream.row = row
        return Flight(streams, logits)

    def choose(self, flight: Flight) -> None:
        """Start choosing the tokens of a step. Masks are computed while the device still reads and the next step is prepared."""
        masks = begin_masks(flight.logits, flight.streams)

        def choosing() -> Chosen:
            with self._threads(len(flight.streams)):
                return choose(flight.logits, flight.streams, flight.refused, self.network.ops, masks)

        flight.choosing = choosing
        if masks is None:
            assert flight.chosen is not None

    def _see(self, pictures: list[Picture]) -> tuple[dict[bytes, VisualFeatures], dict[bytes, Exception]]:
        """One pass of the ViT over all of them."""
        try:
            patches = [self._patches(picture) for picture in pictures]
            joined = patches[0] if len(patches) == 1 else torch.cat(patches)
            found = _apart(self.network.see(joined, [picture.grid for picture in pictures]), pictures)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who asked for the picture
            if len(pictures) == 1:
                return {}, {pictures[0].digest: error}
            # Perhaps one of them is to blame, or all together were too many.
            features: dict[bytes, VisualFeatures] = {}
            errors: dict[bytes, Exception] = {}
            for picture in pictures:
                one, wrong = self._see([picture])
                features |= one
                errors |= wrong
            return features, errors
        self.pictures_seen += len(pictures)
        for picture, one_found in zip(pictures, found, strict=True):
            self.vision.put(picture.digest, one_found)
        return {picture.digest: one_found for picture, one_found in zip(pictures, found, strict=True)}, {}

    def _patches(self, picture: Picture) -> Tensor:
        """(n, patch_dim) on the network's device."""
        model = self.network.model
        if model.device.type == "cuda":
            return device_patches(picture.part, picture.grid, model.config.vision, model.device, model.dtype)
        return self._processor.part_patches(picture.part)[0]

    @contextmanager
    def _threads(self, rows: int) -> Iterator[None]:
        """As many CPU threads as so many rows are worth."""
        before = torch.get_num_threads()
        if before == 1 or not self._alone or rows > ONE_THREAD_ROWS:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _apart(features: VisualFeatures, pictures: Sequence[Picture]) -> list[VisualFeatures]:
    """Each picture's own features. Copies: a view would keep those of all pictures alive as long as one of them."""
    if len(pictures) == 1:
        return [features]
    counts = [len(picture.places) for picture in pictures]
    merged, *taps = (torch.split(one, counts) for one in (features.merged, *features.deepstack))
    return [VisualFeatures(merged[i].clone(), tuple(tap[i].clone() for tap in taps)) for i in range(len(pictures))]
