"""Why a flow of a scored file was flagged: a page, and the same for programs; worked out when somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from netwarden.portal.demo import truth_of
from netwarden.portal.reference import EvidenceReasons, FeatureReason, Why, faults
from netwarden.portal.uploads import UploadedAlert, find_upload
from netwarden.scoring.explain import Evidence, Reason, weigh
from netwarden.scoring.model import Model

router = APIRouter()
_FOR, _AGAINST = 6, 3  # reasons of a kind that a page shows at once
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


@router.get("/uploads/{upload_id}/rows/{row}", include_in_schema=False)
def why_page(request: Request, upload_id: str, row: int) -> Response:
    """Why a row was flagged."""
    upload = find_upload(request.app.state.settings, upload_id)
    alert, model = upload.alert(row), request.app.state.champions.model(upload.summary.bundle_id)
    evidence = _weighed(model, alert, len(model.bundle.preprocessor.names))
    truth = truth_of(upload)
    response: Response = request.app.state.pages.render(
        request,
        "why.html",
        summary=upload.summary,
        alert=alert,
        evidence=[_view(each) for each in evidence],
        features=_by_feature(evidence, model.bundle.preprocessor.names),
        truth=truth.labels[row] if truth else None,
    )
    return response


@router.get(
    "/api/v1/uploads/{upload_id}/rows/{row}/why",
    tags=["detect"],
    summary="Why a flow of a file was flagged",
    responses=faults(404, 503),
)
def why(
    request: Request,
    upload_id: str,
    row: int,
    top: Annotated[int, Query(ge=1, le=1000, description="Features to name of each kind of evidence")] = 5,
) -> Why:
    """Each kind of evidence with the features that moved it most, by the bundle that scored the file."""
    upload = find_upload(request.app.state.settings, upload_id)
    alert, model = upload.alert(row), request.app.state.champions.model(upload.summary.bundle_id)
    said = {name: alert.said[name] for name in ("row", "score", "verdict", "family")}
    return Why(
        upload_id=upload.summary.id,
        bundle_id=upload.summary.bundle_id,
        threshold=upload.summary.threshold,
        evidence=_weighed(model, alert, top),
        **said,
    )


def _weighed(model: Model, alert: UploadedAlert, top: int) -> list[EvidenceReasons]:
    meanings = {column.name: column.meaning for column in model.schema.features}
    [evidence] = weigh(model.bundle, alert.flow, top)
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


def _view(evidence: EvidenceReasons) -> EvidenceView:
    worth = [reason for reason in evidence.reasons if reason.portion >= _LEAST]
    speaking_for = tuple(reason for reason in worth if reason.share > 0)[:_FOR]
    speaking_against = tuple(reason for reason in worth if reason.share < 0)[:_AGAINST]
    return EvidenceView(evidence.part, speaking_for, speaking_against, max((each.portion for each in worth), default=1))


def _by_feature(evidence: list[EvidenceReasons], names: tuple[str, ...]) -> list[FeatureView]:
    """Each feature in the bundle's order."""
    found = [{reason.feature: reason for reason in each.reasons} for each in evidence]
    return [FeatureView(found[0][name], tuple(_signed(reasons[name]) for reasons in found)) for name in names]


def _signed(reason: FeatureReason) -> float:
    return -reason.portion if reason.share < 0 else reason.portion
