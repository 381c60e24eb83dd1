"""Tokens of the engine on a GPU beside the reference loop's on the same GPU: nano, many requests at once.

    PYTHONPATH=src:. python3 bench/gpu_engine.py [OUT.json]

Prints, per dtype, how many replies are the same token for token, how many tokens, and the largest difference of log-probabilities
where they are. In bfloat16 two right orders of summation choose differently now and then.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deixis.backends.catalog import nano_directory
from deixis.engine import Engine, Sampling
from deixis.model import generate, open_checkpoint

QUESTIONS = (
    "Locate every object. Report bbox coordinates in JSON format.",
    "Is the red cup left of the blue book?",
    "How many cups are there?",
    "图中有几个杯子?",
    "Which object is nearest to the camera?",
)
SIZES = ((480, 640), (320, 448), (544, 544))
MOST_TOKENS = 48


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Coloured rectangles on grey."""
    rng = np.random.default_rng(seed)
    pixels = np.full((*SIZES[seed % len(SIZES)], 3), 160, np.uint8)
    for _ in range(6):
        y, x = (int(rng.integers(0, side - 80)) for side in pixels.shape[:2])
        pixels[y : y + int(rng.integers(30, 80)), x : x + int(rng.integers(30, 80))] = rng.integers(0, 255, 3)
    return pixels


def compared(dtype: torch.dtype) -> dict[str, Any]:
    """Counts of replies and tokens that are the same."""
    checkpoint = open_checkpoint(nano_directory(), "cuda", dtype)
    engine = Engine(checkpoint)
    asked = [
        [{"role": "user", "content": [{"type": "image", "image": picture(i // 3)}, {"type": "text", "text": QUESTIONS[i % 5]}]}]
        for i in range(45)
    ]
    tickets = [engine.submit(messages, Sampling(max_new_tokens=MOST_TOKENS)) for messages in asked]
    replies = [ticket.result() for ticket in tickets]
    engine.check()
    same = tokens = agreeing = 0
    furthest = 0.0
    for messages, reply in zip(asked, replies, strict=True):
        inputs = checkpoint.processor.encode(messages).to("cuda")
        wanted = generate(checkpoint.model, inputs, max_new_tokens=MOST_TOKENS, stop_ids=checkpoint.stop_ids)
        same += reply.ids == wanted.ids
        tokens += len(wanted.ids)
        for ours, theirs, a, b in zip(reply.ids, wanted.ids, reply.logprobs, wanted.logprobs, strict=False):
            if ours != theirs:
                break
            agreeing += 1
            furthest = max(furthest, abs(a - b))
    found = {"dtype": str(dtype), "replies": len(asked), "same": same, "tokens": tokens, "same_until_first_difference": agreeing}
    return {**found, "largest_logprob_difference": round(furthest, 5), "steps": engine.stats().steps}


if __name__ == "__main__":
    results = [compared(dtype) for dtype in (torch.float32, torch.bfloat16)]
    for result in results:
        print(result, flush=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(results, indent=1), encoding="utf-8")
