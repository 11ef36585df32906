"""Another false-positive budget for a registered bundle, without training: a new bundle with another threshold.

Not a setting beside the bundle: each alert names its bundle, and the bundle alone says when it alerts.
"""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from netwarden.detectors.bundle import DetectorBundle, derive_bundle, load_bundle
from netwarden.detectors.threshold import Threshold
from netwarden.scoring.model import CHAMPION, load
from netwarden.settings import Settings
from netwarden.sources.connect import open_backup, open_registry
from netwarden.sources.store import BundleEntry


def budget_table(settings: Settings, bundle: str = CHAMPION, flows_per_day: float = 1_000_000) -> str:
    """What each budget of a bundle costs, for people: the threshold, what it did, and alerts a day."""
    made = load(bundle, settings).bundle
    return f"bundle {made.bundle_id}\n{describe_budgets(made.manifest.threshold, flows_per_day)}"


def describe_budgets(threshold: Threshold, flows_per_day: float) -> str:
    """One line per budget; the one in force is marked."""
    lines = [f"{'budget':>9}  {'threshold':>9}  {'realised':>9}  {'95 % interval':>19}  false alerts a day"]
    for row in threshold.table:
        low, high = row.interval
        mark = "  <- in force" if row.threshold == threshold.value else ""
        lines.append(
            f"{row.budget:9.4%}  {row.threshold:9.6f}  {row.realised:9.4%}  {low:8.4%} – {high:8.4%}  "
            f"{row.realised * flows_per_day:,.0f}{mark}"
        )
    return "\n".join(
        [*lines, f"On {threshold.rows:,} benign flows set aside; {flows_per_day:,.0f} benign flows a day."]
    )


def set_budget(settings: Settings, budget: float, who: str, bundle: str = CHAMPION) -> BundleEntry:
    """Entry of the bundle with that budget, registered; it takes the place of the champion if the given one was that.

    Raises ConfigError for a budget that the bundle's held-out flows cannot tell.
    """
    origin = load(bundle, settings).bundle
    threshold = origin.manifest.threshold.moved(budget)
    change = f"threshold moved from a budget of {origin.manifest.threshold.budget:.4%} to {budget:.4%}"
    derived = _kept(settings, origin, change, threshold)
    open_backup(settings).put_folder(f"bundles/{derived.bundle_id}", derived.folder)
    with closing(open_registry(settings)) as registry:
        known = registry.entry(origin.bundle_id)
        champion = registry.champion(origin.schema_id)
        # Figures of the origin: they say how good the detector is, and the next challenger is compared with them.
        now = datetime.now(UTC)
        entry = replace(known, bundle_id=derived.bundle_id, location=derived.bundle_id, registered_at=now, metrics={})
        registry.register(entry, who=who, why=f"{change}, from {origin.bundle_id}")
        if champion and champion.bundle_id == origin.bundle_id:
            return registry.promote(derived.bundle_id, who=who, why=change)
        return registry.entry(derived.bundle_id)


def _kept(settings: Settings, origin: DetectorBundle, change: str, threshold: Threshold) -> DetectorBundle:
    """The derived bundle in the folder of bundles, under its id; it appears there whole or not at all."""
    settings.bundles_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=settings.bundles_dir) as draft:
        derived = derive_bundle(Path(draft) / "bundle", origin, change, threshold=threshold)
        target = settings.bundles_dir / derived.bundle_id
        with suppress(OSError):  # it may be there from an earlier time; what stands there is verified below
            derived.folder.rename(target)
    return load_bundle(target)
