"""Relations in questions are those of the truth: recomputed pair by pair, the slow way, and against ``geometry``."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from deixis.geometry import Box3D, Located, margin
from deixis.lab.questions.pairs import RELATIONS, footprint_gaps, rotations
from tests.lab.asked_pictures import asked_pictures, by_id, label_of, of_kind


@pytest.fixture(scope="module")
def asked():
    return asked_pictures()


# --- relations, recomputed pair by pair ---------------------------------------------------------------------------------


def ground(truth, o):
    """(right, forward) along the ground, from the camera's pose in the world."""
    world_from_camera = np.array(truth["pose"]["T_world_camera"])[:3, :3]
    right = world_from_camera[:, 0] * [1, 1, 0]
    right = right / np.linalg.norm(right)
    forward = np.cross([0, 0, 1], right)
    place = world_from_camera @ o["center_m"]
    return np.array([place @ right, place @ forward])


def carriers(truth, o):
    """Everything that o rests on, at any depth, the table apart."""
    found, waiting = set(), list(o["rests_on"])
    while waiting:
        i = waiting.pop()
        if i != -1 and i not in found:
            found.add(i)
            waiting.extend(by_id(truth)[i]["rests_on"])
    return found


def holds(truth, relation, a, b, c=None):
    """True, False, or None for "too close to call"."""
    if relation in ("right_of", "behind", "below", "under"):
        return holds(truth, {"right_of": "left_of", "behind": "in_front_of", "below": "above", "under": "on"}[relation], b, a)
    stacked = b["id"] in carriers(truth, a) or a["id"] in carriers(truth, b)
    touching = a["id"] in b["touches"] or b["id"] in a["touches"]
    if relation == "left_of":
        gap = (sum(b["box_px"][::2]) - sum(a["box_px"][::2])) / 2 / truth["camera"]["width"]
        direction = math.atan2(b["center_m"][0], b["center_m"][2]) - math.atan2(a["center_m"][0], a["center_m"][2])
        return None if abs(gap) < 0.03 or gap * direction <= 0 else gap > 0
    if relation == "in_front_of":
        gap = b["depth_m"] - a["depth_m"]
        further = ground(truth, b)[1] - ground(truth, a)[1]
        plain = abs(gap) >= 0.06 and abs(gap) >= 0.05 * max(a["depth_m"], b["depth_m"]) and gap * further > 0 and not stacked
        return gap > 0 if plain else None
    if relation == "above":
        if b["id"] in carriers(truth, a):
            return True if a["bottom_m"] >= b["top_m"] - 0.01 else None
        if a["id"] in carriers(truth, b):
            return False if b["bottom_m"] >= a["top_m"] - 0.01 else None
        return False if a["rests_on"] == b["rests_on"] == [-1] and not touching else None
    if relation == "on":
        if b["id"] in a["rests_on"]:
            return True
        if a["id"] in b["rests_on"]:
            return False
        return None if stacked or touching else False
    if relation == "next_to":
        boxes = [Box3D.from_qwen(o["box_3d"]) for o in (a, b)]
        corners = [np.array([ground(truth, {"center_m": p}) for p in box.corners_m()]) for box in boxes]
        gap = _apart(*corners)
        relative = gap / np.mean([sum(o["box_3d"][3:5]) / 2 for o in (a, b)])
        if stacked or (gap == 0 and relative < 0.5):
            return None
        level = abs(a["bottom_m"] - b["bottom_m"]) <= 0.03
        return True if relative < 0.5 and level else False if relative > 2 else None
    if relation == "between":
        if stacked or any(x["id"] in carriers(truth, y) for x in (a, b, c) for y in (a, b, c)):
            return None
        middle = [np.array([sum(o["box_px"][::2]) / 2, sum(o["box_px"][1::2]) / 2]) for o in (a, b, c)]
        (along, aside), (_, aside_px) = _along(*[ground(truth, o) for o in (a, b, c)]), _along(*middle)
        inside = min(middle[1][0], middle[2][0]) < middle[0][0] < max(middle[1][0], middle[2][0])
        if 0.25 <= along <= 0.75 and aside < 0.25 and inside:
            return True
        return False if (not -0.1 <= along <= 1.1 and not inside) or (aside > 0.75 < aside_px) else None
    raise AssertionError(relation)


def _along(a, b, c):
    line = c - b
    along = (a - b) @ line / (line @ line)
    return along, np.linalg.norm(a - b - along * line) / np.linalg.norm(line)


def _apart(a, b):
    """Distance of two convex point sets, by linear search over directions and corners: slow and sure to a per mille."""
    angles = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)])  # the widest gap over all directions is the distance
    return max(0.0, float(((b @ directions).min(0) - (a @ directions).max(0)).max()))


def test_relations(asked):
    counts = Counter()
    for truth, q in of_kind(asked, "relation"):
        things = [by_id(truth)[i] for i in q.target["objects"]]
        found = holds(truth, q.target["relation"], *things)
        assert found == q.target["holds"], (q.question, q.target, found)
        counts[q.target["relation"]] += 1
    assert set(counts) == set(RELATIONS)
    for truth, q in of_kind(asked, "relation_choice"):
        relation = {"left": "left_of", "right": "right_of", "front": "in_front_of", "back": "behind"}[q.target["side"]]
        winner = by_id(truth)[q.target["object"]]
        (other,) = [by_id(truth)[i] for i in q.target["objects"] if i != winner["id"]]
        assert holds(truth, relation, winner, other)
        assert q.answer == label_of(winner, q.language)


def test_geometry_bears_every_relation_out(asked):
    """The truth of the lab and the check that ``spatial`` makes of an answer must not contradict each other."""
    verdicts = defaultdict(Counter)
    for truth, q in of_kind(asked, "relation"):
        located = []
        for i in q.target["objects"]:
            o = by_id(truth)[i]
            # Upright boxes with y vertical, as the worlds write them.
            box = Box3D.from_qwen(o["box_3d"])
            r, (x, y, z) = np.array(box.rotation), box.size_m
            upright = Box3D(box.center_m, (x, z, y), tuple(map(tuple, np.stack([r[:, 0], -r[:, 2], r[:, 1]], axis=1))))
            located.append(Located(o["label"], tuple(o["box_px"]), upright, o["depth_m"]))
        decided = margin(q.target["relation"], *located).decided
        verdicts[q.target["relation"]]["undecided" if decided is None else decided == q.target["holds"]] += 1
    for name, verdict in verdicts.items():
        assert verdict[False] <= 0.02 * verdict.total(), (name, verdict)  # a contradiction is a fault, "undecided" is an answer
        assert verdict[True] > 0.9 * verdict.total(), (name, verdict)


# --- the tables' own arithmetic -----------------------------------------------------------------------------------------


def test_rotations_are_those_of_geometry():
    angles = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    for one, matrix in zip(angles, rotations(angles), strict=True):
        assert np.allclose(matrix, Box3D.from_qwen([0, 0, 1, 1, 1, 1, *one]).rotation)


def test_footprint_gaps_are_distances():
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, 12)
    u = np.stack([np.cos(turn), np.sin(turn)], -1) * rng.uniform(0.1, 1, (12, 1))
    v = np.stack([-np.sin(turn), np.cos(turn)], -1) * rng.uniform(0.1, 1, (12, 1))
    centers = rng.uniform(-2, 2, (12, 1, 2))
    corners = centers + np.stack([u + v, u - v, -u - v, v - u], axis=1)
    gaps = footprint_gaps(corners)
    assert np.allclose(gaps, gaps.T) and np.allclose(np.diag(gaps), 0)
    for i in range(12):
        for j in range(12):
            assert gaps[i, j] == pytest.approx(_apart(corners[i], corners[j]), abs=2e-3)
