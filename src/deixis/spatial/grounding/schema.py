"""How long a list of boxes may be, and the JSON schema to which a model can be held that answers a 2D request with 3D boxes."""

from __future__ import annotations

from deixis.backends import Schema

BOXES_TOKENS = 2_048
MAX_OBJECTS = 300  # in one list: matching grows with the square, and no reply within the limit of tokens has as many
BOXES_SCHEMA: Schema = {
    "type": "array",
    # As many as BOXES_TOKENS hold (about 32 tokens a box), so that a list that repeats itself is closed and not cut.
    "maxItems": BOXES_TOKENS // 32,
    "items": {
        "type": "object",
        "properties": {
            # Five digits: some models answer in pixels.
            "bbox_2d": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 99_999},
                "minItems": 4,
                "maxItems": 4,
            },
            "label": {"type": "string", "maxLength": 120},
        },
        "required": ["bbox_2d", "label"],
        "additionalProperties": False,
    },
}
