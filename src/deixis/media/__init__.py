"""Media: pictures from paths, bytes, Pillow images and arrays, decoded safely, upright, hashed, with the camera they tell of.

Knows files and formats. Does not know models.
"""

from deixis.media.picture import MAX_PIXELS, MIN_SIDE_PX, Picture, PictureSource, load_picture

__all__ = ["MAX_PIXELS", "MIN_SIDE_PX", "Picture", "PictureSource", "load_picture"]
