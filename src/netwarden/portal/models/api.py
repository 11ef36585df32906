"""The API of models: which bundle serves, which others there are, how good each is, and what changes that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from netwarden.detectors.bundle import BundleManifest, read_manifest
from netwarden.portal.access.people import needs
from netwarden.portal.models.archive import tar_bytes, tar_chunks
from netwarden.portal.models.card import card_markdown, limits
from netwarden.portal.models.changes import budget_asked, move_budget, promote, roll_back
from netwarden.portal.models.facts import (
    COMPARED,
    FLOWS_PER_DAY,
    BudgetTable,
    Change,
    Comparison,
    ModelSummary,
    RegistryView,
    budget_table,
    changes_of,
    compare,
    registered,
    registry_view,
    schema_of,
    stated_manifest,
    summary_of,
)
from netwarden.portal.paging import Cursor, Limit, Next, after, page_of
from netwarden.portal.reference import body, faults
from netwarden.portal.rendering import attachment
from netwarden.settings import Settings
from netwarden.sources.store import BundleEntry

router = APIRouter(tags=["models"])
_ADMIN = [Depends(needs("admin"))]
FlowsPerDay = Annotated[float, Query(gt=0, le=1e15, description="Benign flows a day of this network")]


class ModelList(BaseModel):
    """A page of registered bundles, newest first."""

    model_config = ConfigDict(extra="forbid")
    models: list[ModelSummary]
    cursor: Next


class ModelDetails(BaseModel):
    """All there is to say of a bundle."""

    model_config = ConfigDict(extra="forbid")
    summary: ModelSummary
    manifest: BundleManifest | None = Field(description="What `bundle.json` says; null: its files are not here")
    limits: list[str] = Field(description="What to know before trusting the figures")
    history: list[Change]


class ChangeList(BaseModel):
    """A page of the registry's history, newest first."""

    model_config = ConfigDict(extra="forbid")
    changes: list[Change]
    cursor: Next


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "fewer false positives at night"}}
    )
    reason: str = Field(min_length=1, max_length=500, description="Kept in the history")


class BudgetAsked(BaseModel):
    """Another false-positive budget: as a share, or as false alerts a day."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"budget": 0.001}})
    budget: float | None = Field(None, gt=0, lt=1, description="Share of benign flows that may alert")
    alerts_per_day: float | None = Field(None, gt=0)
    flows_per_day: float = Field(FLOWS_PER_DAY, gt=0, description="Benign flows a day, for alerts_per_day")


@router.get("/api/v1/models", summary="Registered bundles", responses=faults(422))
def list_models(request: Request, schema_id: str = "", cursor: Cursor = "", limit: Limit = 50) -> ModelList:
    """Bundles of the registry, newest first, with role and figures; `cursor` leads on."""
    settings, view = _state(request)
    entries = [entry for entry in view.entries if schema_id in ("", entry.schema_id)]
    start = after(cursor, [entry.bundle_id for entry in entries])
    shown, older = page_of(entries[start:], limit, lambda entry: entry.bundle_id)
    return ModelList(models=[summary_of(settings, view, entry) for entry in shown], cursor=older)


@router.get("/api/v1/models/history", summary="History of the registry", responses=faults(422))
def list_changes(request: Request, schema_id: str = "", cursor: Cursor = "", limit: Limit = 50) -> ChangeList:
    """Who registered, promoted and rolled back what, when and why; newest first."""
    events = [event for event in _state(request)[1].events if schema_id in ("", event.schema_id)]
    # Places count from the oldest: the history only ever grows at the other end.
    places = [str(place) for place in range(len(events), 0, -1)]
    start = after(cursor, places)
    shown, older = page_of(list(zip(events, places, strict=True))[start:], limit, lambda line: line[1])
    return ChangeList(changes=changes_of(event for event, _ in shown), cursor=older)


@router.get("/api/v1/models/compare", summary="Bundles side by side", responses=faults(404, 422))
def compare_models(
    request: Request, bundle: Annotated[list[str], Query(min_length=1, max_length=COMPARED)]
) -> Comparison:
    """Every figure that any of the bundles has: validation and test rows, and recall of each family."""
    settings, view = _state(request)
    return compare([summary_of(settings, view, registered(view, each)) for each in bundle])


@router.get("/api/v1/models/{bundle_id}", summary="A bundle", responses=faults(404))
def model(request: Request, bundle_id: str) -> ModelDetails:
    """What a bundle says of itself, what is registered of it, and its limits."""
    settings, view = _state(request)
    entry = registered(view, bundle_id)
    summary, manifest = summary_of(settings, view, entry), stated_manifest(settings, entry)
    return ModelDetails(
        summary=summary,
        manifest=manifest,
        limits=limits(manifest, summary) if manifest else [],
        history=changes_of(event for event in view.events if event.bundle_id == entry.bundle_id),
    )


@router.get("/api/v1/models/{bundle_id}/budgets", summary="What budgets cost", responses=faults(404, 422, 503))
def budgets(request: Request, bundle_id: str, flows_per_day: FlowsPerDay = FLOWS_PER_DAY) -> BudgetTable:
    """Threshold, false alerts a day and recall of each false-positive budget of a bundle."""
    settings, view = _state(request)
    entry = registered(view, bundle_id)
    return budget_table(_required(settings, entry), entry.bundle_id, flows_per_day)


@router.get(
    "/api/v1/models/{bundle_id}/card.md",
    summary="Model card",
    response_class=Response,
    responses={200: body("text/markdown", "The card", "# Model card: hybrid 65ed956f64122dc2"), **faults(404, 503)},
)
def card(request: Request, bundle_id: str) -> Response:
    """Purpose, data, figures, budgets, limits and features of a bundle as Markdown, made from the bundle."""
    settings, view = _state(request)
    entry = registered(view, bundle_id)
    text = card_markdown(
        _required(settings, entry), summary_of(settings, view, entry), schema_of(settings, entry.schema_id)
    )
    return Response(text, media_type="text/markdown; charset=utf-8")


@router.get(
    "/api/v1/models/{bundle_id}/bundle.tar",
    summary="A bundle's files",
    response_class=Response,
    responses={200: body("application/octet-stream", "A tar archive of the bundle's folder"), **faults(404, 503)},
)
def download(request: Request, bundle_id: str) -> Response:
    """The bundle as a tar archive; unpacked, its folder loads with `netwarden.load(folder)`."""
    settings, view = _state(request)
    entry = registered(view, bundle_id)
    _required(settings, entry)
    folder = settings.bundles_dir / entry.location
    headers = attachment(f"{entry.bundle_id}.tar") | {"Content-Length": str(tar_bytes(folder))}
    return StreamingResponse(tar_chunks(folder), headers=headers, media_type="application/x-tar")


@router.post(
    "/api/v1/models/{bundle_id}/promote",
    summary="Put a bundle in charge",
    dependencies=_ADMIN,
    responses=faults(403, 404, 422, 503),
)
def promote_model(request: Request, bundle_id: str, why: Reason) -> ModelSummary:
    """Make a bundle its schema's champion; everything that serves follows within five seconds."""
    return _summary(request, promote(request, bundle_id, why.reason))


@router.post(
    "/api/v1/models/{bundle_id}/threshold",
    summary="Another budget",
    dependencies=_ADMIN,
    responses=faults(403, 404, 422, 503),
)
def move_threshold(request: Request, bundle_id: str, asked: BudgetAsked) -> ModelSummary:
    """A new bundle with the threshold of another budget; it takes charge if the given one is in charge."""
    budget = budget_asked(asked.budget, asked.alerts_per_day, asked.flows_per_day)
    return _summary(request, move_budget(request, bundle_id, budget))


@router.post(
    "/api/v1/schemas/{schema_id}/rollback",
    summary="Back to the champion before",
    dependencies=_ADMIN,
    responses=faults(403, 404, 422, 503),
)
def roll_back_schema(request: Request, schema_id: str, why: Reason) -> ModelSummary:
    """Put the champion before the present one in charge again; repeated, go further back."""
    return _summary(request, roll_back(request, schema_id, why.reason))


def _state(request: Request) -> tuple[Settings, RegistryView]:
    settings: Settings = request.app.state.settings
    return settings, registry_view(settings)


def _summary(request: Request, entry: BundleEntry) -> ModelSummary:
    return summary_of(*_state(request), entry)


def _required(settings: Settings, entry: BundleEntry) -> BundleManifest:
    return read_manifest(settings.bundles_dir / entry.location)[0]
