"""Drift: how far flows have moved from those of training, as a page and as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from netwarden.evaluation.drift import Against
from netwarden.portal.charts import PairChart, pair_chart
from netwarden.portal.reference import faults
from netwarden.portal.uploads.uploads import recent_uploads
from netwarden.portal.watch.drift_facts import STREAM, DriftReport, DriftReports, FeatureDrift

router = APIRouter()
_DRAWN = 12  # features whose distributions are drawn without asking
Source = Annotated[str, Query(pattern=r"^[\w-]{1,100}$", description="`stream`, or the id of an upload")]
Schema = Annotated[str, Query(max_length=100, description="Of the stream's flows; empty: that of the latest")]
Yardstick = Annotated[Against, Query(description="All flows of training, or the benign ones among them")]


@router.get("/drift", include_in_schema=False)
def drift_page(
    request: Request,
    source: Source = STREAM,
    schema: Schema = "",
    against: Yardstick = "benign",
    feature: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """What has moved, and how."""
    report = _reports(request).of(source, schema, against)
    drawn = [*report.features[:_DRAWN], *(each for each in report.features[_DRAWN:] if each.name == feature)]
    response: Response = request.app.state.pages.render(
        request,
        "drift.html",
        report=report,
        drawn=[(each, _chart(each)) for each in drawn],
        score=_chart(report.score) if report.score else None,
        uploads=recent_uploads(request.app.state.settings, 20),
        chosen=feature,
    )
    return response


@router.get("/api/v1/drift", tags=["operate"], summary="How far flows have moved", responses=faults(404, 422))
def drift_now(
    request: Request, source: Source = STREAM, schema: Schema = "", against: Yardstick = "benign"
) -> DriftReport:
    """Drift of every feature, of the score and of the share that alerts, against what the bundle was trained on.

    It is measured beside the request: where `state` says `measuring`, ask again in a second.
    """
    return _reports(request).of(source, schema, against)


def _chart(feature: FeatureDrift) -> PairChart:
    return pair_chart([(each.name, each.then, each.now) for each in feature.bins])


def _reports(request: Request) -> DriftReports:
    reports: DriftReports = request.app.state.drift
    return reports
