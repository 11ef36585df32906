"""Another false-positive budget for a registered bundle, without training: a new bundle with another threshold.

Not a setting beside the bundle: each alert names its bundle, and the bundle alone says when it alerts.
"""

from __future__ import annotations

from netwarden.detectors.threshold import Threshold
from netwarden.scoring.derived import register_derived
from netwarden.scoring.model import CHAMPION, load
from netwarden.settings import Settings
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
    return register_derived(settings, origin, change, who, threshold=threshold)
