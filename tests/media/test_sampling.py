"""Choosing frames, on readers made of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from deixis.media.sampling import at_rate, at_times, color_histogram, shown_size, thinned


@dataclass(frozen=True)
class Moment:
    time_s: float

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.zeros((size[1], size[0], 3), np.uint8)


class Numbers:
    """A reader of these times."""

    def __init__(self, times_s: Sequence[float]) -> None:
        self.times_s = list(times_s)
        self.decoded = 0

    def read(self) -> Moment | None:
        self.decoded += 1
        return Moment(self.times_s[self.decoded - 1]) if self.decoded <= len(self.times_s) else None

    def seek(self, time_s: float) -> bool:
        return False

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("times", "fps", "from_s", "expected"),
    [
        ([0, 1, 2, 3], 1, 0, [0, 1, 2, 3]),
        ([0, 1, 2, 3], 100, 0, [0, 1, 2, 3]),
        ([0, 1, 2, 3], 0.5, 0, [0, 2]),
        ([0, 0.1, 0.2, 5e9, 5e9 + 1], 30, 0, [0, 0.1, 0.2, 5e9, 5e9 + 1]),  # no step for each of the steps between
        ([10, 11, 12], 1, 0, [10, 11, 12]),  # begins later than asked for: once, not ten times
        ([0, 0.3, 0.6, 0.9], 2, 0, [0, 0.3, 0.9]),
        ([], 1, 0, []),
        ([4], 1, 0, [4]),
    ],
)
def test_at_rate(times: list[float], fps: float, from_s: float, expected: list[float]) -> None:
    assert [still.time_s for still in at_rate(Numbers(times), fps, from_s, max(times, default=0) + 0.5)] == expected


def test_sums_of_steps_do_not_drift() -> None:
    times = [i / 30 for i in range(100_000)]
    given = [still.time_s for still in at_rate(Numbers(times), 10, 0, 1e9)]
    assert given == times[::3]


def test_thinned_gives_the_first_that_is_due() -> None:
    assert [still.time_s for still in thinned(Numbers([0, 0.4, 0.9, 1.2, 1.9, 2.0, 7.5]), 1, 0, 1e9)] == [0, 1.2, 2.0, 7.5]


def test_at_times_reads_no_further_than_needed() -> None:
    reader = Numbers(range(1000))
    assert [still.time_s for still in at_times(reader, [3.5, 3.9, 7])] == [3, 3, 7]
    assert reader.decoded == 9
    assert [still.time_s for still in at_times(Numbers([]), [1.0])] == []


def test_histograms_know_where_a_color_is() -> None:
    left, right = np.zeros((2, 8, 8, 3), np.uint8)
    left[:, :4], right[:, 4:] = 255, 255
    assert color_histogram(left).sum() == pytest.approx(1)
    assert np.abs(color_histogram(left) - color_histogram(right)).sum() / 2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("side", "pixels", "size"),
    [(None, None, (640, 480)), (320, None, (320, 240)), (None, 1000, (36, 27)), (1, None, (8, 8)), (9999, 10**9, (640, 480))],
)
def test_shown_size(side: int | None, pixels: int | None, size: tuple[int, int]) -> None:
    assert shown_size(640, 480, side, pixels, 8) == size
