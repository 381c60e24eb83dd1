"""Constant velocity with white acceleration: a Kalman filter over any number of equal axes, at irregular times.

Knows numbers in whatever unit its caller uses: pixels of the picture or metres of the room. Does not know boxes or labels.
All axes share their noise, so the covariance is one 2×2 matrix (place, speed) and not one per axis; that is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class ConstantVelocity:
    """Place and velocity (axes,) with the covariance of (place, speed) that every axis shares."""

    def __init__(self, place: ArrayLike, sigma: float, speed_sigma: float) -> None:
        self.place: Array = np.asarray(place, np.float64).copy()
        self.velocity: Array = np.zeros_like(self.place)
        self.covariance: Array = np.diag([sigma**2, speed_sigma**2])

    @property
    def sigma(self) -> float:
        """Standard deviation of the place on each axis."""
        return math.sqrt(float(self.covariance[0, 0]))

    def predict(self, seconds: float, acceleration: float) -> None:
        """Moves on by a time ≥ 0; `acceleration` is the spectral density of its noise, in units/s^1.5."""
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        noise = acceleration**2 * np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        self.place = self.place + self.velocity * seconds
        self.covariance = step @ self.covariance @ step.T + noise

    def update(self, place: ArrayLike, sigma: float) -> None:
        """Takes in a measured place (axes,) whose error has this standard deviation on each axis."""
        innovation = np.asarray(place, np.float64) - self.place
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + sigma**2)  # (2,)
        self.place = self.place + gain[0] * innovation
        self.velocity = self.velocity + gain[1] * innovation
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])

    def density(self, place: ArrayLike, sigma: float) -> float:
        """Probability density of measuring a place, per unit to the power of the axes."""
        variance = float(self.covariance[0, 0]) + sigma**2
        squared = float(((np.asarray(place, np.float64) - self.place) ** 2).sum())
        axes = len(self.place)
        return math.exp(-0.5 * squared / variance) / math.pow(2 * math.pi * variance, axes / 2)

    def rest_at(self, place: ArrayLike, sigma: float, speed_sigma: float) -> None:
        """Starts anew at a place: seen again after a time in which nothing is known of its way."""
        self.__init__(place, sigma, speed_sigma)  # type: ignore[misc]

    def mapped(self, matrix: Array) -> None:
        """The same motion behind an affine map (axes, axes + 1) of the space that it is in: a camera that moved."""
        linear = matrix[:, :-1]
        self.place = linear @ self.place + matrix[:, -1]
        self.velocity = linear @ self.velocity

    def to_json(self) -> dict[str, Any]:
        """All of it, for the ledger."""
        return {"place": self.place.tolist(), "velocity": self.velocity.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ConstantVelocity:
        """What `to_json` wrote."""
        motion = cls(row["place"], 1.0, 1.0)
        motion.velocity = np.array(row["velocity"], np.float64)
        motion.covariance = np.array(row["covariance"], np.float64)
        return motion
