"""Annotated pictures: boxes with labels, relation arrows, the answer below. Readable at 300 and at 4,000 pixels.

Knows answers and drawing. Does not know models. Line widths and letters grow with the picture; labels stay inside it and off
one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from deixis.geometry import Box3D, Camera
from deixis.media import Picture
from deixis.spatial.answer import Answer, BoxPx, Claim, FoundObject, LocateAnswer, as_percent
from deixis.spatial.language.prompts import Language
from deixis.spatial.places.free_space import NOT_AT_ALL, SURE, Place
from deixis.spatial.showing.lettering import Color, Lettering, missing

PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 57, 70),
    (29, 112, 222),
    (255, 183, 3),
    (46, 160, 67),
    (155, 93, 229),
    (251, 133, 0),
    (0, 180, 216),
    (214, 64, 159),
    (140, 200, 40),
    (150, 105, 70),
)
_AGREES, _DISAGREES, _UNDECIDED = (46, 160, 67), (214, 40, 40), (140, 140, 140)
_AGREEMENT_COLOR = {True: _AGREES, False: _DISAGREES, None: _UNDECIDED}
_AGREEMENT: Mapping[Language, Mapping[bool | None, str]] = {
    "en": {True: "geometry agrees", False: "geometry disagrees", None: "geometry cannot tell"},
    "zh": {True: "几何吻合", False: "几何不符", None: "几何未定"},
}
_INK: Color = (255, 255, 255, 255)
_FOOTER, _SOFT = (24, 26, 31), (176, 182, 194, 255)
_SMALL_PX = 2_000_000  # pictures up to here are drawn at twice their size and reduced, for smooth edges


class Sheet:
    """A transparent sheet over a picture; everything is drawn in the picture's pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.factor = 2 if width * height <= _SMALL_PX else 1
        self.image = Image.new("RGBA", (width * self.factor, height * self.factor), (0, 0, 0, 0))
        self.pen = ImageDraw.Draw(self.image)
        side = math.sqrt(width * height)
        self.line_px = max(1.8, side * 0.004)
        self.letters = Lettering(self.scaled(max(11.0, side * 0.025)))

    def scaled(self, value: float) -> int:
        return round(value * self.factor)

    def lines(self, points: Sequence[tuple[float, float]], color: Color, width_px: float) -> None:
        at = [(x * self.factor, y * self.factor) for x, y in points]
        self.pen.line(at, fill=color, width=max(1, self.scaled(width_px)), joint="curve")

    def over(self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Image.Image:
        """The picture with the sheet on top."""
        sheet = self.image if self.factor == 1 else self.image.reduce(self.factor)
        return Image.alpha_composite(Image.fromarray(pixels).convert("RGBA"), sheet).convert("RGB")


def draw_answer(picture: Picture, answer: Answer) -> Image.Image:
    """The picture with the answer's objects and relations, and the question and verdict below it."""
    sheet = Sheet(picture.width, picture.height)
    for place in reversed(answer.places):  # the best one on top
        _place(sheet, place, best=place is answer.places[0])
    for claim in answer.claims:
        if answer.places and claim.subject is not None:
            x, y = answer.places[0].point_px
            _arrow(sheet, answer.objects[claim.subject].box_px, (x, y, x, y), _AGREEMENT_COLOR[claim.agrees])
        else:
            _arrows(sheet, claim, answer.objects)
    _objects(sheet, answer.objects, answer.camera, [_around(place) for place in answer.places[:1]])
    sure = " → ".join(part for part in answer.headline if part) + f"  ·  {as_percent(answer.confidence)}"
    said = [_spoken(claim, answer.language) for claim in answer.claims]
    return with_footer(sheet.over(picture.pixels), answer.question, [sure, *said])


def _spoken(claim: Claim, language: Language) -> str:
    """A claim that the model denies is shown as denied: what geometry agrees with is the denial."""
    denied = {"en": ": no", "zh": ":否"}[language] if claim.model == "no" else ""
    return f"{claim.claim}{denied} ({_AGREEMENT[language][claim.agrees]})"


def draw_locate(picture: Picture, found: LocateAnswer) -> Image.Image:
    """The picture with every object that was located."""
    sheet = Sheet(picture.width, picture.height)
    _objects(sheet, found.objects, found.camera)
    count = len(found.objects)
    text = {"en": f"{count} found" if count else "absent", "zh": f"找到{count}个" if count else "没有"}[found.language]
    return with_footer(sheet.over(picture.pixels), found.what, [text])


def missing_letters(answer: Answer | LocateAnswer) -> str:
    """Characters of the labels that no font here has: the picture then shows "#1" for such a label."""
    return missing("".join(item.label for item in answer.objects))


def _objects(sheet: Sheet, objects: Sequence[FoundObject], camera: Camera, clear: Sequence[BoxPx] = ()) -> None:
    """Every object; labels keep off one another and off what is to stay `clear`."""
    for i, item in enumerate(objects):
        color = PALETTE[i % len(PALETTE)]
        if item.box_3d is not None:
            _wireframe(sheet, item.box_3d, camera, color)
        framed(sheet, item.box_px, color)
    taken: list[BoxPx] = list(clear)
    for i, item in enumerate(objects):
        labelled(sheet, _caption(i, item), item.box_px, PALETTE[i % len(PALETTE)], taken, [o.box_px for o in objects])


def _caption(i: int, item: FoundObject) -> str:
    lost = missing(item.label)
    label = "".join(char for char in item.label if char not in lost).strip() or f"#{i + 1}"
    return label if item.depth_m is None else f"{label}  {item.depth_m:.2f} m"


def framed(sheet: Sheet, box: BoxPx, color: tuple[int, int, int]) -> None:
    """A box in colour with a dark hairline on both sides, so that it shows on any ground."""
    inset = sheet.line_px / 2
    x1, y1, x2, y2 = box
    # Kept inside the picture: half a line would be cut off at its edge.
    x1, x2 = max(x1, inset), min(x2, sheet.width - inset)
    y1, y2 = max(y1, inset), min(y2, sheet.height - inset)
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1), (x2, y1)]
    sheet.lines(corners, (0, 0, 0, 110), sheet.line_px + 1.2)
    sheet.lines(corners, (*color, 255), sheet.line_px)


def _wireframe(sheet: Sheet, box: Box3D, camera: Camera, color: tuple[int, int, int]) -> None:
    corners = box.corners_m()
    if float(corners[:, 2].min()) < 0.01:
        return  # reaches behind the camera: its 2D box still shows it
    at = [(float(x), float(y)) for x, y in camera.project(corners)]
    for a in range(8):
        for b in (a ^ 1, a ^ 2, a ^ 4):
            if a < b:
                sheet.lines([at[a], at[b]], (*color, 150), sheet.line_px * 0.5)


def _place(sheet: Sheet, place: Place, best: bool) -> None:
    """Where a thing would stand: its footprint on the surface, and a pin in the middle; green where there is room."""
    color = _AGREES if place.probability >= SURE else _DISAGREES if place.probability <= NOT_AT_ALL else _UNDECIDED
    strength = 1.0 if best else 0.5
    if len(place.outline_px) > 2:
        corners = [(x * sheet.factor, y * sheet.factor) for x, y in place.outline_px]
        sheet.pen.polygon(corners, fill=(*color, round(110 * strength)))
        closed = [*place.outline_px, *place.outline_px[:2]]
        sheet.lines(closed, (255, 255, 255, round(230 * strength)), sheet.line_px * 1.8)
        sheet.lines(closed, (*color, round(255 * strength)), sheet.line_px)
    x, y = place.point_px
    for radius_px, ink in ((2.6, (255, 255, 255)), (1.9, color), (0.8, (255, 255, 255))):
        reach = sheet.line_px * radius_px
        at = [value * sheet.factor for value in (x - reach, y - reach, x + reach, y + reach)]
        sheet.pen.ellipse(at, fill=(*ink, round(255 * strength)))


def _around(place: Place) -> BoxPx:
    points = np.array([place.point_px, *place.outline_px])
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x1, y1, x2, y2


def labelled(
    sheet: Sheet, text: str, box: BoxPx, color: tuple[int, int, int], taken: list[BoxPx], boxes: Sequence[BoxPx]
) -> None:
    """A label on a plate of the box's colour, where it covers other labels and boxes least."""
    pad = sheet.letters.size / sheet.factor * 0.3
    width = sheet.letters.width(text) / sheet.factor + 2 * pad
    height = sheet.letters.height / sheet.factor + pad * 0.8
    x1, y1, x2, y2 = box
    half = sheet.line_px / 2
    places = [
        (x1 - half, y1 - height),  # above, at the left: the usual one
        (x2 - width + half, y1 - height),
        (x1 - half, y2),
        (x2 - width + half, y2),
        (x1 - half, y1),
        (x2 - width + half, y2 - height),
        (x2, y1),
        (x1 - width, y1),
        (x2, y2 - height),
        (x1 - width, y2 - height),
    ]
    best: tuple[float, BoxPx] | None = None
    for order, (x, y) in enumerate(places):
        x = min(max(x, 0.0), max(sheet.width - width, 0.0))
        y = min(max(y, 0.0), max(sheet.height - height, 0.0))
        plate = (x, y, x + width, y + height)
        cost = order * 0.02 + 4 * sum(_shared(plate, other) for other in taken)
        cost += 0.5 * sum(_shared(plate, other) for other in boxes if other != box)
        if best is None or cost < best[0]:
            best = cost, plate
    if best is None:
        return
    plate = best[1]
    taken.append(plate)
    at = [value * sheet.factor for value in plate]
    sheet.pen.rounded_rectangle(at, radius=sheet.scaled(pad * 0.6), fill=(*color, 235))
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 150
    ink: Color = (15, 15, 15, 255) if dark else _INK
    sheet.letters.draw(sheet.pen, (at[0] + pad * sheet.factor, at[1] + pad * 0.4 * sheet.factor), text, ink)


def _shared(a: BoxPx, b: BoxPx) -> float:
    """The share of `a` that `b` covers."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return across * down / max((a[2] - a[0]) * (a[3] - a[1]), 1e-9)


def _arrows(sheet: Sheet, claim: Claim, objects: Sequence[FoundObject]) -> None:
    """From the subject to what it is related to: green where geometry agrees, red where not, grey where it cannot tell."""
    if claim.subject is None or not claim.others:
        return
    color = _AGREEMENT_COLOR[claim.agrees]
    for other in claim.others[:4]:
        _arrow(sheet, objects[claim.subject].box_px, objects[other].box_px, color)


def _arrow(sheet: Sheet, start: BoxPx, end: BoxPx, color: tuple[int, int, int]) -> None:
    (x1, y1), (x2, y2) = _middle(start), _middle(end)
    length = math.hypot(x2 - x1, y2 - y1)
    if length < 1:
        return
    across, down = (x2 - x1) / length, (y2 - y1) / length
    head = min(sheet.line_px * 5, length * 0.5)
    neck = (x2 - across * head * 0.8, y2 - down * head * 0.8)
    left = (x2 - across * head - down * head * 0.5, y2 - down * head + across * head * 0.5)
    right = (x2 - across * head + down * head * 0.5, y2 - down * head - across * head * 0.5)
    factor = sheet.factor
    halo = max(2.0, sheet.line_px * 0.6)
    for ink, extra in (((255, 255, 255, 220), halo), ((*color, 255), 0.0)):
        sheet.lines([(x1, y1), neck], ink, sheet.line_px + extra)
        dot = sheet.line_px * 1.2 + extra / 2
        sheet.pen.ellipse([(x1 - dot) * factor, (y1 - dot) * factor, (x1 + dot) * factor, (y1 + dot) * factor], fill=ink)
        tip = [(x * factor, y * factor) for x, y in ((x2, y2), left, right)]
        sheet.pen.polygon(tip, fill=ink, outline=ink, width=max(1, round(extra * factor)))


def _middle(box: BoxPx) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def with_footer(image: Image.Image, question: str, said: Sequence[str]) -> Image.Image:
    """The picture with the question and what is said to it on a strip below, so that they hide nothing."""
    side = math.sqrt(image.width * image.height)
    small = Lettering(round(max(12.0, side * 0.026)))
    large = Lettering(round(max(14.0, side * 0.032)))
    pad = round(large.size * 0.7)
    room = image.width - 2 * pad
    rows = [(small, line, _SOFT) for line in small.wrapped(question, room)[:4]]
    rows += [(large, line, _INK) for line in large.wrapped(said[0], room)[:6]]
    rows += [(small, line, _INK) for text in said[1:] for line in small.wrapped(text, room)[:3]]
    step = [round(letters.height * 1.15) for letters, _, _ in rows]
    sheet = Image.new("RGB", (image.width, image.height + sum(step) + 2 * pad), _FOOTER)
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    y = image.height + pad
    for (letters, line, color), height in zip(rows, step, strict=True):
        letters.draw(pen, (pad, y), line, color)
        y += height
    return sheet
