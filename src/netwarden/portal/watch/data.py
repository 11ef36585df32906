"""Datasets of the store, their quarantine, and schemas: pages and API."""

from __future__ import annotations

from enum import Enum

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import NotFoundError
from netwarden.flows.labels import Families, load_families
from netwarden.flows.schema import FlowSchema, load_schema, schema_ids
from netwarden.portal.paging import Cursor, Limit, Next
from netwarden.portal.reference import faults
from netwarden.portal.watch.data_facts import (
    DatasetView,
    LabelTable,
    LabelTables,
    Quality,
    Quarantine,
    SchemaView,
    dataset,
    datasets,
    family_of,
    quality,
    quarantine,
    reasons,
    schema_view,
)

router = APIRouter()
_TAGS: list[str | Enum] = ["train"]
_SETS = 24  # datasets that a page shows


class DatasetDetails(BaseModel):
    """A dataset, with its labels by split."""

    model_config = ConfigDict(extra="forbid")
    dataset: DatasetView
    labels: LabelTable
    reasons: dict[str, int] = Field(
        description="Why rows were kept out, the most frequent first, among the first 2,000: … stands for what differs"
    )


class DataOverview(BaseModel):
    """What there is to train on."""

    model_config = ConfigDict(extra="forbid")
    datasets: list[DatasetView]
    quality: Quality | None = Field(description="Of the pipeline's last run; null: it has not run here")
    cursor: Next


@router.get("/data", include_in_schema=False)
def data_page(request: Request, cursor: Cursor = "") -> Response:
    """Datasets and schemas."""
    settings = request.app.state.settings
    page = list_datasets(request, cursor, _SETS)
    response: Response = request.app.state.pages.render(
        request,
        "data.html",
        page=page,
        cursor=cursor,
        families=_families(request),
        family_of=family_of,
        schemas=[schema_view(load_schema(name, settings.schema_dir)) for name in schema_ids(settings.schema_dir)],
    )
    return response


@router.get("/data/sets/{name}", include_in_schema=False)
def dataset_page(request: Request, name: str, cursor: Cursor = "") -> Response:
    """One dataset."""
    settings = request.app.state.settings
    found = dataset(settings, name)
    response: Response = request.app.state.pages.render(
        request,
        "dataset.html",
        dataset=found,
        table=_tables(request).of(found),
        families=_families(request),
        family_of=family_of,
        reasons=list(_reasons(request, found).items()),
        page=quarantine(settings, name, 50, cursor),
        cursor=cursor,
    )
    return response


@router.get("/data/schemas/{schema_id}", include_in_schema=False)
def schema_page(request: Request, schema_id: str) -> Response:
    """One schema."""
    schema = _schema(request, schema_id)
    families = _families(request)
    response: Response = request.app.state.pages.render(
        request,
        "schema.html",
        schema=schema_view(schema),
        families=families.families,
        attacks=sorted(families.attacks.items(), key=lambda item: (item[1].family, item[0])),
    )
    return response


@router.get("/api/v1/datasets", tags=_TAGS, summary="Datasets of the store", responses=faults(422, 503))
def list_datasets(request: Request, cursor: Cursor = "", limit: Limit = 100) -> DataOverview:
    """Datasets by name with their counts, and what the pipeline's checks found last; `cursor` leads on."""
    settings = request.app.state.settings
    found, following = datasets(settings, limit, cursor)
    return DataOverview(datasets=found, quality=quality(settings), cursor=following)


@router.get("/api/v1/datasets/{name}", tags=_TAGS, summary="One dataset", responses=faults(404, 503))
def show_dataset(request: Request, name: str) -> DatasetDetails:
    """A dataset with its labels by split, once they are counted."""
    found = dataset(request.app.state.settings, name)
    return DatasetDetails(dataset=found, labels=_tables(request).of(found), reasons=_reasons(request, found))


@router.get(
    "/api/v1/datasets/{name}/quarantine",
    tags=_TAGS,
    summary="What was kept out, and why",
    responses=faults(404, 422, 503),
)
def list_quarantine(request: Request, name: str, limit: Limit = 100, cursor: Cursor = "") -> Quarantine:
    """Rows that were rejected, in order of file and line; `cursor` leads on."""
    return quarantine(request.app.state.settings, name, limit, cursor)


@router.get("/api/v1/schemas", tags=_TAGS, summary="Kinds of flow tables")
def list_schemas(request: Request) -> list[SchemaView]:
    """Every schema with its columns."""
    folder = request.app.state.settings.schema_dir
    return [schema_view(load_schema(name, folder)) for name in schema_ids(folder)]


@router.get("/api/v1/schemas/{schema_id}", tags=_TAGS, summary="One kind of flow table", responses=faults(404))
def show_schema(request: Request, schema_id: str) -> SchemaView:
    """Its columns, with types, units, ranges and meanings."""
    return schema_view(_schema(request, schema_id))


@router.get("/api/v1/families", tags=_TAGS, summary="Families of attacks")
def list_families(request: Request) -> Families:
    """Every family and every attack name that belongs to it, with ATT&CK techniques; the same for every schema."""
    return _families(request)


def _reasons(request: Request, found: DatasetView) -> dict[str, int]:
    return dict(reasons(request.app.state.settings, found.name)) if found.quarantined else {}


def _schema(request: Request, schema_id: str) -> FlowSchema:
    folder = request.app.state.settings.schema_dir
    known = schema_ids(folder)
    if schema_id not in known:
        raise NotFoundError(f"no schema {schema_id!r}; there are: {', '.join(known)}")
    return load_schema(schema_id, folder)


def _families(request: Request) -> Families:
    return load_families(request.app.state.settings.schema_dir / "families.yaml")


def _tables(request: Request) -> LabelTables:
    tables: LabelTables = request.app.state.label_tables
    return tables
