"""How well the memory follows a flat world: identity through occlusion, states, and where hidden things are said to be."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from deixis.spatial.video.tracker import Tracker
from tests.spatial.video.flat_world import HEIGHT, WIDTH, World, detections, frame_truth, make_world

Score = Counter[str]


def follow(world: World, seed: int, noise_px: float = 1.0, dropped: float = 0.0) -> Score:
    """Counts of what was right and of how much there was to be right about."""
    rng, tracker, score = np.random.default_rng(seed), Tracker(), Counter()
    owner: dict[int, int] = {}  # thing → the track that it was first
    lost: dict[int, bool] = defaultdict(bool)
    revised: list[tuple[int, float, str]] = []
    said: list[tuple[float, int, str, str]] = []
    for time_s in world.times.tolist():
        truth = frame_truth(world, time_s)
        found = detections(world, truth, rng, noise_px, dropped)
        changes = tracker.update(time_s, [d for d, _ in found], (WIDTH, HEIGHT))
        revised += [(r.id, r.since_s, r.state) for r in changes.revisions]
        by_box = {thing.sighting.box_px: id_ for id_, thing in changes.things.items() if thing.now}
        for detection, which in found:
            id_ = by_box.get(detection.box_px)
            if id_ is None:
                continue
            if which in owner and lost[which]:
                score["identity"] += 1
                score["identity right"] += owner[which] == id_
            lost[which] = False
            owner.setdefault(which, id_)
        for which, one in truth.items():
            if which not in owner:
                continue
            thing = changes.things.get(owner[which])
            lost[which] |= one.state != "visible"
            state = thing.sighting.state if thing else "gone"
            said.append((time_s, owner[which], one.state, state))
            if one.state == "occluded":
                score["where"] += 1
                box = thing.sighting.box_px if thing else None
                if box is not None:
                    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                    u, v = (one.full_px[0] + one.full_px[2]) / 2, (one.full_px[1] + one.full_px[3]) / 2
                    reach = max(world.things[which].size)
                    score["where right"] += math.hypot(x - u, y - v) < reach
                    score["hider right"] += (
                        thing is not None
                        and owner.get(-1 if one.hidden_by is None else one.hidden_by, -1) == thing.sighting.hidden_by
                    )
    for time_s, id_, true, state in said:
        later = [new for revised_id, since, new in revised if revised_id == id_ and since <= time_s]
        # A revision speaks of the frames between the last sighting and when it was made.
        score["state"] += 1
        score["state right"] += true == state
        score[f"{true} as {state}"] += 1
        score["revised"] += bool(later)
    score["tracks"], score["things"] = tracker.next_id - 1, len(world.things)
    return score


def total(seeds: Iterable[int], kinds: tuple[str, ...] | None = None, **options: float) -> Score:
    """Summed over worlds."""
    score: Score = Counter()
    for seed in seeds:
        score += follow(make_world(seed, kinds), seed, **options)
    return score


def table(score: Score) -> str:
    """The figures as shares."""
    rows = []
    for name in ("identity", "state", "where"):
        of = max(score[name], 1)
        rows.append(f"{name:10s} {score[f'{name} right'] / of:7.3f} of {score[name]}")
    rows.append(f"{'hider':10s} {score['hider right'] / max(score['where'], 1):7.3f} of {score['where']}")
    rows.append(f"tracks {score['tracks']} for {score['things']} things")
    rows += [f"  {key}: {value}" for key, value in sorted(score.items()) if " as " in key and key.split()[0] != key.split()[-1]]
    return "\n".join(rows)
