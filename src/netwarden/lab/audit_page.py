"""The audit as Markdown: the tables that stand between the marks of docs/lab-dataset.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netwarden.errors import InputError
from netwarden.flows.labels import BENIGN
from netwarden.lab.audit import GROUPS, Audit
from netwarden.lab.audit_models import BUDGET, MODELS
from netwarden.lab.days import Days

BEGIN, END = "<!-- begin {name}: written by `netwarden lab {command}` -->", "<!-- end {name} -->"
COUNTS, FIGURES, TOOLS = "counts", "audit", "tools"
_WRITTEN_BY = {COUNTS: "audit", FIGURES: "audit", TOOLS: "packages"}


def counts_table(days: Days) -> str:
    """Flows by label and day."""
    names = np.unique(days.days).tolist()
    labels = sorted(np.unique(days.labels).tolist(), key=lambda label: (label != BENIGN, label))
    rows = [
        [label, *(_count(int(((days.days == day) & (days.labels == label)).sum())) for day in names)]
        for label in labels
    ]
    sums = ["**all**", *(_count(int((days.days == day).sum())) for day in names)]
    shares = ["share of benign", *(f"{(~days.attack[days.days == day]).mean():.1%}" for day in names)]
    return _table(["label", *names], [*rows, sums, shares])


def audit_tables(audit: Audit) -> str:
    """Every table of the audit, with a heading each."""
    parts = [
        ("Recall on the test day at a budget of 0.1 % false positives", _models(audit)),
        ("The same, attack by attack", _attacks(audit)),
        ("Hours of the test day (boosted trees)", _hours(audit)),
        ("False alerts by benign activity (boosted trees, test day)", _activities(audit)),
        ("Attacks that one feature tells by itself", _told(audit)),
        ("Identifiers alone", _identified(audit)),
        ("The strongest features, and what hosts' stacks tell", _ablation(audit)),
    ]
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts)


def rewritten(page: str, name: str, text: str) -> str:
    """The page with what stands between the marks of a name replaced. Raises InputError where they are missing."""
    begin, end = BEGIN.format(name=name, command=_WRITTEN_BY[name]), END.format(name=name)
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise InputError(f"the page lacks the marks {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def write_page(path: Path, days: Days, audit: Audit) -> None:
    """Bring the generated parts of the data card up to date."""
    page = path.read_text(encoding="utf-8")
    page = rewritten(page, COUNTS, counts_table(days))
    path.write_text(rewritten(page, FIGURES, audit_tables(audit)), encoding="utf-8")


def write_versions(path: Path, versions: dict[str, str]) -> None:
    """Bring the data card's table of tools up to date."""
    table = _table(["package", "version"], [list(row) for row in versions.items()])
    path.write_text(rewritten(path.read_text(encoding="utf-8"), TOOLS, table), encoding="utf-8")


def _models(audit: Audit) -> str:
    header = ["model", *GROUPS, "all", "false positives, realised", "ROC AUC"]
    rows = []
    for model in MODELS:
        recalls = [_spread(audit.recall(model, group)) for group in (*GROUPS, "")]
        rates, aucs = np.array(audit.false_positive_rates[model]) * 100, np.array(audit.aucs[model])
        realised = "–" if model == "best feature per attack" else _spread(rates, 3, " %")
        rows.append([model, *recalls, realised, _spread(aucs)])
    lines = [
        f"Mean and standard deviation over {audit.seeds} seeds; recall is the mean over attacks, each counted once. "
        f"The threshold comes from benign rows of the validation day at a budget of {BUDGET:.1%}. "
        f"{audit.repeated:.1%} of the test day's attack flows equal a flow of the training days in every feature.",
        f"Best feature by the validation day: {audit.notes['best feature']}.",
    ]
    return "\n\n".join([lines[0], _table(header, rows), lines[1]])


def _attacks(audit: Audit) -> str:
    shown = MODELS[:4]
    rows = [
        [
            attack.variant,
            attack.group,
            _count(attack.flows),
            *(_spread(np.array(attack.recalls[name])) for name in shown),
        ]
        for attack in audit.attacks
    ]
    return _table(["attack (tool)", "in training", "flows", *shown], rows)


def _hours(audit: Audit) -> str:
    rows = [
        [
            each.hour,
            _count(each.benign),
            f"{each.false_alerts:.1f}",
            f"{each.false_alerts / max(1, each.benign):.3%}",
            _count(each.attacks),
            f"{each.true_alerts:.0f}",
        ]
        for each in audit.hours
    ]
    header = ["hour", "benign flows", "false alerts", "of benign", "attack flows", "alerts on attacks"]
    return _table(header, rows)


def _activities(audit: Audit) -> str:
    noisy = [each for each in audit.activities if each.false_alerts >= 0.1]
    rows = [[each.activity, _count(each.flows), f"{each.false_alerts:.1f}"] for each in noisy]
    quiet = sum(each.flows for each in audit.activities) - sum(each.flows for each in noisy)
    rows.append([f"{len(audit.activities) - len(noisy)} others", _count(quiet), "0.0"])
    return _table(["activity", "benign flows", "false alerts"], rows)


def _told(audit: Audit) -> str:
    separating = [each for each in audit.told if each.separates]
    rows = [
        [each.attack, each.feature, f"{each.auc:.3f}", f"{each.recall:.2f}", each.why or "**unexplained**"]
        for each in separating
    ]
    others = [each for each in audit.told if not each.separates]
    best = max((each.recall for each in others), default=0.0)
    lines = [
        "Recall of the best bins of one feature at 0.1 % of the benign flows, fitted and measured on all days at once: "
        f"an upper bound. Of {len({each.attack for each in audit.told})} attacks, {len(others)} have no feature that "
        f"reaches 0.80; the best of theirs reaches {best:.2f}.",
        _table(["attack", "feature", "ROC AUC", "recall", "why"], rows)
        if rows
        else "No attack is told by one feature.",
    ]
    return "\n\n".join(lines)


def _identified(audit: Audit) -> str:
    rows = [[each.what, f"{each.auc:.3f}", f"{each.recall:.3f}"] for each in audit.identified]
    return "Boosted trees on nothing but these, judged on the test day. Chance is 0.500 and 0.001.\n\n" + _table(
        ["identifiers", "ROC AUC", "recall at 0.1 %"], rows
    )


def _ablation(audit: Audit) -> str:
    names = {
        "boosted trees": "all features",
        "without the strongest": "without the five strongest",
        "stack only": "stack only",
    }
    rows = [
        [shown, _spread(audit.recall(model)), _spread(np.array(audit.aucs[model]))] for model, shown in names.items()
    ]
    return (
        f"The strongest, by their share in the trees' scores: {audit.notes['without the strongest']}. "
        "Stack only: initial windows and header sizes, which show whose TCP or tool sent the packets.\n\n"
        + _table(["boosted trees on", "recall, all attacks", "ROC AUC"], rows)
    )


def _spread(values: npt.NDArray[np.float64], digits: int = 2, unit: str = "") -> str:
    if not len(values):
        return "–"
    return f"{values.mean():.{digits}f}{unit} ± {values.std():.{digits}f}"


def _count(number: int) -> str:
    return f"{number:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
