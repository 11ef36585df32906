"""The registry as text, for people: bundles with their figures, and who changed what, when and why."""

from __future__ import annotations

from netwarden.sources.store import BundleEntry, Registry

# Validation figures that tell bundles apart, as evaluation names them.
_FIGURES = {"f1": "F1", "recall": "recall", "false_positive_rate": "FPR", "roc_auc": "ROC AUC"}


def describe_bundles(registry: Registry, schema_id: str = "") -> str:
    """A line per bundle, newest first; the champion of each schema is marked."""
    entries = registry.entries(schema_id or None)
    if not entries:
        whose = f" of schema {schema_id}" if schema_id else ""
        return f"no bundle{whose} is registered yet; `python main.py` trains one, `netwarden restore` brings one back"
    champions = {
        found.bundle_id for name in {entry.schema_id for entry in entries} if (found := registry.champion(name))
    }
    header = ("", "bundle", "schema", "registered (UTC)", *_FIGURES.values())
    return _aligned([header, *(_bundle_row(entry, entry.bundle_id in champions) for entry in entries)])


def describe_history(registry: Registry, schema_id: str = "") -> str:
    """A line per change, newest first: when, what, which bundle, who and why."""
    events = registry.history(schema_id or None)
    rows = [
        (f"{event.at:%Y-%m-%d %H:%M}", event.action, event.bundle_id, event.schema_id, event.who, event.why)
        for event in events
    ]
    return _aligned([("when (UTC)", "change", "bundle", "schema", "who", "why"), *rows])


def _bundle_row(entry: BundleEntry, leads: bool) -> tuple[str, ...]:
    figures = (entry.validation.get(name) for name in _FIGURES)
    return (
        "champion" if leads else "challenger",
        entry.bundle_id,
        entry.schema_id,
        f"{entry.registered_at:%Y-%m-%d %H:%M}",
        *("–" if value is None else f"{value:.4f}" for value in figures),
    )


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
