"""Widths of camera sensors, for photographs whose EXIF names the camera and its focal length and nothing else.

Knows makers' data sheets (the longer side of the recorded area, millimetres). A model that is not listed has no width: a wrong
sensor gives a wrong camera. Phones are left out on purpose: they have several cameras, and write the 35 mm equivalent; so are
action cameras, whose lenses are no pinholes.
"""

from __future__ import annotations

__all__ = ["FORMAT_WIDTH_MM", "sensor_width_mm"]

FORMAT_WIDTH_MM = {
    "full frame": 36.0,
    "APS-C": 23.5,
    "APS-C Canon": 22.3,
    "Four Thirds": 17.3,
    "1 inch": 13.2,
    "1/1.7 inch": 7.6,
    "1/2.3 inch": 6.17,
}

# The start of the EXIF model name, spelled as cameras write it, in lower case → format. The longest start that fits decides.
_MODELS = {
    "canon eos 5d": "full frame",
    "canon eos 6d": "full frame",
    "canon eos r": "full frame",
    "canon eos r7": "APS-C Canon",
    "canon eos r10": "APS-C Canon",
    "canon eos r50": "APS-C Canon",
    "canon eos r100": "APS-C Canon",
    "canon eos 7d": "APS-C Canon",
    "canon eos 60d": "APS-C Canon",
    "canon eos 70d": "APS-C Canon",
    "canon eos 80d": "APS-C Canon",
    "canon eos 90d": "APS-C Canon",
    "canon eos 600d": "APS-C Canon",
    "canon eos 700d": "APS-C Canon",
    "canon eos rebel": "APS-C Canon",
    "canon eos m": "APS-C Canon",
    "canon powershot g7 x": "1 inch",
    "canon powershot s95": "1/1.7 inch",
    "nikon d600": "full frame",
    "nikon d610": "full frame",
    "nikon d750": "full frame",
    "nikon d780": "full frame",
    "nikon d800": "full frame",
    "nikon d810": "full frame",
    "nikon d850": "full frame",
    "nikon z 5": "full frame",
    "nikon z 6": "full frame",
    "nikon z 7": "full frame",
    "nikon z 50": "APS-C",
    "nikon z 30": "APS-C",
    "nikon d3": "APS-C",
    "nikon d5": "APS-C",
    "nikon d7": "APS-C",
    "nikon d7500": "APS-C",
    "nikon d3s": "full frame",
    "nikon d3x": "full frame",
    "nikon d90": "APS-C",
    "ilce-7": "full frame",
    "ilce-9": "full frame",
    "ilce-1": "full frame",
    "ilce-5": "APS-C",
    "ilce-6": "APS-C",
    "dsc-rx100": "1 inch",
    "dsc-rx10": "1 inch",
    "x-t": "APS-C",
    "x-pro": "APS-C",
    "x-e": "APS-C",
    "x100": "APS-C",
    "dmc-gh": "Four Thirds",
    "dmc-gx": "Four Thirds",
    "dmc-g": "Four Thirds",
    "dc-gh": "Four Thirds",
    "dc-gx": "Four Thirds",
    "dc-s": "full frame",
    "e-m": "Four Thirds",
    "e-pl": "Four Thirds",
    "om-1": "Four Thirds",
    "om-5": "Four Thirds",
    "fc330": "1/2.3 inch",
    "fc220": "1/2.3 inch",
    "fc6310": "1 inch",
}
# Names that are also whole models of another format than their kin.
_EXACT = dict.fromkeys(("nikon d3", "nikon d4", "nikon d4s", "nikon d5", "nikon d700"), "full frame")


def sensor_width_mm(model: str) -> float | None:
    """Width of the sensor of an EXIF `Model`, such as "Canon EOS 80D", or None where the table does not have it."""
    name = " ".join(model.lower().replace("\0", " ").split())
    if name in _EXACT:
        return FORMAT_WIDTH_MM[_EXACT[name]]
    fitting = [start for start in _MODELS if name.startswith(start)]
    return FORMAT_WIDTH_MM[_MODELS[max(fitting, key=len)]] if fitting else None
