"""Pictures with their truth, by the reference renderer: what ``deixis lab make`` writes and benchmarks ask about.

Knows the way from a seed to a picture, its truth and its questions. Does not know models.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deixis.errors import OptionError
from deixis.lab.observe import observe, silhouette_arrays, silhouettes_of, stacked
from deixis.lab.questions import Question, ask_everything
from deixis.lab.render import render
from deixis.lab.scene import furnished_room, sampled_view, settled_scene
from deixis.lab.truth import observed, truth_of
from deixis.lab.worlds import load_world

MIN_SIDE_PX, MAX_SIDE_PX = 64, 4096


@dataclass(frozen=True)
class Example:
    """A picture (h, w, 3) uint8, its truth (a line of truth.jsonl without questions) and questions in both languages."""

    pixels: NDArray[np.uint8]
    truth: dict[str, Any]
    questions: list[Question]


def parse_size(text: str) -> tuple[int, int]:
    """``640x480`` as (width, height). Raises OptionError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() for p in parts):
        raise OptionError(f"size is {text!r}, expected WIDTHxHEIGHT such as 640x480")
    width, height = int(parts[0]), int(parts[1])
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (width, height)):
        raise OptionError(f"size is {text}, expected sides from {MIN_SIDE_PX} to {MAX_SIDE_PX} px")
    return width, height


def example(world: str, seed: int, index: int, size: tuple[int, int]) -> Example:
    """Picture number ``index`` of a seed; the same for ever."""
    rng = np.random.default_rng([seed, index])
    scene = settled_scene(world, rng)
    room, view = furnished_room(scene, rng), sampled_view(scene, rng, *size)
    pixels, things, depth = render(scene, room, view)
    outlines = silhouettes_of(stacked([silhouette_arrays(scene, view)]))
    seen = observe(torch.from_numpy(things)[None], torch.from_numpy(depth)[None], outlines)
    truth = observed(truth_of(seed, index, scene, view), seen)
    return Example(pixels, truth, ask_everything(truth, np.random.default_rng([seed, index, 1])))


def examples(world: str, seed: int, count: int, size: tuple[int, int]) -> Iterator[Example]:
    """Pictures 0 to ``count`` - 1 of a seed."""
    for index in range(count):
        yield example(world, seed, index, size)


def make(world: str, seed: int, count: int, size: tuple[int, int], out: Path) -> Iterator[int]:
    """Write 000000.png … and truth.jsonl to ``out``; yields how many are done. Raises OptionError where ``out`` holds a truth."""
    target = out / "truth.jsonl"
    if target.exists():
        raise OptionError(f"{target} exists already: choose another folder or remove it")
    load_world(world)  # an unknown one is refused before anything is written
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "truth.jsonl.part"
    with partial.open("w", encoding="utf-8") as lines:
        for index, made in enumerate(examples(world, seed, count, size)):
            name = f"{index:06d}.png"
            Image.fromarray(made.pixels).save(out / name)
            line = {"image": name, **made.truth, "questions": [q.to_json() for q in made.questions]}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            yield index + 1
    partial.rename(target)
