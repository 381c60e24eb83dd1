"""The ways of a hand: paths along which a thing is lifted, set down, slid and led around.

Knows smooth curves over time. Does not know physics or why.
"""

import numpy as np
from numpy.typing import NDArray

from deixis.lab.video.stage import Path, Pose

Array = NDArray[np.float64]


def eased(share: float) -> float:
    """0 to 1 with neither speed nor acceleration at the ends (minimum jerk); shares outside are held at the ends."""
    x = min(max(share, 0.0), 1.0)
    return x * x * x * (10 - 15 * x + 6 * x * x)


def resting(pose: Pose) -> Path:
    """Stays where it is."""
    return lambda _: pose


def lifted_over(start: Pose, end_m: Array, height_m: float, seconds: float) -> Path:
    """Up by ``height_m`` above both ends, across, and down to ``end_m``, without a turn."""
    position, rotation = start
    top = max(position[2], end_m[2]) + height_m

    def path(now: float) -> Pose:
        share = now / seconds
        across = position + (end_m - position) * eased((share - 0.2) / 0.6)
        rise, sink = eased(share / 0.35), eased((share - 0.65) / 0.35)
        height = position[2] + (top - position[2]) * rise + (end_m[2] - top) * sink
        return np.array([across[0], across[1], height]), rotation

    return path


def slid(start: Pose, end_m: Array, seconds: float) -> Path:
    """Straight to ``end_m``."""
    position, rotation = start
    return lambda now: (position + (end_m - position) * eased(now / seconds), rotation)


def pushed(start: Pose, end_m: Array, seconds: float) -> Path:
    """Straight to ``end_m`` at a nearly even speed: quick to start and slow to stop, as a hand pushes."""
    position, rotation = start
    return lambda now: (position + (end_m - position) * _even(min(max(now / seconds, 0.0), 1.0)), rotation)


def led_around(start: Pose, middle_m: Array, seconds: float, lift_m: float) -> Path:
    """Half a circle about the vertical through ``middle_m``, to the opposite side; slightly off the table."""
    position, rotation = start
    arm = position - middle_m

    def path(now: float) -> Pose:
        share = now / seconds
        angle = np.pi * eased((share - 0.1) / 0.8)
        c, s = np.cos(angle), np.sin(angle)
        lift = lift_m * (eased(share / 0.1) - eased((share - 0.9) / 0.1))
        return middle_m + np.array([c * arm[0] - s * arm[1], s * arm[0] + c * arm[1], arm[2] + lift]), rotation

    return path


def beside(path: Path, offset_m: Array, rotation: Array) -> Path:
    """The way of a thing that is carried along at an offset (world axes), with its own turn."""
    return lambda now: (path(now)[0] + offset_m, rotation)


def _even(share: float) -> float:
    """Speeds up over the first and slows down over the last fifth."""
    edge = 0.2
    if share < edge:
        raw = share * share / (2 * edge)
    elif share > 1 - edge:
        raw = 1 - edge - (1 - share) ** 2 / (2 * edge)
    else:
        raw = share - edge / 2
    return raw / (1 - edge)
