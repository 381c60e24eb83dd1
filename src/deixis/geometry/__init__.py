"""Geometry: cameras with provenance, 2D and oriented 3D boxes, and how far a spatial relation holds. numpy only.

Knows numbers in named frames and units. Does not know torch, models, prompts or pictures.
"""

from deixis.geometry.box3d import Box3D, QwenBox, Vec3
from deixis.geometry.boxes import (
    BoxNorm1000,
    BoxPx,
    PointPx,
    area,
    center_px,
    checked_box,
    clipped_px,
    contains,
    from_norm1000,
    gap_px,
    iou_px,
    point_from_norm1000,
    point_to_norm1000,
    to_norm1000,
)
from deixis.geometry.camera import Camera, CameraJson, CameraSource
from deixis.geometry.relations import RELATIONS, Located, Margin, MarginUnit, Relation, margin

__all__ = [
    "RELATIONS",
    "Box3D",
    "BoxNorm1000",
    "BoxPx",
    "Camera",
    "CameraJson",
    "CameraSource",
    "Located",
    "Margin",
    "MarginUnit",
    "PointPx",
    "QwenBox",
    "Relation",
    "Vec3",
    "area",
    "center_px",
    "checked_box",
    "clipped_px",
    "contains",
    "from_norm1000",
    "gap_px",
    "iou_px",
    "margin",
    "point_from_norm1000",
    "point_to_norm1000",
    "to_norm1000",
]
