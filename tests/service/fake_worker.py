"""An engine's process with a scripted model: `python -m tests.service.fake_worker FD SPEC THREADS`.

SPEC is `fake`, `fake:slow=0.5` (seconds a reply takes), `fake:long` (100 kB of reply), `fake:broken` (cannot be loaded),
`fake:dies` (its process ends when it is asked), with `,thinking` a model that reasons.
"""

from __future__ import annotations

import os
import time

from deixis.backends import Completion, Conversation, FakeBackend, ModelCard, completion_of
from deixis.errors import CheckpointError
from deixis.service.call import current_call
from deixis.service.worker import main
from deixis.spatial import Deixis

BOX = '[{"bbox_2d": [250, 250, 750, 750], "label": "red square"}]'


def load(spec: str) -> Deixis:
    """The scripted model that the spec describes."""
    words = dict(word.partition("=")[::2] for word in spec.partition(":")[2].split(",") if word)
    if "broken" in words:
        raise CheckpointError("weights.safetensors lacks 3 tensors: fetch the checkpoint again")
    slow_s = float(words.get("slow", 0.0))

    def reply(conversation: Conversation) -> Completion:
        if "dies" in words:
            os._exit(9)
        until = time.monotonic() + slow_s
        while time.monotonic() < until:
            time.sleep(0.01)
            if (call := current_call()) is not None:
                call.check()
        text = conversation.text
        if "JSON" in text or "bbox" in text or "json" in text:
            return completion_of(BOX)
        if "long" in words:
            return completion_of("word " * 20_000)
        return completion_of("Yes" if "?" in text else "A red square.")

    return Deixis(FakeBackend(reply, card=ModelCard("fake", "scripted", thinking="thinking" in words)))


if __name__ == "__main__":
    main(load)
