"""Training of nano from scratch: rendered pictures and packed questions in, a checkpoint in transformers' format out.

Knows the schedule, the loop and its records. Does not know how pictures or questions come about.
Runs on any number of GPUs, one process each; on a CPU for trials. Stops by the clock, so that it fits a lease.
"""

import faulthandler
import json
import os
import sys
import time
import traceback
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from deixis.errors import OptionError
from deixis.lab.batch_render import BatchRenderer
from deixis.lab.nano import SIZES, nano_config, write_companions
from deixis.lab.optimizer import MuonAdamW
from deixis.lab.packing import answer_logits, picture_prefix, rows_of
from deixis.lab.stream import Batch, Order, SizeMix, Stream, orders
from deixis.lab.video.lessons import Lessons
from deixis.model import Qwen3VL, load_weights, save_checkpoint

SMALL = ((384, 320), (320, 384), (352, 352), (448, 256), (256, 448), (288, 256))
LARGE = ((640, 480), *SIZES)


@dataclass(frozen=True)
class Plan:
    """What to train and for how long. ``begin`` and ``end`` are the stretch of the whole schedule that this run covers
    (a later run goes on with ``resume`` where the earlier one ended). Raises OptionError where that is no stretch.
    """

    out: str
    tokenizer: str
    minutes: float
    worlds: tuple[str, ...] = ("primitives", "desk", "desk")
    seed: int = 1
    resume: str | None = None
    begin: float = 0.0
    end: float = 1.0
    batch: int = 128
    pictures: int = 256  # rendered at once
    large_tokens: int = 1408  # of a whole row, picture and questions
    small_tokens: int = 1152
    uses: int = 2
    rate: float = 2e-3
    warmup_steps: int = 200
    flat_until: float = 0.35  # of the schedule; then the rate falls linearly
    small_until: float = 0.45  # of the schedule: mostly small pictures before, mostly large ones after
    video_share: float = 0.0  # of the steps: on a clip instead of pictures
    video_tokens: int = 512  # of questions about a clip
    smooth_share: float = 0.1  # measured: the network answers alike on smooth, unsmooth and MuJoCo pictures
    workers: int = 14
    views: int = 6
    small: tuple[tuple[int, int], ...] = SMALL
    large: tuple[tuple[int, int], ...] = LARGE
    compile: bool = True
    report_s: float = 45.0
    # 1: all GPUs share each gradient (NCCL); more: each trains alone, and weights are averaged every so many steps (Gloo)
    average_every: int = 1
    stack_s: float = 0.0  # print where every thread stands after so many seconds (0: never), to find what hangs
    save_s: float = 120.0  # how often the checkpoint on disk is renewed

    def __post_init__(self) -> None:
        if not 0 <= self.video_share < 1:
            raise OptionError(f"video_share is {self.video_share}, expected 0 to less than 1: the exam is held on pictures")
        if not 0 <= self.begin < self.end <= 1:
            raise OptionError(f"the run goes from {self.begin} to {self.end} of the schedule, expected 0 <= begin < end <= 1")


def train(plan: Plan, rank: int = 0, ranks: int = 1) -> Path:
    """Run one process of ``ranks``; rank 0 writes ``out`` (checkpoint, metrics.jsonl, training.json)."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    if ranks > 1:
        dist.init_process_group("nccl" if cuda and plan.average_every == 1 else "gloo")
    start = time.monotonic()
    out = Path(plan.out)
    tokenizer = Tokenizer.from_file(plan.tokenizer)
    model, done = _model(plan, tokenizer, device)
    model.train()
    mix = SizeMix(plan.small, plan.large, 0.0)
    todo = orders(plan.seed + 1000 * done["runs"], rank, ranks, plan.pictures, plan.worlds, mix, plan.smooth_share)
    if plan.compile and cuda:
        for block in [*model.visual.blocks, *model.language.layers]:
            block.compile()
    optimizer = MuonAdamW(model)
    sizes = sorted(set(plan.small + plan.large))
    smooths = (False, True) if plan.smooth_share < 1 else (True,)
    renderers = {s: BatchRenderer(plan.pictures, sizes, f"cuda:{rank}" if cuda else "cpu", smooth=s) for s in smooths}
    prefixes = {(w, h): picture_prefix(tokenizer, h, w) for w, h in sizes}
    room = {s: (plan.large_tokens if s in plan.large else plan.small_tokens) - len(prefixes[s].ids) for s in sizes}
    log = _Log(out) if rank == 0 else None
    dtype = torch.bfloat16 if cuda else torch.float32
    share, step, pictures, warm = 0.0, done["steps"], done["pictures"], 0
    losses: list[Tensor] = []
    stream = Stream(
        renderers, plan.tokenizer, batch=plan.batch, tokens=room, workers=plan.workers, views=plan.views, uses=plan.uses
    )
    lessons, turns = _lessons(plan, tokenizer, model), np.random.default_rng([plan.seed, rank, 19])
    with stream, lessons or nullcontext():
        clips = None if lessons is None else lessons.of(plan.seed + 1000 * done["runs"], rank, ranks)
        exam = _exam(plan, stream) if rank == 0 else []
        batches = stream.batches(todo)
        report = saved = time.monotonic()
        waited = 0.0
        while True:
            if step % plan.average_every == 0:
                share = _agreed(min(1.0, (time.monotonic() - start) / (60 * plan.minutes)), device, ranks)
            progress = plan.begin + share * (plan.end - plan.begin)
            if share >= 1:
                break
            mix.full = 0.1 if progress < plan.small_until else 0.85
            asked = time.monotonic()
            if lessons is not None and clips is not None and turns.random() < plan.video_share:
                clip = next(clips)
                waited += time.monotonic() - asked
                with torch.autocast(device.type, dtype, enabled=cuda):
                    logits, rows = lessons.logits(model, clip, device, dtype)
            else:
                batch = next(batches)
                waited += time.monotonic() - asked
                pictures += plan.batch * ranks
                height, width = batch.pixels.shape[-2:]
                rows = rows_of(batch, prefixes[width, height], device)
                with torch.autocast(device.type, dtype, enabled=cuda):
                    logits = answer_logits(model, augmented(batch.pixels), rows, dtype)
            loss = (F.cross_entropy(logits, rows.target, reduction="none") * rows.weight).sum() / rows.weight.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if ranks > 1 and plan.average_every == 1:
                _average([p.grad for p in model.parameters() if p.grad is not None], ranks)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            warm += 1
            optimizer.step(plan.rate * min(1.0, warm / plan.warmup_steps) * _decay(progress, plan.flat_until))
            step += 1
            if ranks > 1 and plan.average_every > 1 and step % plan.average_every == 0:
                _average([p.data for p in model.parameters()], ranks)
            losses.append(loss.detach())
            if time.monotonic() - report > plan.report_s:
                if log is not None:
                    done_so_far = {"step": step, "pictures": pictures, "progress": round(progress, 4)}
                    measured = {"loss": round(float(torch.stack(losses).mean()), 4), "waited_s": round(waited, 1)}
                    scores = examine(model, exam, prefixes, device, dtype)
                    log.write({"s": round(time.monotonic() - start), **done_so_far, **measured, **scores})
                losses, report, waited = [], time.monotonic(), 0.0
            if log is not None and time.monotonic() - saved > plan.save_s:
                save(out, model, tokenizer, _record(plan, done, step, pictures, progress, start))
                saved = time.monotonic()
    if rank == 0:
        save(out, model, tokenizer, _record(plan, done, step, pictures, plan.end, start))
    if ranks > 1:
        dist.destroy_process_group()
    return out


# What of a plan says nothing about the checkpoint, folders of the training machine above all.
_NOT_RECIPE = ("out", "tokenizer", "resume", "compile", "report_s", "stack_s", "save_s")


def _record(plan: Plan, done: dict[str, int], step: int, pictures: int, progress: float, start: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - start)
    recipe = {k: v for k, v in asdict(plan).items() if k not in _NOT_RECIPE}
    reached = {"steps": step, "pictures": pictures, "progress": progress}
    return {**reached, "runs": done["runs"] + 1, "seconds": seconds, "plan": recipe}


def save(out: Path, model: Qwen3VL, tokenizer: Tokenizer, record: dict[str, Any]) -> None:
    """Write a checkpoint that transformers loads and ``resume`` goes on from (weights in bfloat16; momenta start anew)."""
    write_companions(out, tokenizer)
    save_checkpoint(out, model)
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _model(plan: Plan, tokenizer: Tokenizer, device: torch.device) -> tuple[Qwen3VL, dict[str, int]]:
    model = Qwen3VL(nano_config(tokenizer))
    if plan.resume is None:
        model.init_weights(torch.Generator().manual_seed(plan.seed))
        return model.to(device), {"steps": 0, "pictures": 0, "runs": 0}
    load_weights(model, plan.resume, dtype=torch.float32)
    record = json.loads((Path(plan.resume) / "training.json").read_text(encoding="utf-8"))
    for p in model.parameters():
        p.requires_grad_(True)
    return model.to(device), {k: int(record[k]) for k in ("steps", "pictures", "runs")}


def _lessons(plan: Plan, tokenizer: Tokenizer, model: Qwen3VL) -> Lessons | None:
    if plan.video_share == 0:
        return None
    return Lessons(tokenizer, plan.tokenizer, model.config, plan.video_tokens, max(1, plan.workers // 4))


def _decay(progress: float, flat_until: float) -> float:
    return 1.0 if progress < flat_until else max(0.01, (1 - progress) / (1 - flat_until))


def augmented(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 -> floats in [-1, 1] with random exposure, contrast, tint, blur and noise; hues stay what they are."""
    b = len(pixels)
    x = pixels.float() / 255

    def rand(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(b, channels, 1, 1, device=x.device)

    x = x.clamp_min(1e-4) ** rand(0.75, 1.3)
    x = (x - 0.5) * rand(0.8, 1.2) + 0.5 + rand(-0.06, 0.06)
    x = x * rand(0.94, 1.06, 3)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, rand(-0.6, 0.6).clamp_min(0))
    x = x + torch.randn_like(x) * rand(-0.02, 0.025).clamp_min(0)
    return x.clamp(0, 1) * 2 - 1


def _average(tensors: list[Tensor], ranks: int) -> None:
    """Replace tensors by their mean over all ranks, in one message."""
    flat = torch.cat([t.flatten() for t in tensors])
    carried = flat if dist.get_backend() == "nccl" else flat.cpu()
    dist.all_reduce(carried)
    flat.copy_(carried / ranks)
    for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _agreed(share: float, device: torch.device, ranks: int) -> float:
    """All ranks stop at the same step: the furthest clock decides."""
    if ranks == 1:
        return share
    value = torch.tensor(share, device=device if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return float(value)


def _exam(plan: Plan, stream: Stream) -> list[Batch]:
    """Held-out batches, one of each world, at the first of the large sizes: the one that benchmarks use."""
    worlds = list(dict.fromkeys(plan.worlds))
    rounds = cycle([Order(world, 800_001 + k, 0, plan.large[0], True) for k, world in enumerate(worlds)])
    batches = stream.batches(rounds)
    per_round = plan.uses * (plan.pictures // plan.batch)
    taken = [next(batches) for _ in range(per_round * len(worlds))]
    return taken[::per_round]


@torch.no_grad()
def examine(
    model: Qwen3VL, exam: list[Batch], prefixes: dict[Any, Any], device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Share of right answer tokens per kind on held-out pictures, given the true answer so far (teacher-forced)."""
    model.eval()
    right: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    for batch in exam:
        height, width = batch.pixels.shape[-2:]
        rows = rows_of(batch, prefixes[width, height], device)
        with torch.autocast(device.type, dtype, enabled=device.type == "cuda"):
            logits = answer_logits(model, batch.pixels.float() / 127.5 - 1, rows, dtype)
        ok = (logits.argmax(-1) == rows.target).float().cpu().numpy()
        at = np.flatnonzero(batch.packed.weight)
        for value, flat in zip(ok, at, strict=True):
            row, column = divmod(int(flat), batch.packed.ids.shape[1])
            kind = batch.packed.kinds[row][batch.packed.segment[row, column] - 1]
            right[kind] += float(value)
            total[kind] += 1
    model.train()
    return {kind: round(right[kind] / total[kind], 4) for kind in sorted(total)}


class _Log:
    """metrics.jsonl and a line on the terminal."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path = out / "metrics.jsonl"

    def write(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def launch(plan: Plan, gpus: int) -> None:
    """``train`` in one process per GPU."""
    if gpus <= 1:
        train(plan)
        return
    from torch.multiprocessing.spawn import spawn

    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    spawn(_process, args=(plan, gpus), nprocs=gpus)  # type: ignore[no-untyped-call]


def _process(rank: int, plan: Plan, ranks: int) -> None:
    if plan.stack_s:
        faulthandler.dump_traceback_later(plan.stack_s)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    try:
        train(plan, rank, ranks)
    except BaseException:  # noqa: BLE001 - reported at once, and the process ends
        # Leaving by the front door would wait for workers and for the other ranks, and hide what happened.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
