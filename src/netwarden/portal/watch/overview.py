"""The overview: at a glance and from across the room, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from netwarden.flows.labels import Family, load_families
from netwarden.portal.charts import Column, time_chart
from netwarden.portal.reference import faults
from netwarden.portal.watch.overview_facts import DAY, WEEK, Overview, overview

router = APIRouter()
Hours = Annotated[Literal["24", "168"], Query(description="How far back alerts are told")]


@router.get("/overview", include_in_schema=False)
def overview_page(request: Request, hours: Hours = "24") -> Response:
    """Everything at a glance."""
    now = overview(request, int(hours))
    families = load_families(request.app.state.settings.schema_dir / "families.yaml").families
    response: Response = request.app.state.pages.render(
        request,
        "overview.html",
        now=now,
        chart=time_chart(now.timeline),
        titles={name: family.title for name, family in families.items()},
        worst=max((each for each in now.detectors if each.drift), key=lambda each: each.drift_psi or 0, default=None),
        alerts_of=_alerts_of,
        main_families={each.name: _title(families, each.family) for each in now.sources if each.family},
        sources=[(each.name, each.count) for each in now.sources],
        targets=[(each.name, each.count) for each in now.targets],
        spans={DAY: "24 hours", WEEK: "7 days"},
    )
    return response


@router.get("/api/v1/overview", tags=["operate"], summary="Everything at a glance", responses=faults(422))
def overview_now(request: Request, hours: Hours = "24") -> Overview:
    """What is watched, what alerts, what is in charge, and whether all is well."""
    return overview(request, int(hours))


def _title(families: Mapping[str, Family], name: str) -> str:
    return families[name].title if name in families else name


def _alerts_of(column: Column) -> str:
    """Where the alerts of a column are listed."""
    return "/alerts?" + urlencode({"from": column.start.isoformat(), "to": column.end.isoformat()})
