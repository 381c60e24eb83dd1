"""Answers and model lists for people, in the terminal, in the language of the question.

Knows answers and rich. Does not know how they were found. What comes from models and files is printed as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from deixis.backends.catalog import GIB, KNOWN, LocalCheckpoint
from deixis.geometry import Camera
from deixis.spatial.answer import Answer, Claim, FoundObject, LocateAnswer, Provenance, as_percent
from deixis.spatial.grounding.canary import Grounding
from deixis.spatial.language.prompts import Language

_WORDS: Mapping[str, Mapping[Language, str]] = {
    "claim": {"en": "claim", "zh": "论断"},
    "frame": {"en": "frame", "zh": "参照系"},
    "model": {"en": "model", "zh": "模型"},
    "geometry": {"en": "geometry", "zh": "几何"},
    "agrees": {"en": "agrees", "zh": "是否一致"},
    "object": {"en": "object", "zh": "物体"},
    "box": {"en": "box px (x1 y1 x2 y2)", "zh": "框 px (x1 y1 x2 y2)"},
    "score": {"en": "score", "zh": "得分"},
    "depth": {"en": "depth", "zh": "深度"},
    "camera": {"en": "Camera", "zh": "相机"},
    "Model": {"en": "Model", "zh": "模型"},
    "time": {"en": "Time", "zh": "用时"},
    "note": {"en": "Note", "zh": "说明"},
    "repaired": {"en": "Repaired", "zh": "已修复"},
    "saved": {"en": "Saved", "zh": "已保存"},
    "reasoning": {"en": "Reasoning", "zh": "推理"},
    "absent": {"en": "absent: nothing like that is in the picture", "zh": "没有:图中没有这样的物体"},
    "unread": {"en": "the model's answer could not be read", "zh": "无法读取模型的回答"},
    "found": {"en": "found", "zh": "找到"},
}
_CONFIDENCE: Sequence[tuple[float, Mapping[Language, str]]] = (
    (0.95, {"en": "very likely", "zh": "非常可能"}),
    (0.8, {"en": "likely", "zh": "很可能"}),
    (0.55, {"en": "more likely than not", "zh": "较可能"}),
    (0.0, {"en": "doubtful", "zh": "存疑"}),
)
_AGREES: Mapping[bool | None, tuple[str, str]] = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
_SOURCES: Mapping[str, Mapping[Language, str]] = {
    "exif": {"en": "from the picture's EXIF data", "zh": "来自图片的EXIF"},
    "user": {"en": "given by you", "zh": "由您提供"},
    "estimated": {"en": "estimated", "zh": "估计值"},
    "assumed": {"en": "assumed: 60° along the longer side", "zh": "假设长边视角为60°"},
}
_CHINESE: Mapping[str, str] = {
    "camera": "相机",
    "object": "物体",
    "viewer": "观察者",
    "yes": "是",
    "no": "否",
    "undecided": "未定",
    "m": "米",
    "widths": "倍宽度",
    "sizes": "倍尺寸",
    "spans": "倍间距",
    "share": "体积占比",
    "deg": "度",
    "named by the caller": "由您指定",
    "auto: no other Qwen3-VL checkpoint is on this machine": "auto:本机没有其他Qwen3-VL模型",
}
_STEPS: Mapping[str, str] = {
    "load": "加载",
    "ask": "提问",
    "evidence": "取证",
    "evidence_3d": "三维取证",
    "ask_again": "复问",
    "locate": "定位",
    "locate_3d": "三维定位",
    "total": "合计",
}


def confidence_word(confidence: float, language: Language) -> str:
    """0–1 as a word."""
    return next(words[language] for least, words in _CONFIDENCE if confidence >= least)


def show_answer(console: Console, answer: Answer, saved: str | None = None) -> None:
    """The answer, its claims and objects, the camera, the model and the times."""
    language = answer.language
    said, verdict = answer.headline
    head = Text(said, style="bold")
    if verdict:
        head.append(f" → {verdict}", style="bold yellow")
    head.append(f"   {confidence_word(answer.confidence, language)} ({as_percent(answer.confidence)})", style="default")
    parts: list[RenderableType] = [head]
    if answer.claims:
        parts.append(_claims(answer.claims, language))
    if answer.objects:
        parts.append(objects_table(answer.objects, language))
    parts.append(line_of("camera", camera_text(answer.camera, language), language))
    if answer.reasoning:
        parts.append(line_of("reasoning", answer.reasoning, language))
    console.print(Group(*parts, *footer(answer.provenance, language, saved)))


def show_locate(console: Console, found: LocateAnswer, saved: str | None = None) -> None:
    """What was found, the model and the times."""
    language = found.language
    if found.objects:
        head = f"{len(found.objects)} {_WORDS['found'][language]}" if language == "en" else f"找到 {len(found.objects)} 个"
    else:
        head = _WORDS["absent" if found.absent else "unread"][language]
    parts: list[RenderableType] = [Text(head, style="bold")]
    if found.objects:
        parts.append(objects_table(found.objects, language))
    if found.three_d:
        parts.append(line_of("camera", camera_text(found.camera, language), language))
    console.print(Group(*parts, *footer(found.provenance, language, saved)))


def show_models(
    console: Console, local: Sequence[LocalCheckpoint], groundings: Sequence[Grounding | None], free_bytes: int | None
) -> None:
    """What is on this machine and how well it points at things, where that was measured; and what can be pulled."""
    here = Table(title="On this machine", title_justify="left", box=None, pad_edge=False)
    for column in ("model", "size", "state", "for"):
        here.add_column(column, overflow="fold")
    purposes = {known.hub_id: known.purpose for known in KNOWN}
    for checkpoint in local:
        purpose = "rendered worlds, tests and demos; offline, on any CPU"
        if checkpoint.source != "embedded":
            purpose = purposes.get(checkpoint.name.removeprefix("modelscope:"), "a Qwen3-VL checkpoint")
        here.add_row(
            Text(checkpoint.name),
            _size(checkpoint.bytes),
            state_of(checkpoint, free_bytes),
            purpose,
        )
    names = {checkpoint.name.removeprefix("modelscope:") for checkpoint in local}
    more = Table(title="\nTo pull with `deixis models pull NAME`", title_justify="left", box=None, pad_edge=False)
    for column in ("model", "size", "for"):
        more.add_column(column, overflow="fold")
    for known in KNOWN:
        if known.hub_id not in names and known.hub_id.endswith("Instruct"):
            more.add_row(known.hub_id, _size(known.bytes), known.purpose)
    also = "Each also as …-Thinking, which reasons before it answers: slower, better at puzzles."
    told = [
        f"{checkpoint.name}: grounding {grounding.text if grounding else 'not checked yet (`deixis models check`)'}"
        for checkpoint, grounding in zip(local, groundings, strict=True)
    ]
    console.print(Group(here, *([Text()] if told else []), *(Text(line) for line in told)))
    console.print(Group(more, Text(f"\n{also}\nA server's model: --model http://host:8000/v1#name")))


def state_of(checkpoint: LocalCheckpoint, free_bytes: int | None) -> str:
    """Whether it can answer here and now, in a few words."""
    if not checkpoint.complete:
        return "incomplete: pull again"
    if not checkpoint.loadable:
        return "quantised: needs a server"
    if free_bytes is not None and checkpoint.memory_bytes > free_bytes:
        return f"needs {checkpoint.memory_bytes / GIB:.1f} GiB of memory, {free_bytes / GIB:.1f} free"
    return "ready"


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def _table(columns: Sequence[str], language: Language) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(_WORDS[column][language], overflow="fold")
    return table


def _claims(claims: Sequence[Claim], language: Language) -> Table:
    table = _table(("claim", "frame", "model", "geometry", "agrees"), language)
    for claim in claims:
        mark, style = _AGREES[claim.agrees]
        frame, model, geometry = (_in(language, word) for word in (claim.frame, claim.model, claim.geometry))
        if claim.margin is not None:
            geometry += f" ({claim.margin.value:+.2f} {_in(language, claim.margin.unit)})"
        table.add_row(Text(claim.claim), frame, Text(model), Text(geometry), Text(mark, style=style))
    return table


def _in(language: Language, word: str) -> str:
    """A word that an answer holds in English, as its reader's language has it."""
    return _CHINESE.get(word, word) if language == "zh" else word


def objects_table(objects: Sequence[FoundObject], language: Language) -> Table:
    """Label, box, score and, where there is one, depth of each object."""
    deep = any(item.depth_m is not None for item in objects)
    table = _table(("object", "box", "score", *(("depth",) if deep else ())), language)
    for item in objects:
        row: list[str | Text] = [Text(item.label), " ".join(f"{value:.0f}" for value in item.box_px)]
        row.append("–" if item.score is None else f"{item.score:.2f}")
        if deep:
            row.append("–" if item.depth_m is None else f"{item.depth_m:.2f} m")
        table.add_row(*row)
    return table


def camera_text(camera: Camera, language: Language) -> str:
    """The camera's numbers and where they come from."""
    numbers = f"fx {camera.fx:.0f} fy {camera.fy:.0f} cx {camera.cx:.0f} cy {camera.cy:.0f} px"
    return f"{numbers}, {_SOURCES[camera.source][language]}"


def footer(provenance: Provenance, language: Language, saved: str | None) -> list[Text]:
    """Model, times, repairs and notes, and where a file was saved."""
    steps = (
        f"{_STEPS.get(step, step) if language == 'zh' else step} {value:.0f} ms" for step, value in provenance.timings_ms.items()
    )
    lines = [
        line_of("Model", f"{provenance.model} ({_in(language, provenance.model_why)})", language),
        line_of("time", " · ".join(steps), language),
    ]
    lines += [line_of("repaired", problem.message, language) for problem in provenance.problems[:5]]
    lines += [line_of("note", note, language) for note in provenance.notes]
    if saved is not None:
        lines.append(line_of("saved", saved, language))
    return lines


def line_of(word: str, text: str, language: Language) -> Text:
    """One line that starts with a dim word."""
    return Text.assemble((f"{_WORDS[word][language]}: ", "dim"), text)
