"""One question with its exact answer, and how answers are written down.

Knows the answer formats of Qwen3-VL (FACTS: Coordinates). Does not know what may be asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deixis.lab.words import ABSENT, NO, YES
from deixis.spatial.language.prompts import PROMPTS, Language, PromptKind

Box = Sequence[int]  # (x1, y1, x2, y2), 0..1000 of the picture


@dataclass(frozen=True)
class Question:
    """What is asked about one picture and the answer that its truth gives.

    ``question`` is the human's text, or the ``what`` of a locate, point or locate_3d; ``prompt`` is the full text that
    the model reads; ``answer`` the exact text that it should write. ``labels`` are the names of the things asked about,
    in the order of mention. ``target`` is the truth for scoring, plain JSON values; ``target["objects"]`` always holds
    the ids of the objects that bear the answer out, in the order in which evidence lists them.
    """

    kind: str
    language: Language
    prompt_kind: PromptKind
    question: str
    prompt: str
    answer: str
    labels: tuple[str, ...]
    target: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The question as a line of truth.jsonl holds it (without the prompt, which follows from prompt_kind)."""
        return {
            "kind": self.kind,
            "language": self.language,
            "question": self.question,
            "answer": self.answer,
            "prompt_kind": self.prompt_kind,
            "labels": list(self.labels),
            "target": dict(self.target),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Question":
        """The inverse of ``to_json``."""
        prompt = PROMPTS[line["prompt_kind"]](line["question"], line["language"])
        return cls(
            kind=line["kind"],
            language=line["language"],
            prompt_kind=line["prompt_kind"],
            question=line["question"],
            prompt=prompt,
            answer=line["answer"],
            labels=tuple(line["labels"]),
            target=line["target"],
        )


def written(
    kind: str,
    language: Language,
    prompt_kind: PromptKind,
    question: str,
    answer: str,
    labels: Iterable[str],
    target: Mapping[str, Any],
) -> Question:
    """A question with its prompt filled in."""
    prompt = PROMPTS[prompt_kind](question, language)
    return Question(kind, language, prompt_kind, question, prompt, answer, tuple(labels), target)


def yes_or_no(holds: bool, language: Language) -> str:
    """ "Yes", "No", "是", "否"."""
    return YES[language] if holds else NO[language]


def absent(language: Language) -> str:
    """The answer about things that are not there."""
    return ABSENT[language]


def meters(value: float, language: Language) -> str:
    """ "0.85 m", "0.85米"."""
    return f"{value:.2f} m" if language == "en" else f"{value:.2f}米"


def degrees(value: int, language: Language) -> str:
    """ "35 degrees", "35度"."""
    if language == "zh":
        return f"{value}度"
    return f"{value} degree" if value == 1 else f"{value} degrees"


def fenced(rows: Sequence[str]) -> str:
    """JSON rows as Qwen3-VL writes them: fenced, one object a line, indented by a tab."""
    if not rows:
        return "```json\n[]\n```"
    return "```json\n[\n\t" + ",\n\t".join(rows) + "\n]\n```"


def box_row(box: Box, label: str) -> str:
    """One 2D box, 0..1000."""
    x1, y1, x2, y2 = box
    return f'{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}], "label": "{label}"}}'


def point_row(point: Sequence[int], label: str) -> str:
    """One point, 0..1000."""
    x, y = point
    return f'{{"point_2d": [{x}, {y}], "label": "{label}"}}'


def box_3d_row(box: Sequence[float], label: str) -> str:
    """``box``: nine numbers in Qwen's order. Two decimals each, no "-0.00", and no size below 0.01: a box of none is no box."""
    written_m = [*box[:3], *[max(size, 0.01) for size in box[3:6]], *box[6:]]
    numbers = ", ".join([f"{v:.2f}" if abs(v) >= 0.005 else "0.00" for v in written_m])
    return f'{{"bbox_3d": [{numbers}], "label": "{label}"}}'
