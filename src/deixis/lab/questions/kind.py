"""What a kind of question is: how it is made, and the phrasings it draws from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from deixis.lab.questions.picture import Picture
from deixis.lab.questions.question import Question
from deixis.spatial.language.prompts import Language

Phrasings = Mapping[Language, Sequence[str]]
Make = Callable[[Picture, Generator, Language], Question | None]  # None: this picture has no clear case


@dataclass(frozen=True)
class Kind:
    """``phrasings``: templates per language, of the question or of the ``what`` of a locate."""

    make: Make
    phrasings: Phrasings
