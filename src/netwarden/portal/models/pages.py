"""Pages on models: bundles by schema, side by side, and each with its card and its budgets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from netwarden.portal.access.people import needs, person
from netwarden.portal.models.api import list_changes, list_models
from netwarden.portal.models.card import data_facts, feature_lines, limits, lineage_facts
from netwarden.portal.models.changes import move_budget, promote, roll_back
from netwarden.portal.models.facts import (
    COMPARED,
    FIGURES,
    FLOWS_PER_DAY,
    ModelSummary,
    RegistryView,
    budget_table,
    changes_of,
    compare,
    family_recall,
    registered,
    registry_view,
    schema_of,
    stated_manifest,
    summary_of,
)
from netwarden.portal.paging import Cursor
from netwarden.portal.runs.links import mlflow_run
from netwarden.settings import Settings

router = APIRouter(include_in_schema=False)
_ADMIN = [Depends(needs("admin"))]
_SHOWN_BUNDLES = 50
_SHOWN_CHANGES = 30


@router.get("/models")
def models_page(
    request: Request,
    bundle: Annotated[list[str], Query(default_factory=list, max_length=COMPARED)],
    cursor: Cursor = "",
    changes: Cursor = "",
    done: str = "",
) -> Response:
    """Bundles by schema, those chosen side by side, and the history."""
    settings: Settings = request.app.state.settings
    view = registry_view(settings)
    page = list_models(request, cursor=cursor, limit=_SHOWN_BUNDLES)
    history = list_changes(request, cursor=changes, limit=_SHOWN_CHANGES)
    summaries = _with_champions(settings, view, page.models, first=not cursor)
    by_schema = {
        name: [each for each in summaries if each.schema_id == name]
        for name in sorted({s.schema_id for s in summaries})
    }
    chosen = [summary_of(settings, view, entry) for entry in view.entries if entry.bundle_id in bundle]
    return _page(
        request,
        "models.html",
        by_schema=by_schema,
        titles={name: _title(settings, name) for name in by_schema},
        before={
            name: summary_of(settings, view, entry) for name in by_schema if (entry := view.before(name)) is not None
        },
        comparison=compare(chosen or _to_compare(summaries)),
        most=COMPARED,
        changes=history.changes,
        changes_cursor=changes,
        older_changes=history.cursor,
        cursor=cursor,
        older=page.cursor,
        serving={name: model.bundle.bundle_id for name, model in request.app.state.champions.serving().models.items()},
        done=next((each for each in summaries if each.bundle_id == done), None),
    )


@router.get("/models/{bundle_id}")
def model_page(
    request: Request, bundle_id: str, flows_per_day: Annotated[float, Query(gt=0, le=1e15)] = FLOWS_PER_DAY
) -> Response:
    """One bundle: its card, its figures and its budgets."""
    settings: Settings = request.app.state.settings
    view = registry_view(settings)
    entry = registered(view, bundle_id)
    summary, manifest = summary_of(settings, view, entry), stated_manifest(settings, entry)
    parts = list(dict.fromkeys(name.partition(".")[0] for name in summary.figures))
    facts: dict[str, Any] = {"budgets": None, "features": [], "columns": 0, "data": [], "lineage": [], "limits": []}
    if manifest is not None:
        schema = schema_of(settings, entry.schema_id)
        facts = {
            "budgets": budget_table(manifest, entry.bundle_id, flows_per_day),
            "features": feature_lines(manifest, schema),
            "columns": len(schema.features) if schema else 0,
            "data": data_facts(manifest),
            "lineage": lineage_facts(manifest, summary),
            "limits": limits(manifest, summary),
        }
    return _page(
        request,
        "model.html",
        summary=summary,
        title=_title(settings, entry.schema_id),
        comparison=compare([summary]),
        parts=parts,
        unmeasured=[title for name, title in FIGURES.items() if f"validation.{name}" in _left_out(summary)],
        families={part: family_recall(summary.figures, part) for part in parts},
        changes=changes_of(event for event in view.events if event.bundle_id == entry.bundle_id),
        run_address=mlflow_run(settings, entry.run_id),
        **facts,
    )


@router.post("/models/rollback", dependencies=_ADMIN)
def roll_back_page(
    request: Request, schema_id: Annotated[str, Form()], reason: Annotated[str, Form()] = ""
) -> Response:
    """Put the champion before the present one in charge."""
    return RedirectResponse(f"/models?done={roll_back(request, schema_id, reason).bundle_id}", 303)


@router.post("/models/{bundle_id}/promote", dependencies=_ADMIN)
def promote_page(request: Request, bundle_id: str, reason: Annotated[str, Form()] = "") -> Response:
    """Put a bundle in charge."""
    return RedirectResponse(f"/models?done={promote(request, bundle_id, reason).bundle_id}", 303)


@router.post("/models/{bundle_id}/threshold", dependencies=_ADMIN)
def threshold_page(request: Request, bundle_id: str, budget: Annotated[float, Form(gt=0, lt=1)]) -> Response:
    """Make the same bundle with another budget."""
    return RedirectResponse(f"/models/{move_budget(request, bundle_id, budget).bundle_id}", 303)


def _page(request: Request, name: str, **facts: Any) -> Response:
    response: Response = request.app.state.pages.render(request, name, may_change=person(request).may("admin"), **facts)
    return response


def _left_out(summary: ModelSummary) -> set[str]:
    return summary.at_another_threshold.keys() - summary.figures.keys()


def _with_champions(
    settings: Settings, view: RegistryView, page: list[ModelSummary], *, first: bool
) -> list[ModelSummary]:
    """A page of bundles: what serves stands on the first one, however old it is, and on no other."""
    if not first:
        return [each for each in page if each.role != "champion"]
    shown = {each.bundle_id for each in page}
    older = [entry for entry in view.entries if view.role(entry) == "champion" and entry.bundle_id not in shown]
    return [*(summary_of(settings, view, entry) for entry in older), *page]


def _to_compare(summaries: list[ModelSummary]) -> list[ModelSummary]:
    """The champion that was registered last, and the bundles of its schema that came last."""
    leader = next((each for each in summaries if each.role == "champion"), None)
    if leader is None:
        return []
    others = [each for each in summaries if each.schema_id == leader.schema_id and each is not leader]
    return [leader, *others[: COMPARED - 2]]


def _title(settings: Settings, schema_id: str) -> str:
    schema = schema_of(settings, schema_id)
    return (schema.title if schema else "") or schema_id
