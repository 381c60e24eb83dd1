"""Decoding under a JSON schema beside free decoding: 64 streams about one picture, 2B shapes with random weights, on a GPU.

    PYTHONPATH=src:. python3 bench/gpu_schema.py [OUT.json]

Needs llguidance. Both are asked for the same number of tokens; medians of several turns, in turn.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch

from deixis.engine import Engine, Sampling
from deixis.lab.speed.asking import picture, question
from deixis.lab.speed.shapes import checkpoint_of

STREAMS, TOKENS, TURNS = 64, 64, 5
BOX = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1000}, "minItems": 4, "maxItems": 4}
ITEM = {
    "type": "object",
    "properties": {"bbox_2d": BOX, "label": {"type": "string", "maxLength": 40}},
    "required": ["bbox_2d", "label"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": ITEM, "minItems": 20, "maxItems": 64}


def burst_s(engine: Engine, number: int, *, held: bool) -> tuple[float, int]:
    """Seconds, and the tokens that came."""
    shown = picture(1, 1024)
    asked = Sampling(
        max_new_tokens=TOKENS, ignore_stop_tokens=True, logprobs=False, alternatives=0, schema=SCHEMA if held else None
    )
    messages = [
        [{"role": "user", "content": [{"type": "image", "image": shown}, {"type": "text", "text": question(number + i, "s")}]}]
        for i in range(STREAMS)
    ]
    tickets = [engine.submit(message, asked) for message in messages]
    began = time.perf_counter()
    replies = [ticket.result() for ticket in tickets]
    torch.cuda.synchronize()
    return time.perf_counter() - began, sum(len(reply.ids) for reply in replies)


if __name__ == "__main__":
    engine = Engine(checkpoint_of("2B", torch.device("cuda"), torch.bfloat16))
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(TURNS + 1):
        for held in (False, True):
            seconds, tokens = burst_s(engine, 1000 * turn + 100 * held, held=held)
            if turn:
                times[held].append(seconds / tokens)
    free, under = (1e3 * STREAMS * statistics.median(times[held]) for held in (False, True))
    found = {"streams": STREAMS, "free_ms_a_step": round(free, 3), "schema_ms_a_step": round(under, 3)}
    print({**found, "slower": f"{under / free - 1:.1%}"})
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
