"""How many GPUs a load needs, and what a million pictures cost: from measured figures, up to 1,000 GPUs. Prints Markdown.

    python bench/scale.py [--price 3.0] [--share 0.6]

Figures of one H200 are of bench/results/2026-11-21-speed-h200 (64 requests at a time, each with its own 1024×1024 picture and 64
tokens of reply); vLLM's were measured on such a machine at another time. Nothing beyond one GPU was measured: what follows is
multiplication. A price is an assumption; so is the share of the peak that a service is run at.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "2026-11-21-speed-h200"
GPUS = (1, 8, 64, 256, 1000)
GATEWAY_PER_CORE = 100.0  # requests a second with a picture of 195 kB: see bench/results/2026-11-21-serve-cpu
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Measured:
    """Pictures a second on one GPU."""

    model: str
    engine: str
    new_pictures: float  # each request brings its own
    same_picture: float  # all ask about one


def measured(size: str) -> Measured:
    """What the embedded engine reached, from its results."""
    rows = json.loads((RESULTS / f"speed-{size}-cuda.json").read_text(encoding="utf-8"))["rows"]
    found = {row["name"]: row["value"] for row in rows}
    new, same = (found[f"64 requests at once, {pictures}, 64 tokens each"] for pictures in ("64 pictures", "one picture"))
    return Measured(f"Qwen3-VL-{size}", "Deixis", round(new, 1), round(same, 1))


VLLM = "vLLM 0.26.0"
FIGURES = (
    measured("2B"),
    Measured("Qwen3-VL-2B", VLLM, 33.2, 161.7),
    measured("8B"),
    Measured("Qwen3-VL-8B", VLLM, 19.4, 100.0),
)


def tables(price: float, share: float) -> str:
    """Both tables as Markdown; `price` in dollars an hour and GPU, `share` of the measured peak."""
    lines = [
        "| model, engine | " + " | ".join(f"{gpus} GPU{'s' if gpus > 1 else ''}" for gpus in GPUS) + " | cost of a million |",
        "|---" * (len(GPUS) + 2) + "|",
    ]
    for row in FIGURES:
        rate = row.new_pictures * share
        cells = " | ".join(f"{rate * gpus:,.0f}/s" for gpus in GPUS)
        lines.append(f"| {row.model}, {row.engine} | {cells} | ${price / 3600 / rate * 1e6:,.0f} |")
    lines += [
        "",
        "| GPUs (8B, vLLM) | pictures a day | gateway cores | cost a day |",
        "|---|---|---|---|",
    ]
    rate = FIGURES[3].new_pictures * share
    for gpus in GPUS:
        cores, day = max(1, round(rate * gpus / GATEWAY_PER_CORE + 0.5)), rate * gpus * SECONDS_A_DAY / 1e6
        lines.append(f"| {gpus:,} | {day:,.1f} million | {cores:,} | ${gpus * price * 24:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=3.0, help="dollars an hour for one GPU")
    parser.add_argument("--share", type=float, default=0.6, help="of the measured peak that is used on average")
    arguments = parser.parse_args()
    print(tables(arguments.price, arguments.share))


if __name__ == "__main__":
    main()
