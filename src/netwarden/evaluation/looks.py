"""Every look at a test set, kept in the repository: who looks often enough finds what fits it by chance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

PAGE = Path("docs") / "evaluations.md"
LOOKED_AT = ("accuracy", "f1", "roc_auc", "false_positive_rate", "recall", "recall_unseen_attacks")
_HEAD = """# Looks at test sets

Appended by the `evaluate` stage and by `netwarden experiments` whenever they judge by a dataset's test rows. The same
look again adds nothing. Do not edit: the number of lines is what keeps the figures honest.

| date | commit | dataset | judged | figures |
|---|---|---|---|---|
"""


def record_look(
    workspace: Path, now: datetime, commit: str, dataset: str, judged: str, figures: Mapping[str, float]
) -> bool:
    """Whether a line was added to the page: not outside a git workspace, nor where it says the same already.

    `judged`: the bundle, or what an experiment ran over how many seeds.
    """
    if not (workspace / ".git").exists():
        return False
    page = workspace / PAGE
    told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    line = f"{commit[:12] or 'no commit'}{'+changes' * commit.endswith('+changes')} | {dataset} | {judged} | {told} |"
    if page.exists() and any(known.endswith(f"| {line}") for known in page.read_text(encoding="utf-8").splitlines()):
        return False
    page.parent.mkdir(exist_ok=True)
    with page.open("a", encoding="utf-8") as file:
        file.write(("" if file.tell() else _HEAD) + f"| {now:%Y-%m-%d} | {line}\n")
    return True
