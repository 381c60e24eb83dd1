"""The accuracy of nano with int8 weights beside float32, on the same pictures, never trained on.

MUJOCO_GL=egl python bench/int8_accuracy.py [PICTURES] [SEED]
"""

import json
import sys
from collections.abc import Callable

from deixis.backends import Conversation
from deixis.backends.catalog import nano_directory
from deixis.backends.local import LocalBackend, read_card
from deixis.engine import Engine, LocalEngine
from deixis.engine.int8 import int8_network
from deixis.lab.bench import BOXES_TOKENS, MAX_NEW_TOKENS, asked, report
from deixis.lab.make import example
from deixis.lab.scoring import score
from deixis.model import open_checkpoint


def with_int8(engine: LocalEngine) -> None:
    """Let it serve by int8 weights."""
    engine.engine = Engine(engine.checkpoint, engine.engine.settings, int8_network(engine.checkpoint.model))


def main(pictures: int, seed: int, name: str = "int8", change: Callable[[LocalEngine], None] = with_int8) -> None:
    """Ask both the same; print a line of JSON after each picture, the last of which holds everything."""
    directory = nano_directory()
    engines = {"float32": LocalEngine(open_checkpoint(directory)), name: LocalEngine(open_checkpoint(directory))}
    change(engines[name])
    backends = {name: LocalBackend(engine, read_card(directory)) for name, engine in engines.items()}
    scores = {name: [] for name in backends}
    same = count = 0
    for index in range(pictures):
        made = example("desk", seed, index, (640, 480))
        for question in asked(made.questions, index):
            limit = MAX_NEW_TOKENS.get(question.prompt_kind, BOXES_TOKENS)
            texts = {}
            for name, backend in backends.items():
                texts[name] = backend.complete(Conversation.about(made.pixels, question.prompt), max_new_tokens=limit).text
                scores[name].append(score(question, texts[name]))
            count += 1
            same += len(set(texts.values())) == 1
        right = {name: round(sum(bool(s["correct"]) for s in found) / count, 4) for name, found in scores.items()}
        kinds = {name: report(found)["kinds"] for name, found in scores.items()} if index == pictures - 1 else {}
        print(
            json.dumps({"pictures": index + 1, "questions": count, "same_text": same / count, "right": right, **kinds}),
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16, int(sys.argv[2]) if len(sys.argv) > 2 else 870001)
