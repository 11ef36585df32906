"""The model card of a bundle, made from the bundle itself: what it is for, made of what, how good, and its limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netwarden.detectors.bundle import BundleManifest
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FlowSchema
from netwarden.portal.models.facts import FIGURES, ModelSummary, family_recall

_FEW_ROWS = 1000  # benign rows below which a false positive rate is hardly known


@dataclass(frozen=True)
class FeatureLine:
    """A feature the bundle reads, with its meaning where the schema is here."""

    name: str
    type: str
    unit: str
    meaning: str


def feature_lines(manifest: BundleManifest, schema: FlowSchema | None) -> list[FeatureLine]:
    """Features in the order in which the detector reads them."""
    meanings = {column.name: column.meaning for column in schema.features} if schema else {}
    return [FeatureLine(fact.name, fact.type, fact.unit, meanings.get(fact.name, "")) for fact in manifest.features]


def limits(manifest: BundleManifest, summary: ModelSummary) -> list[str]:
    """What a reader must know before trusting the figures, as sentences."""
    return [*_threshold_limits(manifest), *_figure_limits(manifest, summary), *_input_limits(manifest)]


def card_markdown(manifest: BundleManifest, summary: ModelSummary, schema: FlowSchema | None) -> str:
    """The card as Markdown."""
    title = schema.title if schema and schema.title else manifest.schema_id
    parts = [
        f"# Model card: {manifest.kind} {summary.bundle_id}",
        f"Detects attacks among network flows of schema `{manifest.schema_id}` ({title}). Role: {summary.role}.",
        _section("Purpose", [_purpose(manifest)]),
        _section("Data", _table(("fact", "value"), data_facts(manifest))),
        _section("Threshold", _threshold(manifest)),
        _section("Figures", list(_figures(summary))),
        _section("Limits", [f"- {limit}" for limit in limits(manifest, summary)]),
        _section(f"Features ({len(manifest.features)})", _features(manifest, schema)),
        _section("Lineage", _table(("fact", "value"), lineage_facts(manifest, summary))),
    ]
    return "\n\n".join(parts) + "\n"


def data_facts(manifest: BundleManifest) -> list[tuple[str, str]]:
    """Of which rows it was made."""
    training = manifest.training
    meter = f"mode {manifest.meter_mode}, version {manifest.meter_version or 'unknown'}" if manifest.meter_mode else ""
    facts = [
        ("Dataset", training.dataset or "unnamed"),
        *((f"Rows to {_PURPOSES.get(purpose, purpose)}", f"{rows:,}") for purpose, rows in training.rows.items()),
        ("Families", ", ".join(name for name in manifest.families if name != BENIGN) or "not told apart"),
        ("Flow meter", meter or "none of ours"),
        ("Seed", str(training.seed)),
    ]
    return facts


def lineage_facts(manifest: BundleManifest, summary: ModelSummary) -> list[tuple[str, str]]:
    """From which code, data and bundle it comes."""
    training = manifest.training
    facts = [
        ("Bundle", f"{summary.bundle_id}, format {manifest.format_version}"),
        ("Registered", f"{summary.registered_at:%Y-%m-%d %H:%M} UTC"),
        ("Derived from", f"{manifest.derived_from}: {manifest.change}" if manifest.derived_from else ""),
        ("Commit", training.git_commit),
        ("Data hash", training.data_hash),
        ("Schema hash", manifest.schema_hash),
        ("MLflow run", summary.run),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())),
    ]
    return [(name, value) for name, value in facts if value]


_PURPOSES = {
    "fit": "fit",
    "calibration": "calibrate scores",
    "threshold": "set the threshold",
    "validation": "compare bundles",
    "test": "test",
}


def _purpose(manifest: BundleManifest) -> str:
    return (
        f"Scores flows of `{manifest.schema_id}` in [0, 1]; those of {manifest.threshold.value:.6g} and above "
        "alert, as a known attack of a family or as novel. Meant to raise alerts that a person judges, not to block "
        "traffic unseen."
    )


def _threshold_limits(manifest: BundleManifest) -> Iterator[str]:
    threshold = manifest.threshold
    low, high = threshold.interval
    yield (
        f"The false positive rate was {threshold.realised:.3%} of {threshold.rows:,} benign rows set aside; the true "
        f"one lies between {low:.3%} and {high:.3%} with 95 % confidence, for traffic like theirs."
    )
    if threshold.rows < _FEW_ROWS:
        yield f"Only {threshold.rows:,} benign rows chose the threshold: nothing is known of smaller budgets."
    yield "On another network the rate will differ; `netwarden calibrate` fits the threshold to flows of one's own."


def _figure_limits(manifest: BundleManifest, summary: ModelSummary) -> Iterator[str]:
    if summary.at_another_threshold:
        yield (
            f"It is bundle {manifest.derived_from} with another threshold. Recall and false positive rate, where they "
            "stand among validation rows, are those of its own budget; other figures at the old threshold are left out."
        )
    elif manifest.derived_from:
        yield f"Its figures of validation rows are those of bundle {manifest.derived_from}, from which it derives."
    if not any(name.startswith("test.") for name in summary.figures):
        yield "No test rows have judged this bundle: figures of validation rows are of the same days as training."
    for part in ("test", "validation"):
        weak = [
            f"{family} ({recall:.0%})"
            for family, recall in family_recall(summary.figures, part).items()
            if recall < 0.5
        ]
        if weak:
            yield f"It misses more than half of these families among {part} rows: {', '.join(weak)}."
    unseen = summary.figures.get("test.recall_unseen_attacks")
    if unseen is not None:
        yield f"Of attacks that training never saw it found {unseen:.1%} among test rows."


def _input_limits(manifest: BundleManifest) -> Iterator[str]:
    if not manifest.families:
        yield "It names no families: every alert is novel."
    if manifest.meter_mode:
        yield f"It refuses flows metered otherwise than in mode {manifest.meter_mode}."
    yield "It sees flows, not contents: what looks like ordinary traffic in every feature below is not found."


def _threshold(manifest: BundleManifest) -> list[str]:
    threshold = manifest.threshold
    rows = [
        (
            f"{row.budget:.4%}" + (" (in force)" if row.threshold == threshold.value else ""),
            f"{row.threshold:.6f}",
            f"{row.realised:.4%}",
            "not known" if row.recall is None else f"{row.recall:.2%}",
        )
        for row in threshold.table
    ]
    return _table(("budget", "threshold", "false positive rate", "recall of validation rows"), rows)


def _figures(summary: ModelSummary) -> Iterator[str]:
    for part in dict.fromkeys(name.partition(".")[0] for name in summary.figures):
        named = [(title, summary.figures.get(f"{part}.{name}")) for name, title in FIGURES.items()]
        families = [(f"Recall of {name}", value) for name, value in family_recall(summary.figures, part).items()]
        yield from _table(
            (f"{part} rows", "value"),
            [(title, f"{value:.4f}") for title, value in named + families if value is not None],
        )
        yield ""
    if not summary.figures:
        yield "None are recorded."


def _features(manifest: BundleManifest, schema: FlowSchema | None) -> list[str]:
    lines = feature_lines(manifest, schema)
    return _table(("feature", "type", "unit", "meaning"), [(f"`{f.name}`", f.type, f.unit, f.meaning) for f in lines])


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"## {title}", "", *lines]).rstrip()


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    lines = [header, tuple("---" for _ in header), *cells]
    return [f"| {' | '.join(line)} |" for line in lines]
