"""Results of a protocol as one table for people."""

from __future__ import annotations

from collections.abc import Sequence

from netwarden.evaluation.protocols import Protocol
from netwarden.training.experiments import BUDGETS, PREVALENCES, Figure, Result

_COLUMNS: tuple[tuple[str, str], ...] = (  # heading, name of the figure; {} stands for the budget in force
    ("ROC AUC", "roc_auc@{}"),
    ("accuracy", "accuracy@{}"),
    ("F1", "f1@{}"),
    ("family macro-F1", "family_macro_f1@{}"),
    *((f"false positives, {budget:.1%}", f"false_positive_rate@{budget:g}") for budget in BUDGETS),
    *((f"recall, {budget:.1%}", f"recall@{budget:g}") for budget in BUDGETS),
    ("recall of seen", "recall_seen_attacks@{}"),
    ("of unseen", "recall_unseen_attacks@{}"),
    *((f"precision, {rare:.1%} attacks", f"precision_at_{rare:g}@{{}}") for rare in PREVALENCES),
    *((f"alerts a day, {rare:.1%} attacks", f"alerts_per_day_at_{rare:g}@{{}}") for rare in PREVALENCES),
)


def experiment_table(protocol: Protocol, results: Sequence[Result], budget: float, seeds: int) -> str:
    """Markdown table: a row per model and held-out group, means over seeds with spread and interval where there is one.

    `budget` (one of BUDGETS) holds for the columns that name none.
    """
    headings = ["held out", "model", "rows", *(heading for heading, _ in _COLUMNS)]
    lines = [_line(headings), _line(["---"] * len(headings))]
    for result in results:
        cells = [_cell(heading, result.figures.get(name.format(f"{budget:g}"))) for heading, name in _COLUMNS]
        lines.append(_line([result.held_out or "-", result.model, f"{result.rows:,}", *cells]))
    return (
        f"{protocol.name}: {protocol.meaning}. Mean over {seeds} seeds ± spread (largest less smallest) "
        f"[95 % bootstrap interval]; columns that name no budget: {budget:.1%} false positives.\n\n" + "\n".join(lines)
    )


def _cell(heading: str, figure: Figure | None) -> str:
    if figure is None:
        return "-"
    form = ",.0f" if heading.startswith("alerts") else ".4f"
    interval = f" [{figure.interval[0]:{form}}, {figure.interval[1]:{form}}]" if figure.interval else ""
    return f"{figure.mean:{form}} ± {figure.spread:{form}}{interval}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
