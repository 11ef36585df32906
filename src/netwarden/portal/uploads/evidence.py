"""Reasons of a flow as pages and answers show them."""

from __future__ import annotations

from dataclasses import dataclass

from netwarden.flows.labels import BENIGN
from netwarden.flows.table import FlowTable
from netwarden.portal.reference import EvidenceReasons, FeatureReason
from netwarden.scoring.explain import Evidence, Reason, weigh
from netwarden.scoring.model import Model

_MORE, _LESS = 6, 3  # reasons of a kind that a page shows at once
_IN_SHORT = 3
_LEAST = 0.01  # portion below which a reason is not worth a line


@dataclass(frozen=True)
class EvidenceView:
    """One kind of evidence as a page shows it: the strongest reasons for an attack, and those against."""

    part: str
    speaking_for: tuple[FeatureReason, ...]
    speaking_against: tuple[FeatureReason, ...]
    most: float  # the largest portion, which bars are drawn against


@dataclass(frozen=True)
class FeatureView:
    """A feature with its value, and its portion of each kind of evidence, below 0 where it speaks against an attack."""

    facts: FeatureReason
    portions: tuple[float, ...]


def weighed(model: Model, flow: FlowTable, top: int) -> list[EvidenceReasons]:
    """Each kind of evidence of a flow, with its strongest reasons."""
    meanings = {column.name: column.meaning for column in model.schema.features}
    [evidence] = weigh(model.bundle, flow, top)
    return [_told(each, meanings) for each in evidence]


def _told(evidence: Evidence, meanings: dict[str, str]) -> EvidenceReasons:
    reasons = [_reason(reason, meanings[reason.feature]) for reason in evidence.reasons]
    return EvidenceReasons(part=evidence.part, total=evidence.total, base=evidence.base, reasons=reasons)


def _reason(reason: Reason, meaning: str) -> FeatureReason:
    return FeatureReason(
        feature=reason.feature,
        meaning=meaning,
        value=reason.value,
        unit=reason.unit,
        shown=reason.shown,
        usual=reason.usual,
        share=reason.share,
        portion=reason.portion,
        text=reason.text,
    )


def in_short(evidence: list[EvidenceReasons], verdict: str) -> str:
    """One sentence: the features that decided most, in the evidence that the verdict comes from."""
    wanted = "novelty" if verdict == "novel" else "supervised"
    reasons = next((each for each in evidence if each.part == wanted), evidence[0]).reasons
    flagged = verdict != BENIGN
    telling = [r for r in reasons if r.portion >= _LEAST and (r.share > 0 if flagged else r.share < 0)][:_IN_SHORT]
    said = " and ".join(filter(None, [", ".join(map(_named, telling[:-1])), *map(_named, telling[-1:])]))
    if flagged:
        return f"Flagged mostly because {said}." if said else "Flagged by many features together, none of them alone."
    return f"Not flagged, mostly because {said}." if said else "Not flagged: too little speaks for an attack."


def _named(reason: FeatureReason) -> str:
    return f"{reason.feature} is {reason.shown}"


def view_of(evidence: EvidenceReasons, verdict: str = "known_attack") -> EvidenceView:
    """What a page shows at once: more of what speaks for an attack, or of what speaks against one of a benign flow."""
    most_for, most_against = (_LESS, _MORE) if verdict == BENIGN else (_MORE, _LESS)
    worth = [reason for reason in evidence.reasons if reason.portion >= _LEAST]
    speaking_for = tuple(reason for reason in worth if reason.share > 0)[:most_for]
    speaking_against = tuple(reason for reason in worth if reason.share < 0)[:most_against]
    return EvidenceView(evidence.part, speaking_for, speaking_against, max((each.portion for each in worth), default=1))


def by_feature(evidence: list[EvidenceReasons], names: tuple[str, ...]) -> list[FeatureView]:
    """Each feature in the bundle's order."""
    found = [{reason.feature: reason for reason in each.reasons} for each in evidence]
    return [FeatureView(found[0][name], tuple(_signed(reasons[name]) for reasons in found)) for name in names]


def _signed(reason: FeatureReason) -> float:
    return -reason.portion if reason.share < 0 else reason.portion
