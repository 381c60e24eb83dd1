"""vLLM's rows of the table, on its own random weights: a program of its own, in a Python that has vLLM.

`python -m deixis.lab.speed.peer_vllm FOLDER ASKING.json`: each row goes to standard output as a line of JSON as it is measured.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from deixis.lab.speed.asking import Asking, picture, question

PROMPT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"


def main(folder: str, asking_file: str) -> None:
    """Measure and tell."""
    plan = Asking(**json.loads(Path(asking_file).read_text(encoding="utf-8")))
    quiet = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    vllm = import_module("vllm")
    numbers = itertools.count(10_000)
    tell("version", vllm.__version__)
    engine = vllm.LLM(
        model=folder,
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=8192,
        limit_mm_per_prompt={"image": 1, "video": 0},
        gpu_memory_utilization=0.6,
        max_num_seqs=128,
        enable_prefix_caching=True,
    )

    def new_picture() -> Image.Image:
        return Image.fromarray(picture(next(numbers), plan.side_px))

    def request(seen: Image.Image, row: str) -> dict[str, Any]:
        return {"prompt": PROMPT.format(question(next(numbers), row)), "multi_modal_data": {"image": seen}}

    def took_s(requests: list[dict[str, Any]], tokens: int) -> float:
        wanted = vllm.SamplingParams(max_tokens=tokens, min_tokens=tokens, ignore_eos=True, temperature=0)
        began = time.perf_counter()
        engine.generate(requests, wanted, use_tqdm=False)
        return time.perf_counter() - began

    median = statistics.median
    for _ in range(3):
        took_s([request(new_picture(), "warm")], 8)
    tell("first", 1e3 * median([took_s([request(new_picture(), "first")], 1) for _ in range(plan.repeats)]))
    same = new_picture()
    took_s([request(same, "before")], 1)
    tell("second", 1e3 * median([took_s([request(same, "second")], 1) for _ in range(plan.repeats)]))
    pairs = max(plan.burst_repeats, 2)
    short = median([took_s([request(new_picture(), "decode")], 1) for _ in range(pairs)])
    long = median([took_s([request(new_picture(), "decode")], 1 + plan.decode_tokens) for _ in range(pairs)])
    tell("decode", plan.decode_tokens / (long - short))
    for row in ("many", "one"):
        times = []
        for _ in range(plan.burst_repeats):
            first = new_picture()
            seen = [first, *(first if row == "one" else new_picture() for _ in range(plan.requests - 1))]
            times.append(took_s([request(pixels, row) for pixels in seen], plan.request_tokens))
        tell(row, plan.requests / median(times))


def tell(name: str, value: Any) -> None:
    """One line for whoever started this program."""
    sys.stdout.write(json.dumps({"row": name, "value": value}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
