"""What pages show, gathered for their templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from netwarden import jobs
from netwarden.detectors.bundle import BundleManifest
from netwarden.portal.models.champions import Champions
from netwarden.portal.models.facts import registry_view
from netwarden.portal.rendering import Pages
from netwarden.portal.runs.pages import run_facts
from netwarden.portal.runs.runs import KIND, describe_run
from netwarden.portal.uploads.charts import others_of, score_bars
from netwarden.portal.uploads.demo import demo_size
from netwarden.portal.uploads.rows import TableQuery, find_rows, read_rows
from netwarden.portal.uploads.scoring import KINDS
from netwarden.portal.uploads.truth import truth_report
from netwarden.portal.uploads.uploads import Upload, recent_uploads
from netwarden.scoring.codes import recipe
from netwarden.scoring.model import Model
from netwarden.settings import Settings

_SAID = ("row", "verdict", "prediction", "score", "family")


@dataclass(frozen=True)
class DetectorView:
    """A detector in charge, as cards show it."""

    schema_id: str
    title: str
    bundle_id: str
    kind: str
    dataset: str
    trained_rows: int
    columns: int  # of the schema
    features: int  # of these, those that the bundle reads
    families: tuple[str, ...]
    threshold: float
    budget: float
    realised: float
    validation: dict[str, float]
    recipe: str
    codes: dict[str, dict[str, int]]


@dataclass(frozen=True)
class PageOf:
    """Where a page of rows lies among all of them."""

    number: int
    last: int
    start: int
    shown: int
    total: int


def show_home(request: Request) -> HTMLResponse:
    """The upload page, with the detectors in charge and what was done last."""
    settings, pages, champions = _state(request)
    serving = champions.serving()
    running = jobs.running(settings.home, KIND)
    return pages.render(
        request,
        "home.html",
        detectors=[_detector(model) for model in serving.models.values()],
        faults=dict(serving.faults),
        uploads=recent_uploads(settings, 8),
        kinds=KINDS,
        max_upload_mb=settings.portal.max_upload_mb,
        running=describe_run(settings, running) if running else None,
        demo_bytes=demo_size(settings, serving.models),
    )


def show_upload(request: Request, upload: Upload, asked: TableQuery | None = None) -> HTMLResponse:
    """A page of the rows of a scored file, as they are asked for."""
    settings, pages, _ = _state(request)
    asked = asked or TableQuery()
    query = asked.filter()
    positions = find_rows(upload, query)
    page = numbered(asked.page, len(positions), settings.portal.page_rows)
    summary = upload.summary
    columns = upload.columns()
    view = registry_view(settings)
    return pages.render(
        request,
        "upload.html",
        summary=summary,
        query=query,
        rows=read_rows(upload, positions[page.start : page.start + page.shown]),
        endpoints=[name for name in columns if name not in _SAID],
        rejected=upload.rejected[:20],
        page=page,
        truth=truth_report(upload) if upload.has_truth else None,
        all_kept=upload.has_flows,
        others=others_of(view, summary) if upload.has_flows else [],
        in_charge=view.champions.get(summary.schema_id),
        bars=score_bars(summary),
    )


def show_run(request: Request, job: jobs.Job) -> HTMLResponse:
    """One training run, which the page then follows."""
    settings, pages, _ = _state(request)
    return pages.render(request, "run.html", run=describe_run(settings, job), **run_facts(request, job))


def _state(request: Request) -> tuple[Settings, Pages, Champions]:
    state: Any = request.app.state
    return state.settings, state.pages, state.champions


def _detector(model: Model) -> DetectorView:
    manifest = model.bundle.manifest
    return DetectorView(
        schema_id=model.schema.id,
        title=model.schema.title or model.schema.id,
        bundle_id=model.bundle.bundle_id,
        kind=manifest.kind.replace("_", " "),
        dataset=manifest.training.dataset,
        trained_rows=sum(manifest.training.rows.values()),
        columns=len(model.schema.features),
        features=len(manifest.features),
        families=tuple(name for name in manifest.families if name != "benign"),
        threshold=manifest.threshold.value,
        budget=manifest.threshold.budget,
        realised=manifest.threshold.realised,
        validation=_validation(manifest),
        recipe=recipe(model.schema),
        codes=model.category_codes(),
    )


def _validation(manifest: BundleManifest) -> dict[str, float]:
    """Figures of validation rows at the bundle's own threshold: one that was moved after training has few."""
    if not manifest.derived_from:
        return manifest.training.metrics
    row = next((row for row in manifest.threshold.table if row.threshold == manifest.threshold.value), None)
    area = {name: value for name, value in manifest.training.metrics.items() if name == "roc_auc"}
    return area | ({"recall": row.recall} if row is not None and row.recall is not None else {})


def numbered(number: int, total: int, rows: int) -> PageOf:
    """Page `number` of so many rows, or the last one there is."""
    last = max(1, -(-total // rows))
    number = min(max(number, 1), last)
    start = (number - 1) * rows
    return PageOf(number, last, start, min(rows, total - start), total)
