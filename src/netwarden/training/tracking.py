"""MLflow: every run with its parameters, figures, plots, dataset and bundle; the registry's champions as aliases.

A tracking server that is away or refuses never fails or holds up a run: the run is logged to the local store and kept
under `NETWARDEN_HOME/tracking/pending` until `netwarden track sync` uploads it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from netwarden import logs
from netwarden.errors import TrackingError
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from netwarden.training.remotes import probe_tracking

_log = logs.get(__name__)
_KEY = "netwarden.key"


@dataclass(frozen=True)
class RunRecord:
    """All that is known of one run; `key` makes logging it twice the same as once. One without a bundle made none."""

    key: str
    name: str
    experiment: str
    schema_id: str
    bundle_id: str
    champion: bool
    started_ms: int
    ended_ms: int
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    dataset: dict[str, str] = field(default_factory=dict)  # name, digest, source, profile
    artifacts: dict[str, str] = field(default_factory=dict)  # path within the run → local folder or file


@dataclass(frozen=True)
class TrackedRun:
    """Where a run was logged; `kept` says why it still waits for `netwarden track sync`."""

    run_id: str
    address: str
    kept: str = ""


@dataclass(frozen=True)
class SyncReport:
    """What `sync` uploaded and which champions it mirrored."""

    address: str
    uploaded: tuple[str, ...]
    champions: tuple[str, ...]

    def __str__(self) -> str:
        runs = f"{len(self.uploaded)} run(s) uploaded to {self.address}"
        return "\n".join([runs, *(f"champion {name}" for name in self.champions)])


def local_tracking_uri(settings: Settings) -> str:
    """Address of the embedded MLflow store: `mlflow server --backend-store-uri` shows it."""
    return f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"


def model_name(schema_id: str) -> str:
    """Registered model of a schema; its alias `champion` mirrors our registry."""
    return f"netwarden-{schema_id}"


def track_run(settings: Settings, record: RunRecord) -> TrackedRun:
    """The run as logged: on the configured server, or locally and kept for later where that server is away."""
    (tracked,) = track_runs(settings, [record])
    return tracked


def track_runs(settings: Settings, records: Sequence[RunRecord]) -> list[TrackedRun]:
    """Each run as `track_run` logs it; a server found away is not asked again for the next one."""
    address = settings.mlflow_uri
    problem = probe_tracking(settings) if address and records else ""
    tracked = []
    for record in records:
        if address and not problem:
            try:
                tracked.append(_logged(settings, address, record))
                continue
            except TrackingError as error:
                problem = str(error)
        tracked.append(replace(_logged(settings, None, record), kept=problem))
        if problem:
            _keep(settings, record)
    if problem:
        _log.warning("kept locally; `netwarden track sync` uploads it later", extra={"why": problem})
    return tracked


def mirror_champion(settings: Settings, entry: BundleEntry) -> None:
    """Point MLflow's alias `champion` at a bundle; where the server is away a warning says that sync does it later."""
    problem = probe_tracking(settings) if settings.mlflow_uri else ""
    if not problem:
        try:
            with _client(settings, settings.mlflow_uri) as client:
                _alias(client, entry.schema_id, entry.bundle_id, "champion")
                return
        except TrackingError as error:
            problem = str(error)
    _log.warning(
        "MLflow's alias still names the champion before; `netwarden track sync` moves it", extra={"why": problem}
    )


def mirror_champions(settings: Settings) -> tuple[str, ...]:
    """Champions that MLflow's aliases were pointed at, until the registry names no other; `schema: bundle` each."""
    mirrored: dict[str, str] = {}
    while wanted := [entry for entry in _champions(settings) if mirrored.get(entry.schema_id) != entry.bundle_id]:
        for entry in wanted:
            mirror_champion(settings, entry)
            mirrored[entry.schema_id] = entry.bundle_id
    return tuple(f"{schema_id}: {bundle_id}" for schema_id, bundle_id in mirrored.items())


def _champions(settings: Settings) -> list[BundleEntry]:
    with contextlib.closing(open_registry(settings)) as registry:
        schemas = sorted({entry.schema_id for entry in registry.entries()})
        return [champion for schema_id in schemas if (champion := registry.champion(schema_id))]


def sync(settings: Settings) -> SyncReport:
    """Upload the runs kept while the server was away and mirror every champion; a second call uploads nothing.

    Raises TrackingError where no server is configured or it is still away.
    """
    if not settings.mlflow_uri:
        raise TrackingError("nothing to sync with: MLFLOW_TRACKING_URI and DAGSHUB_REPO are both unset")
    problem = probe_tracking(settings)
    if problem:
        raise TrackingError(f"{problem}; {len(_pending(settings))} run(s) stay kept under {settings.home / 'tracking'}")
    uploaded = []
    for folder in _pending(settings):
        record = RunRecord(**json.loads((folder / "record.json").read_text(encoding="utf-8")))
        _logged(settings, settings.mlflow_uri, record)
        shutil.rmtree(folder)
        uploaded.append(record.name)
    with _client(settings, settings.mlflow_uri) as client:
        found = _champions(settings)
        mirrored = [entry for entry in found if _alias(client, entry.schema_id, entry.bundle_id, "champion")]
    names = tuple(f"{model_name(entry.schema_id)}: {entry.bundle_id}" for entry in mirrored)
    return SyncReport(settings.mlflow_uri, tuple(uploaded), names)


# --- kept runs --------------------------------------------------------------------------------------------------


def _pending(settings: Settings) -> list[Path]:
    return sorted(path.parent for path in (settings.home / "tracking" / "pending").glob("*/record.json"))


def _keep(settings: Settings, record: RunRecord) -> None:
    """Copy a run with its artifacts; the record is written last, so a half-made copy is never taken for one."""
    folder = settings.home / "tracking" / "pending" / re.sub(r"[^\w.-]", "_", record.key)
    shutil.rmtree(folder, ignore_errors=True)
    copies = {}
    for name, source in record.artifacts.items():
        copies[name] = str(folder / name)
        _copy(Path(source), folder / name)
    draft = folder / "record.tmp"
    draft.write_text(json.dumps(asdict(replace(record, artifacts=copies))), encoding="utf-8")
    draft.replace(folder / "record.json")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


# --- MLflow -----------------------------------------------------------------------------------------------------


def _logged(settings: Settings, address: str | None, record: RunRecord) -> TrackedRun:
    with _client(settings, address) as client:
        run = _find_or_create_run(settings, address, client, record)
        if run.info.status != "FINISHED":
            _log_facts(client, run.info.run_id, record)
        if record.bundle_id:
            version = _find_or_create_version(client, record, run)
            alias = "champion" if record.champion else "challenger"
            client.set_registered_model_alias(model_name(record.schema_id), alias, version)
        return TrackedRun(run.info.run_id, address or local_tracking_uri(settings))


def _find_or_create_run(settings: Settings, address: str | None, client: Any, record: RunRecord) -> Any:
    experiment = client.get_experiment_by_name(record.experiment)
    if experiment is None:
        place = None if address else (settings.home / "mlflow" / "artifacts").as_uri()
        experiment_id = client.create_experiment(record.experiment, artifact_location=place)
    else:
        experiment_id = experiment.experiment_id
    found = client.search_runs([experiment_id], f"tags.`{_KEY}` = '{record.key}'", max_results=1)
    if found:
        return found[0]
    tags = {**record.tags, _KEY: record.key, "bundle_id": record.bundle_id, "schema_id": record.schema_id}
    return client.create_run(experiment_id, start_time=record.started_ms, tags=tags, run_name=record.name)


def _log_facts(client: Any, run_id: str, record: RunRecord) -> None:
    """Everything but the run itself; safe to repeat, and `FINISHED` comes last."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param  # noqa: PLC0415 - takes seconds

    metrics = [Metric(_metric_name(name), value, record.ended_ms, 0) for name, value in record.metrics.items()]
    params = [Param(name, value) for name, value in record.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    facts = record.dataset
    dataset = Dataset(facts["name"], facts["digest"], "netwarden", facts["source"], profile=facts["profile"])
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    for name, place in record.artifacts.items():
        if Path(place).is_dir():
            client.log_artifacts(run_id, place, name)
        else:
            client.log_artifact(run_id, place)
    client.set_terminated(run_id, "FINISHED", record.ended_ms)


def _metric_name(name: str) -> str:
    """Name that MLflow takes; families of drafted schemas may hold any character."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _find_or_create_version(client: Any, record: RunRecord, run: Any) -> str:
    model = model_name(record.schema_id)
    with contextlib.suppress(_refusal()):  # it is there already
        client.create_registered_model(model)
    found = client.search_model_versions(f"name = '{model}' and run_id = '{run.info.run_id}'")
    if found:
        return str(found[0].version)
    source = f"{run.info.artifact_uri}/bundle"
    made = client.create_model_version(model, source, run.info.run_id, tags={"bundle_id": record.bundle_id})
    return str(made.version)


def _alias(client: Any, schema_id: str, bundle_id: str, alias: str) -> bool:
    """Whether MLflow knows the bundle and now names it so."""
    model = model_name(schema_id)
    found = client.search_model_versions(f"name = '{model}' and tags.bundle_id = '{bundle_id}'")
    if found:
        client.set_registered_model_alias(model, alias, found[0].version)
    return bool(found)


@contextlib.contextmanager
def _client(settings: Settings, address: str | None) -> Iterator[Any]:
    """MLflow client of a server or of the embedded store; its errors come out as TrackingError."""
    with _environment(settings):
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

        if address is None:
            (settings.home / "mlflow").mkdir(parents=True, exist_ok=True)
        uri = address or local_tracking_uri(settings)
        try:
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
        except _refusal() as error:
            raise TrackingError(f"MLflow at {uri} refuses: {str(error).splitlines()[0]}") from None


def _refusal() -> type[Exception]:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

    return MlflowException  # type: ignore[no-any-return]


@contextlib.contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """Credentials, timeouts and the telemetry switch, which MLflow reads from the environment, while the block runs."""
    wanted = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(settings.tracking.timeout_s)),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    if settings.mlflow_username:
        wanted["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_username
    if settings.mlflow_password:
        wanted["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_password.get_secret_value()
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
