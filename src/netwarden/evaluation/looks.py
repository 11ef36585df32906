"""Every look at a test set, kept in the repository: who looks often enough finds what fits it by chance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

PAGE = Path("docs") / "evaluations.md"
_LOOKED_AT = ("accuracy", "f1", "roc_auc", "false_positive_rate", "recall", "recall_unseen_attacks")
MOST_LOOKS = 5  # at one dataset's test rows, for the table that is published of it
_HEAD = """# Looks at test sets

Appended by the `evaluate` stage and by `netwarden experiments` whenever they judge by a dataset's test rows. The same
look again adds nothing; one from another commit whose figures are those of an earlier line is marked as its repeat,
since it shows nothing new. Do not edit: the number of lines is what keeps the figures honest.

| date | commit | dataset | judged | figures |
|---|---|---|---|---|
"""


def record_look(
    workspace: Path, now: datetime, commit: str, dataset: str, judged: str, figures: Mapping[str, float | None]
) -> bool:
    """Whether a line was added to the page: not outside a git workspace, nor where it says the same already.

    `judged`: the bundle, or what an experiment ran over how many seeds; of the figures, the page shows a few.
    """
    if not (workspace / ".git").exists():
        return False
    short = f"{commit[:12] or 'no commit'}{'+changes' * commit.endswith('+changes')}"
    told = ", ".join(f"{name} {figures[name]:.4f}" for name in _LOOKED_AT if figures.get(name) is not None)
    alike = [(there, what) for there, of, what, shown in _lines(workspace) if (of, shown) == (dataset, told)]
    if any(there == short and what.split(_REPEAT)[0] == judged for there, what in alike):
        return False
    page = workspace / PAGE
    page.parent.mkdir(exist_ok=True)
    repeat = f"{_REPEAT}{alike[0][0]}: the same figures" if alike else ""
    with page.open("a", encoding="utf-8") as file:
        head = "" if file.tell() else _HEAD
        file.write(f"{head}| {now:%Y-%m-%d} | {short} | {dataset} | {judged}{repeat} | {told} |\n")
    return True


def looks_at(workspace: Path, dataset: str) -> int:
    """Lines on the page about a dataset whose figures no line before them has."""
    return len({shown for _, of, _, shown in _lines(workspace) if of == dataset})


_REPEAT = "; repeats "


def _lines(workspace: Path) -> list[tuple[str, str, str, str]]:
    """Commit, dataset, what was judged and figures of every look on the page."""
    page = workspace / PAGE
    rows = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| 2")]
    return [(commit, dataset, judged, told) for _, commit, dataset, judged, told in cells]
