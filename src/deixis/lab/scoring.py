"""How right a model's answer to a lab question is.

Knows the targets of ``lab.questions`` and reads answers as ``spatial`` does. Does not know models, and does not average:
a score is about one answer; tables over many are the benchmark's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from deixis.errors import GeometryError
from deixis.geometry import Box3D, contains, iou_px
from deixis.lab import words
from deixis.lab.questions import Question
from deixis.spatial.grounding.parse import Kind, Parsed, parse_objects
from deixis.spatial.language.prompts import PromptKind
from deixis.spatial.language.values import parse_value

# A located thing counts from this overlap on: boxes as in the detection literature, 3D boxes as in Omni3D's AP25.
IOU_2D = 0.5
IOU_3D = 0.25
# A number counts as right when it is this close: the share of the depth, degrees of tilt, percent that shows.
DEPTH_SHARE = 0.15
TILT_DEG = 5.0
VISIBLE_PERCENT = 15.0

Score = dict[str, Any]
_EXPECTED: Mapping[PromptKind, Kind] = {
    "locate": "box_2d",
    "evidence": "box_2d",
    "point": "point_2d",
    "locate_3d": "box_3d",
    "evidence_3d": "box_3d",
}


def score(question: Question, answer: str | Parsed) -> Score:
    """What is right about ``answer``: the model's text, or for boxes and points its parse in pixels of the picture.

    Always ``kind``, ``language``, ``correct`` and ``read`` (False where the text says nothing that the kind could mean).
    Boxes: ``ious`` per true thing (0 for a missed one), ``edges_px`` (four absolute errors per matched box), ``expected``,
    ``extra`` (boxes beyond the true ones) and ``labels_right``. Points: ``hits``, ``expected``, ``extra``. 3D boxes:
    ``ious``, ``expected``, ``extra``; in the real camera. Depth: ``relative_error``. Tilt and visibility:
    ``absolute_error``. Count: ``difference``. Numbers that could not be read have error None.
    """
    if question.prompt_kind == "ask":
        if isinstance(answer, Parsed):
            raise TypeError(f"a {question.kind} answer is scored from its text, got parsed objects")
        result = _SHORT[question.kind](question, answer)
    else:
        expect = _EXPECTED[question.prompt_kind]
        if isinstance(answer, str):
            width, height = question.target["size"]
            parsed = parse_objects(answer, width, height, expect=expect)
        else:
            parsed = answer
        result = _LOCATED[expect](question, parsed)
        result["read"] = not any(p.kind == "no_json" for p in parsed.problems)
        result["correct"] = result["correct"] and result["read"]
    return {"kind": question.kind, "language": question.language, **result}


# --- boxes and points ----------------------------------------------------------------------------------------------


def _boxes(question: Question, parsed: Parsed) -> Score:
    truth: Sequence[Sequence[float]] = question.target["boxes_px"]
    found = [o for o in parsed.objects if o.box_px is not None]
    overlaps = np.array([[iou_px(t, o.box_px) for o in found if o.box_px is not None] for t in truth]).reshape(
        len(truth), len(found)
    )
    pairs = _matched(overlaps)
    ious, edges, labels_right = [0.0] * len(truth), list[float](), 0
    for i, j in pairs:
        ious[i] = float(overlaps[i, j])
        edges.extend(abs(a - b) for a, b in zip(truth[i], found[j].box_px or (), strict=True))
        labels_right += _same_label(found[j].label, question.target["labels"][i])
    extra = len(found) - len(truth)
    return {
        "correct": all(iou >= IOU_2D for iou in ious) and len(found) == len(truth),
        "ious": ious,
        "edges_px": edges,
        "expected": len(truth),
        "extra": max(extra, 0),
        "labels_right": labels_right,
    }


def _points(question: Question, parsed: Parsed) -> Score:
    truth: Sequence[Sequence[float]] = question.target["boxes_px"]
    found = [o.point_px for o in parsed.objects if o.point_px is not None]
    inside = np.array([[float(contains(box, (*point, *point))) for point in found] for box in truth]).reshape(
        len(truth), len(found)
    )
    hits = len(_matched(inside))
    return {
        "correct": hits == len(truth) == len(found),
        "hits": hits,
        "expected": len(truth),
        "extra": max(len(found) - len(truth), 0),
    }


def _boxes_3d(question: Question, parsed: Parsed) -> Score:
    truth = [Box3D.from_qwen(box) for box in question.target["boxes_3d"]]
    found: list[Box3D | None] = []
    for o in parsed.objects:
        if o.box_3d is None:
            continue
        try:
            found.append(Box3D.from_qwen(o.box_3d).rescaled_depth(1 / question.target["virtual_factor"]))
        except GeometryError:
            found.append(None)  # numbers that are no box: they count as said, and overlap nothing
    overlaps = np.array([[0.0 if f is None else t.iou(f) for f in found] for t in truth]).reshape(len(truth), len(found))
    ious = [0.0] * len(truth)
    for i, j in _matched(overlaps):
        ious[i] = float(overlaps[i, j])
    return {
        "correct": all(iou >= IOU_3D for iou in ious) and len(found) == len(truth),
        "ious": ious,
        "expected": len(truth),
        "extra": max(len(found) - len(truth), 0),
    }


def _matched(overlaps: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (true, found) with the greatest overlap in all; those that do not overlap are no pairs."""
    if not overlaps.size:
        return []
    rows, columns = linear_sum_assignment(-overlaps)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if overlaps[i, j] > 0]


# --- short answers -------------------------------------------------------------------------------------------------


def _yes_no(question: Question, text: str) -> Score:
    said = parse_value(text, question.language).kind
    if question.kind == "exists" and said == "absent":
        said = "no"  # "there is none" denies, too
    return {"correct": said == ("yes" if question.target["holds"] else "no"), "read": said in ("yes", "no", "absent", "unsure")}


def _absent(question: Question, text: str) -> Score:
    said = parse_value(text, question.language).kind
    return {"correct": said == "absent", "read": bool(text.strip())}


def _label(question: Question, text: str) -> Score:
    """The full label counts, and the bare category where the picture holds one of that category."""
    target = question.target
    right = _same_label(text, target["label"]) or (target["category_unique"] and _same_label(text, target["category"]))
    return {"correct": bool(right), "read": bool(text.strip())}


def _count(question: Question, text: str) -> Score:
    said = _number(question, text)
    if said is None and parse_value(text, question.language).kind in ("absent", "no"):
        said = 0.0  # "none"
    difference = None if said is None else said - question.target["count"]
    return {"correct": difference == 0, "read": said is not None, "difference": difference}


def _depth(question: Question, text: str) -> Score:
    said, true = _number(question, text), question.target["virtual_depth_m"]
    error = None if said is None else abs(said - true) / true
    return {"correct": error is not None and error <= DEPTH_SHARE, "read": said is not None, "relative_error": error}


def _tilt(question: Question, text: str) -> Score:
    return _near(_number(question, text), question.target["pitch_deg"], TILT_DEG)


def _visibility(question: Question, text: str) -> Score:
    return _near(_number(question, text), 100 * question.target["visible_fraction"], VISIBLE_PERCENT)


def _viewpoint(question: Question, text: str) -> Score:
    english = question.target["viewpoint"]
    said = _plain(text)
    return {"correct": said in (_plain(english), words.VIEWPOINTS[english]), "read": bool(said)}


def _near(said: float | None, true: float, tolerance: float) -> Score:
    error = None if said is None else abs(said - true)
    return {"correct": error is not None and error <= tolerance, "read": said is not None, "absolute_error": error}


def _number(question: Question, text: str) -> float | None:
    return parse_value(text, question.language, wants="number").number


def _same_label(said: str, label: str) -> bool:
    return _plain(said) == _plain(label)


def _plain(text: str) -> str:
    """Without articles, 的, case, hyphens and the punctuation around it."""
    plain = text.strip(" \t\r\n.,!?。，！？\"'“”").lower().replace("的", "").replace("-", " ")
    for article in ("the ", "an ", "a "):
        plain = plain.removeprefix(article)
    return plain


_LOCATED: Mapping[Kind, Callable[[Question, Parsed], Score]] = {"box_2d": _boxes, "point_2d": _points, "box_3d": _boxes_3d}
_SHORT: Mapping[str, Callable[[Question, str], Score]] = {
    "relation": _yes_no,
    "occlusion_hidden": _yes_no,
    "occlusion_pair": _yes_no,
    "exists": _yes_no,
    "absent": _absent,
    "relation_choice": _label,
    "occlusion_by": _label,
    "nearest": _label,
    "farthest": _label,
    "count": _count,
    "depth": _depth,
    "tilt": _tilt,
    "visibility": _visibility,
    "viewpoint": _viewpoint,
}
