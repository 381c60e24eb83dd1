"""The learning curve as a picture, from metrics.jsonl."""

import json
from pathlib import Path

NOT_KINDS = {"s", "step", "pictures", "progress", "loss", "waited_s"}


def draw_curve(metrics: Path, out: Path) -> None:
    """Share of right answer tokens per kind over pictures seen."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    colors = plt.get_cmap("tab20")
    for number, kind in enumerate(k for k in rows[-1] if k not in NOT_KINDS):
        line = "-" if number < 20 else "--"
        axes.plot([r["pictures"] / 1e6 for r in rows], [r.get(kind) for r in rows], line, color=colors(number % 20), label=kind)
    axes.set(xlabel="million picture views", ylabel="right answer tokens, held-out pictures", ylim=(0, 1), title="nano learns")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=3)
    figure.savefig(out, dpi=110)
    plt.close(figure)
