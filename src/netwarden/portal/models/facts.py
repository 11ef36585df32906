"""What models pages and their API say of registered bundles: role, figures, budgets and history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from netwarden.detectors.bundle import BundleManifest, read_manifest
from netwarden.errors import BundleError, NotFoundError, SchemaError
from netwarden.flows.schema import FlowSchema, load_schema
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry, RegistryEvent

Role = Literal["champion", "challenger"]
COMPARED = 4  # bundles side by side
FLOWS_PER_DAY = 1_000_000.0  # benign ones, where nobody says otherwise
# Figures of one set of rows, in reading order; the rest of what evaluation measures stands in the API.
FIGURES = {
    "f1": "F1",
    "recall": "Recall",
    "precision": "Precision",
    "false_positive_rate": "False positive rate",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "accuracy": "Accuracy",
    "family_macro_f1": "Macro F1 of families",
    "recall_unseen_attacks": "Recall of attacks not in training",
}
_FAMILY = "family_recall."
_ANY_THRESHOLD = ("validation.roc_auc", "validation.pr_auc")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelSummary(_Answer):
    """A registered bundle."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "bundle_id": "65ed956f64122dc2",
                "schema_id": "netwarden_flow",
                "role": "champion",
                "registered_at": "2026-11-21T10:15:00Z",
                "here": True,
                "kind": "hybrid",
                "dataset": "lab",
                "seed": 7,
                "threshold": 0.018,
                "budget": 0.001,
                "derived_from": "",
                "change": "",
                "figures": {"validation.recall": 0.97, "test.recall": 0.91},
                "at_another_threshold": {},
                "run": "",
            }
        }
    )
    bundle_id: str
    schema_id: str
    role: Role
    registered_at: datetime
    here: bool = Field(
        description="Its files lie here; else `netwarden restore` brings them back, and the rest is empty"
    )
    kind: str = ""
    dataset: str = ""
    seed: int | None = Field(None, description="Of resampling and of the detector")
    threshold: float | None = None
    budget: float | None = Field(None, description="Share of benign flows that may alert")
    derived_from: str = Field("", description="Bundle that this one changes without training")
    change: str = Field("", description="What was changed in it")
    figures: dict[str, float] = Field(
        description="`validation.recall`, `test.family_recall.dos`, …; after the threshold was moved, recall and "
        "false positive rate are those of the budget in force"
    )
    at_another_threshold: dict[str, float] = Field(
        {}, description="Figures of the bundle that this one derives from, which a moved threshold has changed since"
    )
    run: str = Field("", description="Of MLflow")


class Budget(_Answer):
    """What one false-positive budget of a bundle buys."""

    budget: float
    threshold: float
    realised: float = Field(description="Share of the benign rows set aside that alerted")
    interval: tuple[float, float] = Field(description="Where the true share lies, with 95 % confidence")
    alerts_per_day: float = Field(description="False alerts at the traffic asked for")
    alerts_per_day_interval: tuple[float, float]
    recall: float | None = Field(description="Of validation rows; null: this bundle does not know")
    in_force: bool


class BudgetTable(_Answer):
    """What each budget of a bundle buys."""

    bundle_id: str
    rows: int = Field(description="Benign rows set aside that it was measured on")
    flows_per_day: float
    budgets: list[Budget]


class Change(_Answer):
    """One line of the registry's history."""

    at: datetime
    action: str
    schema_id: str
    bundle_id: str
    previous: str | None = Field(description="Champion before")
    who: str
    why: str


class Figure(_Answer):
    """One figure of several bundles."""

    part: str = Field(description="Which rows: validation, test, or a subset of the test rows")
    name: str
    title: str
    values: list[float | None] = Field(description="In the order of the bundles; null: not measured")


class Comparison(_Answer):
    """Bundles side by side."""

    bundles: list[ModelSummary]
    figures: list[Figure]


@dataclass(frozen=True)
class RegistryView:
    """The registry at one moment: bundles newest first, and champions by schema."""

    entries: tuple[BundleEntry, ...]
    champions: Mapping[str, str]
    events: tuple[RegistryEvent, ...]

    def role(self, entry: BundleEntry) -> Role:
        return "champion" if self.champions.get(entry.schema_id) == entry.bundle_id else "challenger"

    def before(self, schema_id: str) -> BundleEntry | None:
        """The champion before the present one, which a rollback puts in charge again; None: there was none."""
        reign: list[str] = []
        for event in (event for event in reversed(self.events) if event.schema_id == schema_id):
            if event.action == "promote":
                reign.append(event.bundle_id)
            elif event.action == "rollback":
                reign.pop()
        return next((entry for entry in self.entries if entry.bundle_id in reign[-2:-1]), None)


def registry_view(settings: Settings) -> RegistryView:
    """All that the registry says, read once."""
    with closing(open_registry(settings)) as registry:
        entries = tuple(registry.entries())
        found = {name: registry.champion(name) for name in sorted({entry.schema_id for entry in entries})}
        events = tuple(registry.history())
    return RegistryView(entries, {name: entry.bundle_id for name, entry in found.items() if entry}, events)


def registered(view: RegistryView, bundle_id: str) -> BundleEntry:
    """The bundle of an id, or of a unique start of one. Raises NotFoundError."""
    found = [entry for entry in view.entries if entry.bundle_id.startswith(bundle_id)]
    if len(found) != 1:
        raise NotFoundError(f"no bundle {bundle_id!r} is registered; /models lists the {len(view.entries)} there are")
    return found[0]


def stated_manifest(settings: Settings, entry: BundleEntry) -> BundleManifest | None:
    """What the bundle says of itself; None where its files are not here. Raises BundleError where they are damaged."""
    folder = settings.bundles_dir / entry.location
    return read_manifest(folder)[0] if folder.exists() else None


def manifest_of(settings: Settings, entry: BundleEntry) -> BundleManifest | None:
    """What the bundle says of itself; None where its files are not here or cannot be read."""
    try:
        manifest, bundle_id = read_manifest(settings.bundles_dir / entry.location)
    except BundleError:
        return None
    return manifest if bundle_id == entry.bundle_id else None


def summary_of(settings: Settings, view: RegistryView, entry: BundleEntry) -> ModelSummary:
    """A registered bundle in short."""
    facts = ModelSummary(
        bundle_id=entry.bundle_id,
        schema_id=entry.schema_id,
        role=view.role(entry),
        registered_at=entry.registered_at,
        here=False,
        figures=figures_of(entry),
        run=entry.run_id,
    )
    manifest = manifest_of(settings, entry)
    if manifest is None:
        return facts
    return facts.model_copy(
        update={
            "here": True,
            "kind": manifest.kind,
            "dataset": manifest.training.dataset,
            "seed": manifest.training.seed,
            "threshold": manifest.threshold.value,
            "budget": manifest.threshold.budget,
            "derived_from": manifest.derived_from,
            "change": manifest.change,
            **_own_figures(settings, view, facts.figures, manifest),
        }
    )


def _own_figures(
    settings: Settings, view: RegistryView, figures: dict[str, float], manifest: BundleManifest
) -> dict[str, dict[str, float]]:
    """Figures at the bundle's own threshold, and those of validation rows that were measured at another one."""
    if _measured_at(settings, view, manifest) == manifest.threshold.value:
        return {}
    elsewhere = {
        name: value for name, value in figures.items() if name.startswith("validation.") and name not in _ANY_THRESHOLD
    }
    own = {name: value for name, value in figures.items() if name not in elsewhere}
    row = next((row for row in manifest.threshold.table if row.threshold == manifest.threshold.value), None)
    if row is not None:
        own["validation.false_positive_rate"] = row.realised
        own |= {"validation.recall": row.recall} if row.recall is not None else {}
    return {"figures": own, "at_another_threshold": elsewhere}


def _measured_at(settings: Settings, view: RegistryView, manifest: BundleManifest) -> float | None:
    """Threshold of the trained bundle that this one comes from, which its figures were measured at; None: not known."""
    entries = {entry.bundle_id: entry for entry in view.entries}
    while manifest.derived_from:
        entry = entries.get(manifest.derived_from)
        origin = manifest_of(settings, entry) if entry else None
        if origin is None:
            return None
        manifest = origin
    return manifest.threshold.value


def figures_of(entry: BundleEntry) -> dict[str, float]:
    """Figures of validation rows, and those of test rows that the registry keeps."""
    return {f"validation.{name}": value for name, value in entry.validation.items()} | entry.metrics


def budget_table(manifest: BundleManifest, bundle_id: str, flows_per_day: float) -> BudgetTable:
    """What each budget costs at a traffic, smallest first."""
    in_force = manifest.threshold
    budgets = [
        Budget(
            budget=row.budget,
            threshold=row.threshold,
            realised=row.realised,
            interval=row.interval,
            alerts_per_day=row.realised * flows_per_day,
            alerts_per_day_interval=(row.interval[0] * flows_per_day, row.interval[1] * flows_per_day),
            recall=row.recall,
            in_force=row.threshold == in_force.value,
        )
        for row in in_force.table
    ]
    return BudgetTable(bundle_id=bundle_id, rows=in_force.rows, flows_per_day=flows_per_day, budgets=budgets)


def compare(bundles: list[ModelSummary]) -> Comparison:
    """The figures that any of these bundles has, part by part, families last."""
    names = list(dict.fromkeys(name for bundle in bundles for name in bundle.figures))
    parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
    figures = [
        Figure(part=part, name=name, title=title, values=[bundle.figures.get(f"{part}.{name}") for bundle in bundles])
        for part in parts
        for name, title in _titles(names, part).items()
    ]
    return Comparison(
        bundles=bundles, figures=[figure for figure in figures if any(v is not None for v in figure.values)]
    )


def family_recall(figures: Mapping[str, float], part: str) -> dict[str, float]:
    """Recall of each family among the rows of a part, the best first."""
    start = f"{part}.{_FAMILY}"
    found = {name.removeprefix(start): value for name, value in figures.items() if name.startswith(start)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def changes_of(events: Iterable[RegistryEvent]) -> list[Change]:
    """Lines of the history."""
    return [Change(**vars(event)) for event in events]


def schema_of(settings: Settings, schema_id: str) -> FlowSchema | None:
    """The workspace's schema, None where it has none of that name."""
    try:
        return load_schema(schema_id, settings.schema_dir)
    except SchemaError:
        return None


def _titles(names: list[str], part: str) -> dict[str, str]:
    start = f"{part}.{_FAMILY}"
    families = sorted(name.removeprefix(start) for name in names if name.startswith(start))
    return FIGURES | {f"{_FAMILY}{family}": f"Recall of {family}" for family in families}
