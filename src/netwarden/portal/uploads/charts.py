"""Summary charts of a scored file, and the bundles that may score it again."""

from __future__ import annotations

from dataclasses import dataclass

from netwarden.flows.alert import VERDICTS
from netwarden.portal.models.facts import RegistryView
from netwarden.portal.uploads.uploads import SCORE_BINS, UploadSummary
from netwarden.sources.store import BundleEntry


@dataclass(frozen=True)
class Part:
    """One verdict's part of a bar, in percent of the highest."""

    verdict: str
    rows: int
    y: float
    height: float


@dataclass(frozen=True)
class ScoreBar:
    """Rows whose scores lie between two twentieths."""

    low: float
    high: float
    rows: int
    parts: tuple[Part, ...]


def score_bars(summary: UploadSummary) -> list[ScoreBar]:
    """How many rows got which score; heights go by the square root, or a few alerts among a million could not be seen.

    Empty for a file that was scored before this was counted.
    """
    if not summary.scores:
        return []
    totals = [sum(summary.scores[verdict][at] for verdict in VERDICTS) for at in range(SCORE_BINS)]
    top = max(totals) ** 0.5 or 1
    return [
        ScoreBar(at / SCORE_BINS, (at + 1) / SCORE_BINS, total, _parts(summary, at, total, 100 * total**0.5 / top))
        for at, total in enumerate(totals)
    ]


def others_of(view: RegistryView, summary: UploadSummary) -> list[BundleEntry]:
    """Bundles of the file's schema but the one that scored it, the champion first."""
    found = [entry for entry in view.entries if entry.schema_id == summary.schema_id]
    others = [entry for entry in found if entry.bundle_id != summary.bundle_id]
    return sorted(others, key=lambda entry: view.role(entry) != "champion")


def _parts(summary: UploadSummary, at: int, total: int, height: float) -> tuple[Part, ...]:
    parts, y = [], 100.0
    for verdict in VERDICTS:
        if rows := summary.scores[verdict][at]:
            share = height * rows / total
            y -= share
            parts.append(Part(verdict, rows, round(y, 2), round(share, 2)))
    return tuple(parts)
