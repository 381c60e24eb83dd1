"""How long a question takes in a warm process: first about a picture not seen before, then again about the same picture.

MUJOCO_GL=egl python bench/latency.py [PICTURES]
"""

import resource
import statistics
import sys
import time
from collections import defaultdict

from deixis import Deixis
from deixis.lab.make import example

SEED = 800811  # never trained on


def main(pictures: int) -> None:
    """Ask every question of ``pictures`` rendered pictures; print a table per kind."""
    session = Deixis("nano")
    first, further = defaultdict(list), defaultdict(list)
    for index in range(pictures):
        made = example("desk", SEED, index, (640, 480))
        asked = [q for q in made.questions if q.prompt_kind == "ask"]
        fresh = asked[index % len(asked)]
        for question, into in ((fresh, first), *((q, further) for q in asked if q is not fresh)):
            started = time.perf_counter()
            session.ask(made.pixels, question.question)
            into[question.kind].append((time.perf_counter() - started) * 1000)
    print("| kind | first, median ms | further, median ms | further, most ms |\n|---|---|---|---|")
    for kind in sorted(further):
        new = f"{statistics.median(first[kind]):.0f}" if first[kind] else ""
        print(f"| {kind} | {new} | {statistics.median(further[kind]):.0f} | {max(further[kind]):.0f} |")
    for name, times in (("first", first), ("further", further)):
        found = [t for ts in times.values() for t in ts]
        within = sum(t <= 1000 for t in found) / len(found)
        print(
            f"{name}: median {statistics.median(found):.0f} ms, most {max(found):.0f} ms, {within:.1%} of {len(found)} within 1 s"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (with the renderer)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
