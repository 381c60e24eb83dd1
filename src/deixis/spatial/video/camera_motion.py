"""How the picture moved because the camera did: one affine map from pixels of the last frame to pixels of this one.

Knows matched places, most of which stand still in the room. Does not know tracks. A camera that turns shifts all of them alike;
one that travels shifts near things more, and on a ground the near ones are lower in the picture, which an affine map can hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
STILL: Array = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
STILL.setflags(write=False)

_NOISE = 0.006  # of the picture's diagonal: how far from the map a thing may be that did not move by itself
_FEWEST = 3  # things that must agree on a shift; two might move together by chance, one always agrees with itself
_AT_REST = 0.35  # of the noise: what strays by less did not move in the picture
_RIDGE = 0.25  # how many things' worth of evidence the turning of the last frames is
NOT_TURNING: Array = np.zeros((2, 2))
NOT_TURNING.setflags(write=False)


def shift_by_vote(before_px: ArrayLike, after_px: ArrayLike, alike: NDArray[np.bool_], diagonal_px: float) -> Array:
    """The shift (2, 3) that most things agree on, `before_px` (n, 2), `after_px` (m, 2), `alike` (n, m): who may be whom.

    No motion where it explains as many of them, or where fewer than three agree.
    """
    before, after = np.asarray(before_px, np.float64).reshape(-1, 2), np.asarray(after_px, np.float64).reshape(-1, 2)
    if len(before) < _FEWEST or not alike.any():
        return STILL
    rows, columns = np.nonzero(alike)
    shifts = after[columns] - before[rows]  # (k, 2)
    candidates = np.vstack([np.zeros((1, 2)), shifts])
    close = np.abs(candidates[:, None] - shifts[None]).max(axis=2) < 2.5 * _NOISE * diagonal_px  # (k + 1, k)
    votes = np.array([len(np.unique(rows[agrees])) for agrees in close])
    best = int(np.argmax(votes))
    if best == 0 or votes[best] < max(_FEWEST, votes[0] + 1, len(before) / 2):
        return STILL
    return np.column_stack([np.eye(2), np.median(shifts[close[best]], axis=0)])


def fitted(
    before_px: ArrayLike,
    after_px: ArrayLike,
    diagonal_px: float,
    shift: Array = STILL,
    moved_before: bool = False,
    turning: Array = NOT_TURNING,
) -> Array:
    """The affine map (2, 3) of pairs (n, 2), robust against those that move by themselves; `shift` where too few pairs bear it.

    A camera that `moved_before` goes on: two that agree are enough, it is followed however slow it gets, and it turns as it did
    (`turning`, (2, 2): the linear part less the identity): by a ridge, since the few things of one frame tell little of it.
    """
    before, after = np.asarray(before_px, np.float64).reshape(-1, 2), np.asarray(after_px, np.float64).reshape(-1, 2)
    noise = _NOISE * diagonal_px
    found = _fitted(before, after, diagonal_px, shift, moved_before, turning)
    if found is STILL or moved_before:
        return found
    # A camera that sets off moves all that it sees: more than half of the things, and more than stand still in the picture.
    agree = np.abs(after - mapped(found, before)).max(axis=1, initial=0) < noise
    at_rest = np.abs(after - before).max(axis=1, initial=0) < 2 * _AT_REST * noise
    return found if agree.sum() > max(at_rest.sum() if not agree[at_rest].all() else 0, len(before) / 2) else STILL


def _fitted(before: Array, after: Array, diagonal_px: float, shift: Array, moved_before: bool, turning: Array) -> Array:
    fewest = 2 if moved_before else _FEWEST
    if len(before) < fewest:
        return shift
    noise = _NOISE * diagonal_px
    residual = after - before - shift[:, 2]
    at_rest = np.abs(residual).max(axis=1) < _AT_REST * noise
    if shift is STILL and 2 * at_rest.sum() >= len(before) and np.abs(residual).max() > noise:
        return STILL  # some things move by themselves, and as many or more do not
    # The median is right while more than half of the things stand still; those far from it move by themselves.
    middle = np.median(residual, axis=0)
    near = np.abs(residual - middle).max(axis=1) < 4 * noise
    if near.sum() < max(fewest, len(before) / 2):
        return shift
    if near.sum() < _FEWEST:
        together = residual[near]
        if np.abs(together - together.mean(axis=0)).max() > 0.5 * noise:
            return shift
        return np.column_stack([np.eye(2), together.mean(axis=0) + shift[:, 2]])
    origin = before[near].mean(axis=0)
    points = np.column_stack([(before[near] - origin) / diagonal_px, np.ones(near.sum())])  # (k, 3)
    weights = np.ones(near.sum())
    ridge = np.diag([_RIDGE, _RIDGE, 0.0])
    expected = np.vstack([turning.T * diagonal_px, np.zeros(2)])  # (3, 2)
    solution = np.zeros((3, 2))
    for _ in range(5):
        weighted = points * weights[:, None]
        solution = np.linalg.solve(points.T @ weighted + ridge, weighted.T @ (after[near] - before[near]) + ridge @ expected)
        error = np.linalg.norm(after[near] - before[near] - points @ solution, axis=1)
        weights = 1 / np.maximum(1.0, error / (0.5 * noise)) ** 2
    linear = np.eye(2) + solution[:2].T / diagonal_px
    if np.abs(linear - np.eye(2)).max() < 0.002 and np.abs(solution[2]).max() < (0.1 if moved_before else 0.25) * noise:
        return STILL  # below what boxes can tell: sums of it over an hour would be a drift
    return np.column_stack([linear, solution[2] + origin - linear @ origin])


def mapped(matrix: Array, points_px: ArrayLike) -> Array:
    """Points (n, 2) behind the map."""
    moved: Array = np.asarray(points_px, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved
