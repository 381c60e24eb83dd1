"""A whole `ask` as a user meets it, and the calls of the network that it made, so that a peer can be asked the very same.

Knows `Deixis` and what its engine was asked. Does not know peers.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deixis.backends.local import LocalBackend, read_card
from deixis.engine import LocalEngine, Reply
from deixis.lab.speed.machine import timed_s
from deixis.model import Checkpoint
from deixis.spatial import Deixis

QUESTION = "Is the red ball left of the blue box?"
_SIZE = (640, 480)


class RecordingEngine(LocalEngine):
    """Serves as ever and keeps what was asked, with how many tokens came."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.calls: list[tuple[Sequence[Mapping[str, Any]], int]] = []

    def complete(self, messages: Sequence[Mapping[str, Any]], **settings: Any) -> Reply:
        """As `LocalEngine.complete`."""
        reply = super().complete(messages, **settings)
        self.calls.append((messages, len(reply.ids)))
        return reply


def ask_ms(checkpoint: Checkpoint, repeats: int, folder: Path) -> float:
    """Milliseconds of an `ask` about a new picture, the median; the calls of the last one go to `folder` (see `read_calls`)."""
    engine = RecordingEngine(checkpoint)
    session = Deixis(LocalBackend(engine, read_card(checkpoint.directory)))
    times = []
    for number in range(repeats + 1):
        engine.calls.clear()
        pixels = drawn(number)
        times.append(timed_s(lambda pixels=pixels: session.ask(pixels, QUESTION), checkpoint.model.device))  # type: ignore[misc]
    write_calls(engine.calls, folder)
    return 1e3 * statistics.median(times[1:])


def drawn(number: int) -> NDArray[np.uint8]:
    """A red ball left of a blue box (480, 640, 3), a little elsewhere in each picture."""
    image = Image.new("RGB", _SIZE, (196, 190, 180))
    pen, shift = ImageDraw.Draw(image), 3 * number
    pen.rectangle((0, 300, *_SIZE), (150, 140, 128))
    pen.ellipse((120 + shift, 270, 220 + shift, 370), (200, 30, 30))
    pen.rectangle((380 - shift, 250, 500 - shift, 370), (40, 60, 190))
    return np.asarray(image)


def write_calls(calls: Sequence[tuple[Sequence[Mapping[str, Any]], int]], folder: Path) -> None:
    """As JSON, each picture as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for number, (messages, tokens) in enumerate(calls):
        told = []
        for i, message in enumerate(messages):
            parts = []
            for j, part in enumerate(message["content"]):
                if part["type"] == "image":
                    name = f"{number}-{i}-{j}.png"
                    Image.fromarray(part["image"]).save(folder / name)
                    parts.append({"type": "image", "image": name})
                else:
                    parts.append({"type": "text", "text": part["text"]})
            told.append({"role": message["role"], "content": parts})
        kept.append({"messages": told, "tokens": tokens})
    (folder / "calls.json").write_text(json.dumps(kept), encoding="utf-8")


def read_calls(folder: Path) -> list[tuple[list[dict[str, Any]], int]]:
    """(messages with pixels, new tokens) of each call."""
    found = json.loads((folder / "calls.json").read_text(encoding="utf-8"))
    for call in found:
        for message in call["messages"]:
            for part in message["content"]:
                if part["type"] == "image":
                    with Image.open(folder / part["image"]) as image:
                        part["image"] = np.asarray(image)
    return [(call["messages"], call["tokens"]) for call in found]
