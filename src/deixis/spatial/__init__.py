"""Spatial questions to checked answers."""

from deixis.spatial.answer import Answer, Claim, FoundObject, LocateAnswer, Provenance
from deixis.spatial.deixis import Deixis
from deixis.spatial.grounding.parse import Parsed, ParsedObject, Problem, parse_objects
from deixis.spatial.language.values import Value, parse_value
from deixis.spatial.scene import Scene

__all__ = [
    "Answer",
    "Claim",
    "Deixis",
    "FoundObject",
    "LocateAnswer",
    "Parsed",
    "ParsedObject",
    "Problem",
    "Provenance",
    "Scene",
    "Value",
    "parse_objects",
    "parse_value",
]
