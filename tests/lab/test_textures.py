"""Textures: the same for ever, tinted by their surface, and without a seam."""

import numpy as np
import pytest

from deixis.lab.textures import NAMES, SIDE, texture

SMOOTH = [name for name in NAMES if name.split("-")[0] in ("wood", "noise", "marble")]


@pytest.mark.parametrize("name", NAMES)
def test_textures_are_light_pictures_with_something_on_them(name: str) -> None:
    pixels = texture(name)
    assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
    assert pixels.mean() > 100  # light enough that the surface's own colour shows
    assert np.ptp(pixels.mean(-1)) > 20 or name.startswith("plain")
    before = pixels.copy()
    texture.cache_clear()
    assert np.array_equal(texture(name), before)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_textures_have_no_seam(name: str) -> None:
    gray = texture(name).mean(-1)
    for axis in (0, 1):
        steps = np.abs(np.diff(gray, axis=axis)).mean()
        seam = np.abs(gray.take(0, axis) - gray.take(-1, axis)).mean()
        assert seam < 2 * steps + 1, name


def test_no_two_textures_are_alike() -> None:
    assert len({texture(name).tobytes() for name in NAMES}) == len(NAMES) > 15
