"""Addresses of runs and experiments where they are tracked, for people to follow."""

from __future__ import annotations

from urllib.parse import quote

from netwarden.settings import Settings


def mlflow_run(settings: Settings, run_id: str) -> str:
    """Page of a run on the tracking server; empty where it is tracked locally, or not at all."""
    uri = settings.mlflow_uri or ""
    return f"{uri.rstrip('/')}/#/runs/{quote(run_id)}" if run_id and uri.startswith("http") else ""


def tracking_places(settings: Settings) -> dict[str, str]:
    """Name → address of what tracks the runs of this deployment."""
    places = {"MLflow": settings.mlflow_uri or ""}
    if settings.dagshub_repo:
        places["DagsHub"] = f"{settings.dagshub_url}/{settings.dagshub_repo}/experiments"
    return {name: address for name, address in places.items() if address.startswith("http")}
