"""The live page: what is scored as it is scored, as a page, as JSON and as server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from netwarden.flows.labels import load_families
from netwarden.portal.reference import body, faults
from netwarden.portal.rendering import problem
from netwarden.portal.uploads.truth import matrix
from netwarden.portal.watch.live_facts import Live, LiveQuery, live
from netwarden.portal.watch.scored_flows import ScoredFlows
from netwarden.portal.watch.stream_truth import StreamTruths, stream_truths

router = APIRouter()
_TICK_S = 1.0
_ROWS_OF_A_TICK = 40
_SLOW_S = 15.0  # a browser that takes longer for one event is let go; it comes back by itself
_MOST_FOLLOWERS = 64
Asked = Annotated[LiveQuery, Query()]


@router.get("/live", include_in_schema=False)
def live_page(request: Request, asked: Asked) -> Response:
    """What is scored now."""
    settings = request.app.state.settings
    families = load_families(settings.schema_dir / "families.yaml").families
    lately = _scored(request).lately()
    truths = stream_truths(lately.tallies, settings)
    response: Response = request.app.state.pages.render(
        request,
        "live.html",
        asked=asked,
        now=live(lately, asked),
        truths=[(told, matrix(told.truth)) for told in truths],
        titles={name: family.title for name, family in families.items()},
        query=request.url.query,
    )
    return response


@router.get("/api/v1/live", tags=["alerts"], summary="What is scored now", responses=faults(422))
def live_now(
    request: Request,
    asked: Asked,
    after: Annotated[int, Query(ge=0, description="Only flows with larger numbers: `cursor` of the answer before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Live:
    """Rates, delays, sensors and the latest flows that meet the filter."""
    return live(_scored(request).lately(), asked, after, limit)


@router.get("/api/v1/live/truth", tags=["alerts"], summary="What the detector makes of a replay")
def live_truth(request: Request) -> StreamTruths:
    """Where labels come with streamed flows, as in a replay: confusion and recall of each attack, since it began."""
    truths = stream_truths(_scored(request).lately().tallies, request.app.state.settings)
    return StreamTruths(truths=truths)


@router.get(
    "/api/v1/live/events",
    tags=["alerts"],
    summary="What is scored, as it is scored",
    response_class=Response,
    responses={
        200: body(
            "text/event-stream", "Every second, with the flows since the one before", 'data: {"flows_per_s": 412.3}\n\n'
        ),
        **faults(422, 503),
    },
)
def live_events(request: Request, asked: Asked, after: Annotated[int, Query(ge=0)] = 0) -> Response:
    """Every second what `/api/v1/live` says, with at most 40 new flows; whoever reads slowly gets fewer events."""
    scored = _scored(request)
    if scored.followers >= _MOST_FOLLOWERS:
        return problem(
            request, 503, f"{_MOST_FOLLOWERS} follow already; close some windows, or ask /api/v1/live now and then"
        )
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_events(scored, asked, after), headers=headers, media_type="text/event-stream")


async def _events(scored: ScoredFlows, asked: LiveQuery, after: int) -> AsyncIterator[bytes]:
    """Nothing is queued for anybody: each event is made when the one before has been taken."""
    with scored.following():
        while True:
            now = live(await run_in_threadpool(scored.lately), asked, after, _ROWS_OF_A_TICK)
            after = now.cursor
            sent_at = time.monotonic()
            yield b"data: " + now.model_dump_json().encode() + b"\n\n"
            if time.monotonic() - sent_at > _SLOW_S:
                return
            await anyio.sleep(_TICK_S)


def _scored(request: Request) -> ScoredFlows:
    scored: ScoredFlows = request.app.state.scored
    return scored
