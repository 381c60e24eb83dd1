"""What a camera sees of each thing: visible box, depth, what hides it. In torch, so that one code serves one picture on
a CPU and thousands on a GPU.

Knows segmentation, depth and rays. Does not know who rendered them, nor what will be asked.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.lab.scene import Scene, View, part_rotation

MAX_THINGS = 12
MAX_PARTS = 14
EDGE_DEPTH_SHARE = 0.99  # what stands at a thing's edge hides it if it is nearer than this share of the thing's own depth
GRID = 40  # rays a side over each thing's silhouette box: fractions are good to about 1%
SHAPES = ("box", "sphere", "cylinder", "capsule", "ellipsoid", "frustum")


@dataclass(frozen=True)
class Silhouettes:
    """Parts of the things of a batch of scenes, in their cameras' frames (x right, y down, z forward).

    ``shape`` (b, things, parts) index into SHAPES, -1 where there is no part; ``size`` (b, things, parts, 3);
    ``position`` (b, things, parts, 3); ``rotation`` (b, things, parts, 3, 3) camera from part;
    ``amodal_box`` (b, things, 4) px, not clipped, zero where there is no thing; ``focal_px`` (b,).
    """

    shape: Tensor
    size: Tensor
    position: Tensor
    rotation: Tensor
    amodal_box: Tensor
    focal_px: Tensor


@dataclass(frozen=True)
class Observation:
    """Per picture and thing: visible ``box_px`` (b, things, 4), ``visible_px`` (b, things), mean ``depth_m`` (b, things),
    ``point_px`` (b, things, 2) a visible point, ``hidden_by`` (b, things, things + 1) share of its in-frame silhouette
    hidden by each thing (last: by the room), ``visible_fraction`` (b, things).
    """

    box_px: NDArray[np.float32]
    visible_px: NDArray[np.int64]
    depth_m: NDArray[np.float32]
    point_px: NDArray[np.float32]
    hidden_by: NDArray[np.float32]
    visible_fraction: NDArray[np.float32]

    def rows(self, rows: slice) -> "Observation":
        """The same for some of the pictures."""
        return Observation(*(getattr(self, f.name)[rows] for f in fields(self)))


def silhouette_arrays(scene: Scene, view: View) -> dict[str, NDArray[np.float32]]:
    """The rows of one scene for Silhouettes, as numpy arrays without the batch axis."""
    shape = np.full((MAX_THINGS, MAX_PARTS), -1, np.float32)
    size = np.ones((MAX_THINGS, MAX_PARTS, 3), np.float32)
    position = np.zeros((MAX_THINGS, MAX_PARTS, 3), np.float32)
    rotation = np.zeros((MAX_THINGS, MAX_PARTS, 3, 3), np.float32)
    amodal = np.zeros((MAX_THINGS, 4), np.float32)
    to_camera = view.rotation.T
    for i, placed in enumerate(scene.placed):
        corners = []
        for j, part in enumerate(placed.thing.parts):
            center = placed.position_m + placed.rotation @ np.asarray(part.position)
            shape[i, j], size[i, j] = SHAPES.index(part.shape), part.size
            position[i, j] = to_camera @ (center - view.position_m)
            rotation[i, j] = to_camera @ part_rotation(placed, part)
            corners.append(part.extent_points())
        seen = (np.concatenate(corners) @ placed.rotation.T + placed.position_m - view.position_m) @ view.rotation
        z = np.maximum(seen[:, 2], 0.01)
        x, y = seen[:, 0] / z * view.focal_px + view.width / 2, seen[:, 1] / z * view.focal_px + view.height / 2
        amodal[i] = x.min(), y.min(), x.max(), y.max()
    focal = np.array(view.focal_px, np.float32)
    return {"shape": shape, "size": size, "position": position, "rotation": rotation, "amodal_box": amodal, "focal_px": focal}


def stacked(rows: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Rows of arrays as arrays of rows."""
    return {k: np.stack([r[k] for r in rows]) for k in rows[0]}


def silhouettes_of(arrays: dict[str, NDArray[np.float32]], device: torch.device | str = "cpu") -> Silhouettes:
    """Silhouettes from stacked rows of ``silhouette_arrays``."""
    return Silhouettes(**{k: torch.from_numpy(v).to(device) for k, v in arrays.items()})


def observe(things: Tensor, depth: Tensor, silhouettes: Silhouettes, grid: int = GRID) -> Observation:
    """Measure what is seen. ``things`` (b, h, w) int8 ids (-1 none), ``depth`` (b, h, w) metres; ``grid`` rays a side."""
    many = silhouettes.shape.shape[1]
    b, h, w = things.shape
    device = things.device
    box = torch.zeros(b, many, 4, device=device)
    count = torch.zeros(b, many, dtype=torch.int64, device=device)
    mean_depth = torch.zeros(b, many, device=device)
    columns, rows = torch.arange(w, device=device), torch.arange(h, device=device)
    for i in range(many):
        mask = things == i
        count[:, i] = mask.sum((1, 2))
        mean_depth[:, i] = (depth * mask).sum((1, 2)) / count[:, i].clamp_min(1)
        across, along = mask.any(1), mask.any(2)  # (b, w), (b, h)
        box[:, i, 0] = torch.where(across, columns, w).amin(1)
        box[:, i, 1] = torch.where(along, rows, h).amin(1)
        box[:, i, 2] = torch.where(across, columns + 1, 0).amax(1)
        box[:, i, 3] = torch.where(along, rows + 1, 0).amax(1)
    box *= (count > 0)[..., None]
    x, y, inside = _silhouette_grid(silhouettes, w, h, grid)
    px, py = x.long().clamp(0, w - 1), y.long().clamp(0, h - 1)
    seen = things[torch.arange(b, device=device)[:, None, None], py, px].long()  # (b, things, rays)
    # What stands at each ray of the silhouette: itself, another thing, or the room (the last column).
    own = torch.arange(many, device=device)
    edge = _at_own_edge(things, depth, seen, px, py)
    at = torch.where(edge, own[:, None], torch.where(seen < 0, many, seen))
    shares = torch.zeros(b, many, many + 1, device=device)
    shares.scatter_add_(2, at, inside.float())
    shares /= inside.sum(-1, keepdim=True).clamp_min(1)
    visible = shares[:, own, own].clone()
    shares[:, own, own] = 0
    mine = inside & (seen == own[:, None])
    weight = mine.float()
    cx = (x * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1)
    cy = (y * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1)
    nearest = torch.where(mine, (x - cx) ** 2 + (y - cy) ** 2, torch.inf).argmin(-1, keepdim=True)
    point = torch.cat([x.gather(-1, nearest), y.gather(-1, nearest)], -1)
    return Observation(*(t.cpu().numpy() for t in (box, count, mean_depth, point, shares, visible)))


def _at_own_edge(things: Tensor, depth: Tensor, seen: Tensor, px: Tensor, py: Tensor) -> Tensor:
    """Rays (b, things, rays) that miss their thing's pixels by one, and not because something nearer stands there.

    A pixel shows what its centre meets, while a silhouette is exact: without this, whole things would seem hidden by what lies
    behind their edge, small ones most.
    """
    b, h, w = things.shape
    row = torch.arange(b, device=things.device)[:, None, None]
    own = torch.arange(seen.shape[1], device=things.device)[:, None]
    found = torch.zeros_like(seen, dtype=torch.bool)
    here = depth[row, py, px]
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        y, x = (py + dy).clamp(0, h - 1), (px + dx).clamp(0, w - 1)
        found |= (things[row, y, x] == own) & ((seen < 0) | (here > EDGE_DEPTH_SHARE * depth[row, y, x]))
    return found & (seen != own)


def _silhouette_grid(s: Silhouettes, width: int, height: int, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rays over each thing's in-frame box: pixel x, y (b, things, rays) and whether each meets the thing, as if alone."""
    limit = torch.tensor([width, height, width, height], device=s.shape.device)
    box = torch.minimum(s.amodal_box.clamp_min(0), limit)
    steps = (torch.arange(grid, device=box.device) + 0.5) / grid
    x = (box[..., 0:1] + (box[..., 2:3] - box[..., 0:1]) * steps)[..., None, :].expand(-1, -1, grid, -1).flatten(2)
    y = (box[..., 1:2] + (box[..., 3:4] - box[..., 1:2]) * steps)[..., :, None].expand(-1, -1, -1, grid).flatten(2)
    f = s.focal_px[:, None, None]
    ray = torch.stack([(x - width / 2) / f, (y - height / 2) / f, torch.ones_like(x)], -1)  # (b, things, rays, 3)
    hit = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    for j in range(s.shape.shape[2]):
        origin = -torch.einsum("btij,bti->btj", s.rotation[:, :, j], s.position[:, :, j])  # the camera in the part's frame
        hit |= _meets(s.shape[:, :, j], s.size[:, :, j], origin, torch.einsum("btij,btri->btrj", s.rotation[:, :, j], ray))
    return x, y, hit & ((box[..., 2] > box[..., 0]) & (box[..., 3] > box[..., 1]))[..., None]


def _meets(shape: Tensor, size: Tensor, origin: Tensor, ray: Tensor) -> Tensor:
    """Does the line from ``origin`` (b, t, 3) along ``ray`` (b, t, r, 3) meet the part at the local origin? (b, t, r)"""
    kind = shape[..., None]
    o, d, a = origin[:, :, None], ray, size[:, :, None]
    ox, oy, oz = o.unbind(-1)
    dx, dy, dz = d.unbind(-1)
    r, h = a[..., 0], a[..., 1]
    safe = torch.where(d.abs() < 1e-9, 1e-9, d)
    t0, t1 = (-a - o) / safe, (a - o) / safe
    box = torch.minimum(t0, t1).amax(-1) <= torch.maximum(t0, t1).amin(-1)
    axes = torch.where((kind == SHAPES.index("sphere"))[..., None], a[..., :1], a)
    q, e = o / axes, d / axes
    ellipsoid = (q * e).sum(-1) ** 2 >= (e * e).sum(-1) * ((q * q).sum(-1) - 1)
    # Infinite cylinder: the stretch of the ray inside it, as its z range.
    a2, b2, c2 = dx * dx + dy * dy + 1e-12, ox * dx + oy * dy, ox * ox + oy * oy - r * r
    root = (b2 * b2 - a2 * c2).clamp_min(0).sqrt()
    near, far = (-b2 - root) / a2, (-b2 + root) / a2
    z0, z1 = torch.minimum(oz + near * dz, oz + far * dz), torch.maximum(oz + near * dz, oz + far * dz)
    tube = (b2 * b2 >= a2 * c2) & (z0 <= h) & (z1 >= -h)
    ends = torch.zeros_like(tube)
    for side in (-1.0, 1.0):
        pz = oz - side * h
        pd, pp = ox * dx + oy * dy + pz * dz, ox * ox + oy * oy + pz * pz - r * r
        ends |= pd * pd >= (d * d).sum(-1) * pp
    # Frustum: |xy| <= m + k z between the two rings.
    hz = a[..., 2]
    k, m = (a[..., 1] - a[..., 0]) / (2 * hz), (a[..., 1] + a[..., 0]) / 2
    w0, w1 = m + k * oz, k * dz
    qa, qb, qc = dx * dx + dy * dy - w1 * w1, ox * dx + oy * dy - w0 * w1, ox * ox + oy * oy - w0 * w0
    disc = qb * qb - qa * qc
    flank = torch.zeros_like(tube)
    denominator = torch.where(qa.abs() < 1e-12, 1e-12, qa)
    for sign in (-1.0, 1.0):
        z = oz + (-qb + sign * disc.clamp_min(0).sqrt()) / denominator * dz
        flank |= (disc >= 0) & (z.abs() <= hz)
    for side, ring in ((-1.0, a[..., 0]), (1.0, a[..., 1])):
        t = (side * hz - oz) / torch.where(dz.abs() < 1e-9, 1e-9, dz)
        flank |= (ox + t * dx) ** 2 + (oy + t * dy) ** 2 <= ring * ring
    hit = torch.zeros_like(box)
    for number, answer in enumerate((box, ellipsoid, tube, tube | ends, ellipsoid, flank)):  # in the order of SHAPES
        hit |= answer & (kind == number)
    return hit
