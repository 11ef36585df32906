"""How far flows have moved from those a bundle remembers: the population stability index of each feature and the score.

PSI is the sum over bins of (share now - share then) * ln(share now / share then). Bins are the reference's own, with
one for missing values, one for unknown categories and one at each side for numbers beyond all that training saw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from netwarden.detectors.bundle import DetectorBundle
from netwarden.detectors.reference import BENIGN_LEVELS, LEVELS, SCORE_EDGES
from netwarden.errors import BundleError, InputError
from netwarden.features.preprocessor import UNKNOWN_CODE, FeatureColumn
from netwarden.flows.table import FlowTable

Floats = npt.NDArray[np.float64]
Against = Literal["all", "benign"]

SOME, MUCH = 0.1, 0.25  # the usual reading of PSI (Siddiqi 2006)
SCORE = "(score)"

_COARSE = {len(LEVELS): np.arange(0, 33, 4), len(BENIGN_LEVELS): np.array([0, *range(4, 13), 16])}  # edges of bins
_RARE = 0.01  # categories with a smaller share count as one
_SCORE_GROUPS = 20
_CHANCE = 0.99


@dataclass(frozen=True)
class DriftBin:
    """A range of values, or a category: the share of flows in it then, and now."""

    name: str
    then: float
    now: float


@dataclass(frozen=True)
class Drift:
    """PSI of one feature. `chance`: without any drift, 99 of 100 samples of this size stay below it."""

    name: str
    psi: float
    chance: float
    most: str  # the bin that adds most, with its shares
    bins: tuple[DriftBin, ...] = ()

    @property
    def verdict(self) -> str:
        """What may be said of it; a sample too small to tell says so."""
        if self.psi > max(self.chance, SOME):
            return "drifted" if self.psi >= MUCH else "some drift"
        return "stable" if self.chance < SOME else "too few flows to tell"


def measure_drift(bundle: DetectorBundle, table: FlowTable, against: Against = "all") -> list[Drift]:
    """Drift of every feature and of the score, the worst first.

    Against all rows of training (the default), or the benign ones among them: the fairer yardstick for traffic with
    few attacks. Raises InputError without flows, BundleError where the bundle knows nothing of benign rows.
    """
    bundle.require_fit(table)
    if not len(table):
        raise InputError("there are no flows to measure drift on")
    usual = _usual(bundle, against)
    matrix = bundle.preprocessor.transform(table.arrow)
    scores = bundle.calibration.apply(bundle.detector.score(matrix))
    found = [_compare(name, bins, len(table), usual.rows) for name, bins in _all_bins(bundle, usual, matrix, scores)]
    return sorted(found, key=lambda each: (-each.psi, each.name))


def measure_score_drift(bundle: DetectorBundle, score_counts: npt.NDArray[np.int64], against: Against = "all") -> Drift:
    """Drift of the score alone, of flows counted by SCORE_EDGES bin. Raises as `measure_drift` does."""
    rows = int(score_counts.sum())
    if not rows:
        raise InputError("there are no flows to measure drift on")
    usual = _usual(bundle, against)
    return _compare(SCORE, _of_scores(score_counts, usual.scores), rows, usual.rows)


def describe_drift(found: Sequence[Drift], top: int = 15) -> str:
    """One line per feature for people, the worst first, and what to make of them."""
    lines = [f"{'PSI':>8}  {'by chance':>9}  {'verdict':<21}  feature: what changed most"]
    lines += [
        f"{each.psi:8.3f}  {each.chance:9.3f}  {each.verdict:<21}  {each.name}: {each.most}" for each in found[:top]
    ]
    if len(found) > top:
        lines.append(f"… {len(found) - top} more, each {found[top].psi:.3f} or less")
    moved = sum(each.verdict in ("drifted", "some drift") for each in found)
    return "\n".join(
        [
            *lines,
            f"{moved} of {len(found)} moved (PSI above {SOME} and above chance; {MUCH} and more is much). "
            "Flows of one incident resemble each other, so chance alone can do more than stated.",
        ]
    )


@dataclass(frozen=True)
class _Usual:
    """The part of a reference that flows are compared with; `rows` may be fewer than it rests on, never more."""

    quantiles: Floats
    levels: Floats
    categories: npt.NDArray[np.int64]
    scores: npt.NDArray[np.int64]
    rows: int


def _usual(bundle: DetectorBundle, against: Against) -> _Usual:
    kept = bundle.reference
    if against == "all":
        return _Usual(kept.quantiles, LEVELS, kept.category_counts, kept.score_counts, kept.rows)
    rows = int(kept.benign_score_counts.sum())
    if not rows:
        raise BundleError(
            f"bundle {bundle.bundle_id} is of format {bundle.manifest.format_version}, which remembers nothing of "
            "benign flows; compare with all flows of training, or train again"
        )
    return _Usual(kept.benign_quantiles, BENIGN_LEVELS, kept.benign_category_counts, kept.benign_score_counts, rows)


@dataclass(frozen=True)
class _Bins:
    names: list[str]
    then: Floats  # shares
    now: Floats


def _all_bins(
    bundle: DetectorBundle, usual: _Usual, matrix: npt.NDArray[np.float32], scores: Floats
) -> Iterator[tuple[str, _Bins]]:
    ends = bundle.reference.category_ends
    for at, column in enumerate(bundle.preprocessor.columns):
        missing = float(bundle.reference.missing[at])
        if column.categorical:
            counts = usual.categories[ends[at] - len(column.categories) - 1 : ends[at]]
            yield column.name, _of_categories(matrix[:, at], column, counts, missing)
        else:
            yield column.name, _of_numbers(matrix[:, at], usual.quantiles[at], usual.levels, missing)
    yield SCORE, _of_scores(np.histogram(scores, SCORE_EDGES)[0], usual.scores)


def _of_numbers(values: npt.NDArray[np.float32], quantiles: Floats, levels: Floats, missing: float) -> _Bins:
    present = np.sort(values[~np.isnan(values)]).astype(np.float64)
    gone = 1 - len(present) / len(values)
    if np.isnan(quantiles).all():  # training never had a value
        return _Bins(["any value", "missing"], np.array([0.0, 1.0]), np.array([1 - gone, gone]))
    edges = np.unique(quantiles[_COARSE[len(levels)]])
    rows = max(len(present), 1)
    under = np.searchsorted(present, edges[0], "left") / rows
    reached = np.searchsorted(present, edges, "right") / rows
    # Below the least value training had nothing, and nothing above the largest.
    now = np.diff([0.0, under, *reached, 1.0])
    then = np.diff([0.0, 0.0, *_share_up_to(edges, quantiles, levels, present), 1.0])
    shown = [f"{edge:,.6g}" for edge in edges]
    names = [f"< {shown[0]}", f"= {shown[0]}", *map(" to ".join, itertools.pairwise(shown)), f"> {shown[-1]}"]
    return _Bins([*names, "missing"], np.append(then * (1 - missing), missing), np.append(now * (1 - gone), gone))


def _share_up_to(edges: Floats, quantiles: Floats, levels: Floats, present: Floats) -> Floats:
    """Share of training's values at or below each edge.

    Where many rows have that very value, the levels only say between which two shares it lies; there it is taken to be
    what it is now, so that neither a rare value nor a rounded one looks like drift.
    """
    last = np.searchsorted(quantiles, edges, "right") - 1
    up_to = np.searchsorted(present, edges, "right")
    repeated = (last > np.searchsorted(quantiles, edges, "left")) | (up_to - np.searchsorted(present, edges) > 1)
    low = levels[last]
    high = np.where(repeated, levels[np.minimum(last + 1, len(levels) - 1)], low)
    return np.clip(up_to / max(len(present), 1), low, high)


def _of_categories(
    codes: npt.NDArray[np.float32], column: FeatureColumn, counts: npt.NDArray[np.int64], missing: float
) -> _Bins:
    present = codes[~np.isnan(codes)].astype(np.int64) - UNKNOWN_CODE
    gone = 1 - len(present) / len(codes)
    then = counts / max(int(counts.sum()), 1) * (1 - missing)
    now = np.bincount(present, minlength=len(counts)) / len(codes)
    own = 1 + np.flatnonzero(then[1:] >= _RARE)
    other = np.setdiff1d(np.arange(1, len(counts)), own)
    names = ["unknown", *(column.categories[place - 1] for place in own), "rare ones", "missing"]
    return _Bins(names, *(np.array([s[0], *s[own], s[other].sum(), m]) for s, m in ((then, missing), (now, gone))))


def _of_scores(present: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> _Bins:
    then, now = counts / counts.sum(), present / present.sum()
    middle = np.cumsum(then) - then / 2
    group = np.minimum(middle * _SCORE_GROUPS, _SCORE_GROUPS - 1).astype(np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    tops: Any = SCORE_EDGES[np.append(starts[1:], len(counts))]
    names = [f"{low:.2f} to {high:.2f}" for low, high in zip(SCORE_EDGES[starts], tops, strict=True)]
    return _Bins(names, np.add.reduceat(then, starts), np.add.reduceat(now, starts))


def _compare(name: str, bins: _Bins, rows: int, usual_rows: int) -> Drift:
    from scipy.special import chdtri  # noqa: PLC0415 - serving never needs it

    least = 0.5 / min(rows, usual_rows)  # half a row: a bin that is empty on both sides adds nothing
    then, now = np.maximum(bins.then, least), np.maximum(bins.now, least)
    added = (now - then) * np.log(now / then)
    most = int(np.argmax(added))
    # Without drift, PSI is distributed as chi-squared over the bins, scaled by both samples (Yurdakul & Naranjo 2020).
    freedom = max(int(np.count_nonzero(bins.then > least)) - 1, 1)
    chance = float(chdtri(freedom, 1 - _CHANCE)) * (1 / rows + 1 / usual_rows)
    change = f"{bins.names[most]} was {bins.then[most]:.1%}, is {bins.now[most]:.1%}"
    return Drift(name, float(added.sum()), chance, change, _paired(bins))


def _paired(bins: _Bins) -> tuple[DriftBin, ...]:
    return tuple(DriftBin(name, float(a), float(b)) for name, a, b in zip(bins.names, bins.then, bins.now, strict=True))
