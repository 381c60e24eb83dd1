"""Media: pictures and videos from anywhere, decoded safely, upright, hashed, with the camera and the times that they tell of.

Knows files, formats and live sources. Does not know models.
"""

from deixis.media.live import Folder
from deixis.media.opening import VideoSource, open_still, open_video
from deixis.media.picture import MAX_PIXELS, MIN_SIDE_PX, Picture, PictureSource, load_picture
from deixis.media.reader import VideoInfo, VideoProblem
from deixis.media.video import Video, VideoFrame

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "Folder",
    "Picture",
    "PictureSource",
    "Video",
    "VideoFrame",
    "VideoInfo",
    "VideoProblem",
    "VideoSource",
    "load_picture",
    "open_still",
    "open_video",
]
