"""The names of things in the other language: by the table that came with a checkpoint, or as the model itself translates them.

Knows words, and how a colour and a noun make a name. Does not know pictures, nor which models there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from deixis.spatial.language.prompts import LANGUAGES, Language, guess_language

WordPairs = Sequence[tuple[str, str]]  # (English, Chinese), the usual word before its synonyms

OTHER: Mapping[Language, Language] = {"en": "zh", "zh": "en"}
_NAMES: Mapping[Language, str] = {"en": "English", "zh": "Chinese"}
_LONGEST = 60  # characters of a name
_ARTICLE = re.compile(r"^(the|an?)\s+", re.IGNORECASE)


def translated(label: str, language: Language, pairs: WordPairs) -> str | None:
    """ "red cup" -> "红色杯子", "红色的杯子" -> "red cup"; None for a name that holds anything but words of the table."""
    known = _known(language, pairs)
    pieces = _pieces(_bare(label, language), language, known)
    return None if pieces is None else ("" if language == "en" else " ").join(known[piece] for piece in pieces)


def named_in(text: str, language: Language, pairs: WordPairs) -> tuple[str, ...]:
    """The names in a question that the table's words make up, each once: "red cup" of "Is the red cup hidden?"."""
    known = _known(language, pairs)
    if not known:
        return ()
    word = _any_of(known, language)
    space = r"\s+" if language == "en" else ""
    plain = text if language == "en" else text.replace("的", "")
    return tuple(dict.fromkeys(match.group() for match in re.finditer(rf"{word}(?:{space}{word})*", plain, re.IGNORECASE)))


def to_translate(labels: Sequence[str], language: Language) -> str:
    """What to ask a model of which no words are known; `names_of_reply` reads the answer."""
    return (
        f"Translate the names of these {len(labels)} things from {_NAMES[language]} into {_NAMES[OTHER[language]]}. "
        f"Answer with a JSON array of {len(labels)} strings and nothing else.\n{json.dumps(list(labels), ensure_ascii=False)}"
    )


def names_of_reply(text: str, count: int, language: Language) -> tuple[str, ...] | None:
    """As many short names in `language` as were asked for; None where the reply holds anything else."""
    found = re.search(r"\[[^\[\]]*\]", text)
    try:
        names = json.loads(found.group()) if found else None
    except ValueError:
        return None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        return None
    clean = tuple(_bare(name, language) for name in names)
    usable = all(0 < len(name) <= _LONGEST and name.isprintable() and guess_language(name) == language for name in clean)
    # Names that were two and became one no longer tell the things apart.
    return clean if usable and len(set(clean)) == count else None


def _known(language: Language, pairs: WordPairs) -> dict[str, str]:
    """Each word's first translation, words in lower case."""
    own = LANGUAGES.index(language)
    found: dict[str, str] = {}
    for pair in pairs:
        found.setdefault(pair[own].lower(), pair[1 - own])
    return found


def _pieces(label: str, language: Language, known: Mapping[str, str]) -> list[str] | None:
    if not known:
        return None
    pieces = re.findall(_any_of(known, language), label.lower())
    return pieces if pieces and "".join(pieces).replace(" ", "") == label.lower().replace(" ", "") else None


def _any_of(known: Mapping[str, str], language: Language) -> str:
    """Any of the words, the longest that fits."""
    alternatives = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True))
    return rf"\b(?:{alternatives})\b" if language == "en" else f"(?:{alternatives})"


def _bare(label: str, language: Language) -> str:
    """A name without article and "的"."""
    label = label.strip(" .。\"'")
    return _ARTICLE.sub("", label) if language == "en" else label.replace("的", "")
