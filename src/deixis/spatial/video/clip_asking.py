"""Questions that the ledger does not read, put to a model with a clip of frames around what happened.

Knows conversations with clips. Does not know the ledger. A model that was never shown clips is not asked: the answer is unsure.
"""

from __future__ import annotations

import numpy as np

from deixis.backends import Backend, Clip, Conversation
from deixis.media import Video
from deixis.spatial.checking.confidence import mean_probability
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.values import parse_value
from deixis.spatial.video.asked import MemoryAnswer
from deixis.spatial.video.detection import Event
from deixis.spatial.video.locating import shown

CLIP_FRAMES = 16
CLIP_PIXELS = 300_000
_TOKENS = 128
_TOLD = 30  # events that the model is told of
_UNREAD: dict[Language, str] = {
    "en": "Unsure: the memory does not know this kind of question, and {name} has never been shown clips.",
    "zh": "不确定:记忆不认识这类问题,而{name}从未见过视频片段。",
}
_ASKABLE: dict[Language, str] = {
    "en": 'it can be asked e.g. "where is the red cup now?", "when was the ball last seen?", "what did the box hide?", '
    '"which thing moved first?", "when does the ball fall?", "how many cups are there?", "what happens?"',
    "zh": "可以这样问:“红色杯子现在在哪里?”“最后什么时候看到球?”“盒子挡住了什么?”"
    "“谁先移动?”“球什么时候掉落?”“有几个杯子?”“发生了什么?”",
}
_PROMPT: dict[Language, str] = {
    "en": "{told}Question about the video: {question}\nAnswer in one short sentence; say at what second you see it.",
    "zh": "{told}关于视频的问题:{question}\n请用一句话简短回答,并说明在第几秒看到。",
}
_TOLD_AS: dict[Language, str] = {"en": "What a tracker noted: {events}\n", "zh": "跟踪器记录的事件:{events}\n"}
_MODEL_NOTE: dict[Language, str] = {
    "en": "the memory does not know this kind of question: answered by the model from {n} frames, {a:.1f} s to {b:.1f} s, not "
    "checked; confidence is not calibrated",
    "zh": "记忆不认识这类问题:由模型根据{n}帧({a:.1f}秒到{b:.1f}秒)回答,未经核查;置信度未经校准",
}


def ask_with_clip(backend: Backend, video: Video, asked: Reading, events: tuple[Event, ...]) -> tuple[MemoryAnswer, list[str]]:
    """The answer, and notes on it. `events` in the video's time: frames are taken around them, or from all over the video."""
    language = asked.language
    times = clip_times(video, asked.text, events)
    if backend.card.knows or len(times) < 2:
        text = _UNREAD[language].format(name=backend.card.name)
        return MemoryAnswer(text, "unsure", 0.0, language=language), [_ASKABLE[language]]
    frames = list(shown(video, times, CLIP_PIXELS))
    if len(frames) < 2:
        return MemoryAnswer(_UNREAD[language].format(name=backend.card.name), "unsure", 0.0, language=language), []
    told = "; ".join(f"{event.start_s:.1f} s {event.description[language]}" for event in events[:_TOLD])
    prompt = _PROMPT[language].format(question=asked.text, told=_TOLD_AS[language].format(events=told) if told else "")
    clip = Clip(tuple(frame.pixels for frame in frames), tuple(frame.time_s for frame in frames))
    tokens = backend.card.room_for(_TOKENS)
    reply = backend.complete(Conversation.about(clip, prompt), max_new_tokens=tokens)
    text = reply.text.strip()
    value = parse_value(text, language)
    verdict = value.kind if value.kind in ("yes", "no", "absent", "unsure") else value.label
    sure = mean_probability(reply, [(0, len(reply.text))])
    note = _MODEL_NOTE[language].format(n=len(frames), a=frames[0].time_s, b=frames[-1].time_s)
    return MemoryAnswer(text, verdict, 0.5 if sure is None else round(min(sure, 0.99), 4), language=language), [note]


def clip_times(video: Video, question: str, events: tuple[Event, ...]) -> list[float]:
    """Ascending times of frames to show: around events that the question's words name, else around all, else evenly."""
    start_s, end_s = video.info.start_s, video.info.end_s
    if end_s is None:
        return []  # it has flowed by
    said = question.lower()
    named = [e for e in events if any(len(word) > 2 and word in said for word in e.description["en"].split()[1:3])] or list(
        events
    )
    if not named or end_s - start_s <= 30:
        return [float(t) for t in np.linspace(start_s, max(start_s, end_s - 0.02), CLIP_FRAMES)]
    chosen = named[: CLIP_FRAMES // 4]
    per = CLIP_FRAMES // len(chosen)
    times = {float(t) for e in chosen for t in np.linspace(max(start_s, e.start_s - 1), min(end_s - 0.02, e.end_s + 1), per)}
    return sorted(times)
