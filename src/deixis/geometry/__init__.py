"""Geometry: cameras with provenance, 2D and oriented 3D boxes, and how far a spatial relation holds. numpy only.

Knows numbers in named frames and units. Does not know torch, models, prompts or pictures.
"""

from deixis.geometry.box3d import AngleUnit, Box3D, QwenBox, Vec3
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
from deixis.geometry.distance import Sight, closest_points_m, distance_m, line_of_sight, nearest_point_m
from deixis.geometry.forecasting import Forecast, PredictedEvent, forecast
from deixis.geometry.frame_relations import FRAME_RELATIONS, FrameRelation, margin_in
from deixis.geometry.frames import CAMERA_UP, Frame, FrontAxis, front_of
from deixis.geometry.ground import GroundPlane, lifted_box, lifted_point_m
from deixis.geometry.metric import Direction, Interval, Offset, offset
from deixis.geometry.occlusion import Visibility, front_to_back, visibility_of_boxes, visibility_of_masks, visibility_px
from deixis.geometry.polygons import convex_hull, polygon_contains, polygon_iou
from deixis.geometry.relations import RELATIONS, Located, Margin, MarginUnit, Relation, margin
from deixis.geometry.sensors import FORMAT_WIDTH_MM, sensor_width_mm
from deixis.geometry.trajectory import Trajectory, fit_trajectory
from deixis.geometry.viewpoint import AzimuthClass, ViewClass, Viewpoint, azimuth_class, azimuth_deg, vanishing_point
from deixis.geometry.views import View, padded_to_aspect, tiles
from deixis.geometry.virtual_camera import VirtualCamera

__all__ = [
    "CAMERA_UP",
    "FORMAT_WIDTH_MM",
    "FRAME_RELATIONS",
    "RELATIONS",
    "AngleUnit",
    "AzimuthClass",
    "Box3D",
    "BoxNorm1000",
    "BoxPx",
    "Camera",
    "CameraJson",
    "CameraSource",
    "Direction",
    "Forecast",
    "Frame",
    "FrameRelation",
    "FrontAxis",
    "GroundPlane",
    "Interval",
    "Located",
    "Margin",
    "MarginUnit",
    "Offset",
    "PointPx",
    "PredictedEvent",
    "QwenBox",
    "Relation",
    "Sight",
    "Trajectory",
    "Vec3",
    "View",
    "ViewClass",
    "Viewpoint",
    "VirtualCamera",
    "Visibility",
    "area",
    "azimuth_class",
    "azimuth_deg",
    "center_px",
    "checked_box",
    "clipped_px",
    "closest_points_m",
    "contains",
    "convex_hull",
    "distance_m",
    "fit_trajectory",
    "forecast",
    "from_norm1000",
    "front_of",
    "front_to_back",
    "gap_px",
    "iou_px",
    "lifted_box",
    "lifted_point_m",
    "line_of_sight",
    "margin",
    "margin_in",
    "nearest_point_m",
    "offset",
    "padded_to_aspect",
    "point_from_norm1000",
    "point_to_norm1000",
    "polygon_contains",
    "polygon_iou",
    "sensor_width_mm",
    "tiles",
    "to_norm1000",
    "vanishing_point",
    "visibility_of_boxes",
    "visibility_of_masks",
    "visibility_px",
]
