"""The batch renderer draws what the reference renderer draws: on a GPU where there is one, else on the CPU."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from deixis.lab.batch_render import N_GEOMS, POOL, BatchRenderer, Frames, pool_row
from deixis.lab.corpus import corpus
from deixis.lab.observe import Observation, observe, silhouette_arrays, silhouettes_of, stacked
from deixis.lab.render import render
from deixis.lab.scene import N_SURFACES, Scene
from deixis.lab.thing import FRUSTUMS, Part, Thing
from deixis.lab.worlds import WORLDS
from tests.lab.rendered import SIZE, Shot, shot

SHOTS = [(world, index) for world in WORLDS for index in range(4)]
WORLDS_AT_ONCE = len(SHOTS) + 2  # more than are drawn: the rest must not disturb
SMALL = (96, 64)
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"


def rows_of(shots: list[Shot]) -> dict[str, np.ndarray]:
    rows = [pool_row(s.scene, s.room, s.view) for s in shots]
    assert all(row is not None for row in rows)
    return stacked([row for row in rows if row is not None])


def crowd(shape: str, count: int) -> Scene:
    """`count` parts of one shape, a thing each."""
    size = FRUSTUMS[0] if shape == "frustum" else (0.02, 0.02, 0.02)
    thing = Thing("thing", "red", (Part(shape, size, (0, 0, 0.02), (1, 0, 0, 1)),))  # type: ignore[arg-type]
    placed = dataclasses.replace(shot("primitives", 0).scene.placed[0], thing=thing)
    return dataclasses.replace(shot("primitives", 0).scene, placed=(placed,) * count)


@pytest.mark.parametrize("shape", POOL)
def test_a_scene_with_too_many_parts_is_left_out(shape: str) -> None:
    example = shot("primitives", 0)
    row = pool_row(crowd(shape, POOL[shape]), example.room, example.view)
    assert row is not None and (row["owner"] >= 0).sum() == POOL[shape]
    assert pool_row(crowd(shape, POOL[shape] + 1), example.room, example.view) is None


def test_rows_have_a_slot_for_every_part_and_park_the_rest() -> None:
    for world, index in SHOTS:
        example = shot(world, index)
        row = pool_row(example.scene, example.room, example.view)
        assert row is not None
        owner = row["owner"]
        assert owner.shape == (N_GEOMS + 1,) and owner[-1] == -1 and (owner[:N_SURFACES] == -1).all()
        counts = [len(placed.thing.parts) for placed in example.scene.placed]
        assert [(owner == k).sum() for k in range(len(counts))] == counts
        unused = np.flatnonzero(owner[N_SURFACES:-1] == -1) + N_SURFACES
        assert (row["rgba"][unused] == 0).all() and (row["position"][unused, 2] < 0).all() and row["size"][unused].max() < 1e-3
        assert (row["rgba"][np.flatnonzero(owner >= 0), 3] == 1).all()
        assert set(row) == set(rows_of([example]))


# --- pixels --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharp() -> BatchRenderer:
    pytest.importorskip("mujoco_warp", reason="the batch renderer comes with the extra [gpu-lab]")
    return BatchRenderer(WORLDS_AT_ONCE, [SIZE, SMALL], DEVICE)


@pytest.fixture(scope="module")
def smooth() -> BatchRenderer:
    pytest.importorskip("mujoco_warp", reason="the batch renderer comes with the extra [gpu-lab]")
    return BatchRenderer(WORLDS_AT_ONCE, [SIZE], DEVICE, smooth=True)


@pytest.fixture(scope="module")
def sharp_frames(sharp: BatchRenderer) -> Frames:
    return sharp.render(rows_of([shot(*key) for key in SHOTS]), SIZE)


@pytest.fixture(scope="module")
def smooth_frames(smooth: BatchRenderer) -> Frames:
    return smooth.render(rows_of([shot(*key) for key in SHOTS]), SIZE)


# Frames, how much of the masks must be equal (a smooth frame's ids come from one of its four rays), boxes within px, shares
# within.
VARIANTS = [("sharp_frames", 0.999, 1, 0.02), ("smooth_frames", 0.995, 2, 0.05)]


@pytest.mark.parametrize(("frames", "equal", "edge_px", "share"), VARIANTS)
def test_masks_boxes_and_depth_agree_with_the_reference(
    frames: str, equal: float, edge_px: float, share: float, request: pytest.FixtureRequest
) -> None:
    drawn: Frames = request.getfixturevalue(frames)
    shots = [shot(*key) for key in SHOTS]
    assert drawn.pixels.shape == (len(shots), 3, SIZE[1], SIZE[0])
    assert drawn.things.dtype == torch.int8 and drawn.things.shape == drawn.depth_m.shape == (len(shots), SIZE[1], SIZE[0])
    seen = observed(drawn, shots)
    for k, example in enumerate(shots):
        things, depth_m = drawn.things[k].cpu().numpy(), drawn.depth_m[k].cpu().numpy()
        assert (things == example.things).mean() >= equal
        for o in example.seen:
            inside = binary_erosion((things == o["id"]) & (example.things == o["id"]), iterations=2)
            if inside.any():
                apart_m = np.abs(depth_m - example.depth_m)[inside]
                half_pixel_m = 0.5 * o["depth_m"] / example.camera.fx  # rays and samples stand up to so far apart
                assert np.median(apart_m) < 1e-3 + (half_pixel_m if frames == "smooth_frames" else 0), o["label"]
            if o["visible_px"] >= 60:
                assert seen.box_px[k, o["id"]] == pytest.approx(o["box_px"], abs=edge_px), o["label"]
                assert seen.depth_m[k, o["id"]] == pytest.approx(o["depth_m"], abs=0.01), o["label"]
            if o["visible_px"] >= 400:  # of smaller ones most is edge
                assert seen.visible_fraction[k, o["id"]] == pytest.approx(o["visible_fraction"], abs=share), o["label"]
        assert [int(n > 0) for n in seen.visible_px[k]] == [int((things == i).any()) for i in range(seen.visible_px.shape[1])]


@pytest.mark.parametrize("frames", [name for name, *_ in VARIANTS])
def test_colours_are_those_of_the_reference(frames: str, request: pytest.FixtureRequest) -> None:
    drawn: Frames = request.getfixturevalue(frames)
    assert drawn.pixels.min() >= 0 and drawn.pixels.max() <= 1
    for k, key in enumerate(SHOTS):
        example = shot(*key)
        pixels = drawn.pixels[k].permute(1, 2, 0).cpu().numpy() * 255
        assert np.corrcoef(pixels.ravel(), example.pixels.ravel())[0, 1] > 0.9
        for o in example.seen:
            mask = example.things == o["id"]
            if mask.sum() >= 60:
                assert pixels[mask].mean(0) == pytest.approx(example.pixels[mask].mean(0), abs=25), o["label"]


def test_unused_slots_are_invisible(sharp: BatchRenderer) -> None:
    example = shot("primitives", 0)
    bare = dataclasses.replace(example.scene, placed=())
    row = pool_row(bare, example.room, example.view)
    assert row is not None
    drawn = sharp.render(stacked([row]), SIZE)
    _, things, depth_m = render(bare, example.room, example.view)
    assert (things == -1).all() and (drawn.things == -1).all()
    assert (np.abs(drawn.depth_m[0].cpu().numpy() - depth_m) < 1e-4).mean() > 0.998  # all but the table's outline


def test_a_picture_does_not_depend_on_its_company(sharp: BatchRenderer, sharp_frames: Frames) -> None:
    """Other scenes in the same launch, other launches before, other sizes between: the same picture."""
    shots = [shot(*key) for key in SHOTS]
    small = sharp.render(rows_of(shots[:2]), SMALL)
    assert small.pixels.shape == (2, 3, SMALL[1], SMALL[0])
    backwards = sharp.render(rows_of(shots[::-1]), SIZE)
    lone = sharp.render(rows_of(shots[3:4]), SIZE)
    for name in ("pixels", "things", "depth_m"):
        first = getattr(sharp_frames, name)
        assert torch.equal(getattr(backwards, name).flip(0), first)
        assert torch.equal(getattr(lone, name)[0], first[3])


def test_more_scenes_than_worlds_are_refused(sharp: BatchRenderer) -> None:
    with pytest.raises(ValueError, match="11 scenes for 10 worlds"):
        sharp.render(rows_of([shot("primitives", 0)] * 11), SMALL)


def test_the_tokenizer_s_corpus_is_questions_and_answers() -> None:
    pytest.importorskip("mujoco_warp", reason="the batch renderer comes with the extra [gpu-lab]")
    texts = list(itertools.islice(corpus(32, 1, DEVICE), 60))
    assert any("Locate every instance of" in text for text in texts) and any("在图中" in text for text in texts)
    assert any(text.startswith("```json") for text in texts) and "" not in texts


def observed(drawn: Frames, shots: list[Shot]) -> Observation:
    outlines = stacked([silhouette_arrays(s.scene, s.view) for s in shots])
    return observe(drawn.things, drawn.depth_m, silhouettes_of(outlines, drawn.things.device))
