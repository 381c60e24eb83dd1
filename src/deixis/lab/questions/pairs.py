"""Which relations hold, which do not, and which are too close to call, between the things of one picture.

Knows geometry and margins. Does not know wordings. Every table is a pair of lists (yes, no) of index tuples; what is
in neither list is ambiguous and is not asked.

Frames: camera x right, y down, z forward; the ground plane is normal to gravity, its axes "right" and "forward" are
the camera's as seen from above.
"""

from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deixis.lab.questions.picture import Picture

Relation = Literal["left_of", "right_of", "above", "below", "in_front_of", "behind", "on", "under", "next_to", "between"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

# left/right: the boxes' centres differ by this share of the picture's width, and the directions in 3D agree.
SIDE_OF_WIDTH = 0.03
# front/behind: visible depths differ by this many metres and by this share, and the ground positions agree.
DEPTH_APART_M = 0.06
DEPTH_APART_SHARE = 0.05
# above: the upper thing's bottom is no lower than the lower one's top, less this.
STACK_SLACK_M = 0.01
# next to: the gap between footprints over the mean of both things' sizes; and both stand at about the same height.
NEXT_TO_GAP = 0.5
APART_GAP = 2.0
SAME_LEVEL_M = 0.03
# A box whose standing axis is further than this from plumb (cosine; 15 degrees) leans: its footprint is vague.
PLUMB = 0.966
# between: where A's centre falls along BC (0 at B, 1 at C), and how far from the line as a share of |BC|.
BETWEEN_ALONG = (0.25, 0.75)
BETWEEN_ASIDE = 0.25
OUTSIDE_ALONG = (-0.1, 1.1)
OUTSIDE_ASIDE = 0.75

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = tuple[int, ...]
Table = tuple[list[Indices], list[Indices]]  # what holds, what does not


class Pairs:
    """The tables of one picture, each computed when first asked for."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._tables: dict[str, Table] = {}

    def table(self, relation: Relation) -> Table:
        """Index pairs (A, B) for which "A relation B" is yes, and is no. Triples (A, B, C) for between."""
        found = self._tables.get(relation)
        if found is None:
            found = self._tables[relation] = self._compute(relation)
        return found

    @cached_property
    def denied_triples(self) -> frozenset[Indices]:
        """The no side of between, for looking up."""
        return frozenset(self.table("between")[1])

    def _compute(self, relation: Relation) -> Table:
        if relation == "between":
            return self._between
        if relation in ("left_of", "right_of"):
            yes, no = self._left, self._left.T
        elif relation in ("in_front_of", "behind"):
            yes, no = self._front, self._front.T
        elif relation in ("above", "below"):
            yes, no = self._above
        elif relation in ("on", "under"):
            yes, no = self._on
        else:
            yes, no = self._next_to
        if relation in ("right_of", "behind", "below", "under"):
            yes, no = yes.T, no.T  # A right of B as B left of A
        return _listed(yes & self._askable), _listed(no & self._askable)

    # --- per thing -----------------------------------------------------------------------------------------------

    @cached_property
    def _askable(self) -> Bools:
        named = np.array(self.picture.nameable, dtype=bool)
        both: Bools = named[:, None] & named[None, :]
        np.fill_diagonal(both, False)
        return both

    @cached_property
    def _centers_m(self) -> Floats:
        return np.array([o["center_m"] for o in self.picture.objects], dtype=np.float64).reshape(-1, 3)

    @cached_property
    def _ground_axes(self) -> Floats:
        """(2, 3): right and forward along the ground, camera frame."""
        down = np.array(self.picture.truth["pose"]["gravity"], dtype=np.float64)
        right = np.array([1.0, 0.0, 0.0]) - down[0] * down
        right /= np.sqrt(right @ right)
        forward = np.array(
            [
                right[1] * down[2] - right[2] * down[1],
                right[2] * down[0] - right[0] * down[2],
                right[0] * down[1] - right[1] * down[0],
            ]
        )
        return np.stack([right, forward])

    @cached_property
    def _on_ground_m(self) -> Floats:
        """Centres (n, 2) seen from above."""
        return self._centers_m @ self._ground_axes.T

    @cached_property
    def _box_centers(self) -> Floats:
        """Centres (n, 2) of the visible boxes, both axes as shares of the picture's width."""
        boxes = self.picture.boxes_px
        return (boxes[:, :2] + boxes[:, 2:]) / (2 * self.picture.width)

    @cached_property
    def _heights_m(self) -> tuple[Floats, Floats]:
        """Bottoms and tops (n,) above the table."""
        objects = self.picture.objects
        return np.array([o["bottom_m"] for o in objects], float), np.array([o["top_m"] for o in objects], float)

    @cached_property
    def _footprints_m(self) -> tuple[Floats, Floats, Bools]:
        """Of the 3D boxes seen from above: corners (n, 4, 2), sizes (n,) as the mean of both sides, whether upright (n,).

        The box's two flattest axes span the footprint; what a leaning box adds by its third axis is left out.
        """
        numbers = np.array([o["box_3d"] for o in self.picture.objects], dtype=np.float64).reshape(-1, 9)
        axes = rotations(numbers[:, 6:]) * numbers[:, None, 3:6] / 2  # (n, 3, axis): half-axis vectors as columns
        down = np.array(self.picture.truth["pose"]["gravity"], dtype=np.float64)
        lengths = np.sqrt((axes * axes).sum(1)) + 1e-9  # (n, axis)
        standing = np.abs(down @ axes) / lengths  # (n, axis): cosines
        steep = np.argmax(standing, axis=1)
        flat = np.array([[1, 2], [0, 2], [0, 1]])[steep]  # (n, 2)
        rows = np.arange(len(numbers))[:, None]
        seen = axes.transpose(0, 2, 1)[rows, flat] @ self._ground_axes.T  # (n, 2 axes, 2)
        first, second = seen[:, 0], seen[:, 1]
        offsets = np.stack([first + second, first - second, -first - second, second - first], axis=1)
        return self._on_ground_m[:, None] + offsets, lengths[rows, flat].sum(1), standing.max(1) >= PLUMB

    # --- which thing carries which -----------------------------------------------------------------------------------

    @cached_property
    def _carried(self) -> Bools:
        """[a, b]: a rests on b directly."""
        return self._links("rests_on")

    @cached_property
    def _chain(self) -> Bools:
        """[a, b]: a rests on b, directly or by way of others."""
        chain = self._carried
        while True:
            longer = chain | (chain @ chain)
            if np.array_equal(longer, chain):
                return chain
            chain = longer

    @cached_property
    def _related(self) -> Bools:
        """[a, b]: one carries the other, or they touch."""
        touching = self._links("touches")
        return self._chain | self._chain.T | touching | touching.T

    def _links(self, key: str) -> Bools:
        picture = self.picture
        table = np.zeros((len(picture.ids), len(picture.ids)), dtype=bool)
        for i, o in enumerate(picture.objects):
            for other in o[key]:
                j = picture.index_of.get(other)
                if j is not None:
                    table[i, j] = True
        return table

    @cached_property
    def _on_table(self) -> Bools:
        """[i]: it rests on the table and on nothing else."""
        return np.array([list(o["rests_on"]) == [-1] for o in self.picture.objects], dtype=bool)

    @cached_property
    def _leaning(self) -> Bools:
        """[i]: it rests on the table and on something else too: whether it is "on" that is a matter of words."""
        return np.array([-1 in o["rests_on"] and len(o["rests_on"]) > 1 for o in self.picture.objects], dtype=bool)

    # --- the relations -----------------------------------------------------------------------------------------------

    @cached_property
    def _left(self) -> Bools:
        across = self._box_centers[:, 0]
        direction = self._centers_m[:, 0] / np.maximum(self._centers_m[:, 2], 1e-3)
        return (_later(across) >= SIDE_OF_WIDTH) & (_later(direction) > 0)

    @cached_property
    def _front(self) -> Bools:
        depths = np.array(self.picture.depths_m)
        apart = _later(depths)
        larger = np.maximum(depths[:, None], depths[None, :])
        on_ground = _later(self._on_ground_m[:, 1]) > 0
        stacked = self._chain | self._chain.T
        plain: Bools = (apart >= DEPTH_APART_M) & (apart >= DEPTH_APART_SHARE * larger) & on_ground & ~stacked
        return plain

    @cached_property
    def _above(self) -> tuple[Bools, Bools]:
        bottoms, tops = self._heights_m
        clears = bottoms[:, None] >= tops[None, :] - STACK_SLACK_M
        yes = clears & self._chain & ~self._chain.T
        side_by_side = self._on_table[:, None] & self._on_table[None, :] & ~self._related
        return yes, yes.T | side_by_side

    @cached_property
    def _on(self) -> tuple[Bools, Bools]:
        """No: the reverse of what holds, and things that have nothing to do with each other."""
        yes = self._carried & ~self._carried.T & ~self._leaning[:, None]
        return yes, (yes.T & ~self._chain) | ~self._related

    @cached_property
    def _next_to(self) -> tuple[Bools, Bools]:
        footprints, sizes, upright = self._footprints_m
        gap = footprint_gaps(footprints)
        relative = gap / ((sizes[:, None] + sizes[None, :]) / 2)
        bottoms, _ = self._heights_m
        level = np.abs(_later(bottoms)) <= SAME_LEVEL_M
        stacked = self._chain | self._chain.T
        near = (relative < NEXT_TO_GAP) & (gap > 0) & level & upright[:, None] & upright[None, :]
        return near & ~stacked, (relative > APART_GAP) & ~stacked

    @cached_property
    def _between(self) -> Table:
        # Cubic in their number, so only the things that can be asked about.
        asked = np.array(self.picture.nameable_indices, dtype=int)
        if len(asked) < 3:
            return [], []
        along, aside = between_coordinates(self._on_ground_m[asked])
        _, aside_px = between_coordinates(self._box_centers[asked])
        across = self._box_centers[asked, 0]
        a, b, c = across[:, None, None], across[None, :, None], across[None, None, :]
        in_picture = (a - b) * (c - a) > 0
        low, high = BETWEEN_ALONG
        yes = (along >= low) & (along <= high) & (aside < BETWEEN_ASIDE) & in_picture
        low, high = OUTSIDE_ALONG
        no = (((along < low) | (along > high)) & ~in_picture) | ((aside > OUTSIDE_ASIDE) & (aside_px > OUTSIDE_ASIDE))
        same = np.eye(len(asked), dtype=bool)
        bad = ((self._chain | self._chain.T)[np.ix_(asked, asked)]) | same  # one on the other, or one twice
        good = ~(bad[:, :, None] | bad[:, None, :] | bad[None, :, :])
        order = self.picture.nameable_indices
        yes_list, no_list = _listed(yes & good), _listed(no & good)
        return [(order[i], order[j], order[k]) for i, j, k in yes_list], [(order[i], order[j], order[k]) for i, j, k in no_list]


def pairs_of(picture: Picture) -> Pairs:
    """The picture's tables, made once."""
    found: Pairs | None = picture.tables.get("pairs")
    if found is None:
        found = picture.tables["pairs"] = Pairs(picture)
    return found


def _later(values: Floats) -> Floats:
    """(n,) to (n, n): [a, b] = values[b] - values[a]."""
    difference: Floats = values[None, :] - values[:, None]
    return difference


def _listed(mask: Bools) -> list[Indices]:
    return list(zip(*[axis.tolist() for axis in np.nonzero(mask)], strict=True))


def rotations(half_turns: Floats) -> Floats:
    """(n, 3) angles about x, y, z in half-turns to (n, 3, 3): R = Rz Ry Rx (FACTS: Coordinates)."""
    radians = half_turns * np.pi
    (ca, cb, cc), (sa, sb, sc) = np.cos(radians).T, np.sin(radians).T
    return np.stack(
        [
            np.stack([cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa], axis=-1),
            np.stack([sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa], axis=-1),
            np.stack([-sb, cb * sa, cb * ca], axis=-1),
        ],
        axis=-2,
    )


def footprint_gaps(corners: Floats) -> Floats:
    """Distances (n, n) between rectangles (n, 4, 2) given by their corners in turn; 0 where they overlap."""
    edges = np.roll(corners, -1, axis=1) - corners  # (n, 4, 2)
    lengths2 = np.maximum((edges * edges).sum(-1), 1e-12)  # (n, 4)
    # Corner p of rectangle i against edge e of rectangle j: (i, p, j, e, 2).
    reach = corners[:, :, None, None, :] - corners[None, None, :, :, :]
    along = np.clip((reach * edges).sum(-1) / lengths2, 0, 1)
    rest = reach - along[..., None] * edges
    one_way = np.sqrt((rest * rest).sum(-1).min(axis=(1, 3)))  # (i, j): the nearest of i's corners to j's edges
    gaps: Floats = np.minimum(one_way, one_way.T)
    gaps[_overlapping(corners, edges)] = 0.0
    return gaps


def _overlapping(corners: Floats, edges: Floats) -> Bools:
    """(n, n): rectangles that share ground: no edge direction of either separates them."""
    directions = edges[:, :2]  # (n, 2, 2): a rectangle has two
    shadows = np.einsum("iad,jpd->iajp", directions, corners)  # j's corners along i's directions
    low, high = shadows.min(-1), shadows.max(-1)  # (i, a, j)
    own = np.arange(len(corners))
    own_low, own_high = low[own, :, own], high[own, :, own]  # (i, a)
    meets = ((low <= own_high[..., None]) & (high >= own_low[..., None])).all(1)  # (i, j)
    both: Bools = meets & meets.T
    return both


def between_coordinates(points: Floats) -> tuple[Floats, Floats]:
    """For points (n, 2): where each A falls along each BC and how far beside it, both (n, n, n) as shares of |BC|."""
    line = points[None, :, :] - points[:, None, :]  # (b, c, 2)
    length2 = np.maximum((line * line).sum(-1), 1e-12)
    reach = points[:, None, :] - points[None, :, :]  # (a, b, 2)
    along = (reach[:, :, None, :] * line[None]).sum(-1) / length2
    across = reach[:, :, None, 0] * line[None, :, :, 1] - reach[:, :, None, 1] * line[None, :, :, 0]
    return along, np.abs(across) / length2
