"""Clips as lessons beside the pictures of stream.py: frames as a checkpoint reads a video, and packed questions about them.

Knows how a clip becomes patches, a prefix and token rows. Does not know the training loop. A lesson is one clip: the prefix is
exactly what the processor makes of its video, so that each question is trained as it will be asked.
"""

import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from deixis.errors import OptionError
from deixis.lab.data import HELD_OUT_SEEDS, Packed, pack
from deixis.lab.nano import write_companions
from deixis.lab.packing import Prefix, Rows, logits_of_patches, rows_of
from deixis.lab.stream import Batch
from deixis.lab.video.make import filmed
from deixis.lab.video.questions import ask_about
from deixis.model import Processor, Qwen3VL, Qwen3VLConfig

SIZE = (320, 256)  # a clip of 20 frames is as long as a large picture and its questions
TRUTH_FPS = 5.0
EVERY = 5  # of the frames of the truth is shown
FRAMES = 20


@dataclass(frozen=True)
class Lesson:
    """``frames`` (n, h, w, 3) uint8 at ``times_s`` (n,) and the questions about them, one row."""

    frames: NDArray[np.uint8]
    times_s: tuple[float, ...]
    packed: Packed


def lesson(seed: int, index: int, tokenizer_path: str, tokens: int, size: tuple[int, int] = SIZE) -> Lesson:
    """Clip ``index`` of a seed with questions in both languages; the same for ever. Raises OptionError for a held-out seed."""
    if seed in HELD_OUT_SEEDS:
        raise OptionError(f"seed {seed} is held out for benchmarks: train on another")
    case, pictures = filmed(seed, index, size, TRUTH_FPS)
    rng = np.random.default_rng([seed, index, 3])
    questions = ask_about(case, rng)
    packed = pack([[questions[k] for k in rng.permutation(len(questions))]], tokenizer_path, tokens)
    shown = range(0, min(len(pictures), EVERY * FRAMES), EVERY)
    return Lesson(np.stack([pictures[k] for k in shown]), tuple(case.frames[k].time_s for k in shown), packed)


class Lessons:
    """Lessons for ever, made by workers. A context manager: the workers end with the block."""

    def __init__(self, tokenizer: Tokenizer, tokenizer_path: str, config: Qwen3VLConfig, tokens: int, workers: int) -> None:
        """``tokens`` of questions with each clip."""
        self._path, self._tokens = tokenizer_path, tokens
        with tempfile.TemporaryDirectory() as folder:
            write_companions(Path(folder), tokenizer)
            self._processor = Processor.from_directory(folder, config)
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver"))
        self._ahead = 2 * workers

    def __enter__(self) -> "Lessons":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def of(self, seed: int, rank: int, ranks: int) -> Iterator[Lesson]:
        """Those of one process of ``ranks``: no two share a clip."""
        waiting: deque[Future[Lesson]] = deque()
        index = rank
        while True:
            while len(waiting) < self._ahead:
                waiting.append(self._pool.submit(lesson, seed, index, self._path, self._tokens))
                index += ranks
            yield waiting.popleft().result()

    def logits(self, model: Qwen3VL, given: Lesson, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Rows]:
        """(n, vocabulary) logits at the answers' tokens, and the rows that hold the answers."""
        patches, grid = self._processor.video_patches(given.frames)
        rows = rows_of(Batch(torch.empty(0), given.packed), video_prefix(self._processor, given), device)
        return logits_of_patches(model, patches.to(device), [grid], rows, dtype), rows


def video_prefix(processor: Processor, given: Lesson) -> Prefix:
    """What stands before a question about a clip: times and frames, up to the end of the last of them."""
    video = {"type": "video", "frames": given.frames, "timestamps_s": given.times_s}
    whole = processor.outline([{"role": "user", "content": [video]}], add_generation_prompt=False)
    ends = (whole.input_ids == processor.config.vision_end_token_id).nonzero()
    length = int(ends[-1]) + 1
    positions = whole.positions[:, :length]
    return Prefix(whole.input_ids[:length], positions, whole.visual_index, int(positions.max()) + 1)
