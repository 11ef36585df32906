"""A trained bundle becomes one that serves: kept, registered, tracked, offered to BentoML and backed up."""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netwarden import logs
from netwarden.detectors.bundle import DetectorBundle, load_bundle
from netwarden.evaluation.metrics import flat
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.sources.connect import open_backup, open_registry
from netwarden.sources.folder_digest import digest_folder
from netwarden.sources.store import Backup, BundleEntry, Registry
from netwarden.training.bento import store_in_bentoml
from netwarden.training.lineage import file_hash, head_commit
from netwarden.training.remotes import push_snapshots
from netwarden.training.tracking import RunRecord, TrackedRun, track_run

_log = logs.get(__name__)
_COMPARED = "f1"  # of validation rows, at the threshold in force


@dataclass(frozen=True)
class Receipt:
    """What registering a bundle did."""

    bundle_id: str
    schema_id: str
    champion: bool
    why: str
    run_id: str
    tracked_at: str
    kept: str
    bentoml: str
    backup: dict[str, str]
    snapshots: list[str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def register_bundle(settings: Settings, params: Params, trained: Path, evaluation: Path) -> Receipt:
    """Receipt of a trained and evaluated bundle; again with the same bundle changes nothing.

    Raises BackupError where the backup refuses, after the bundle is registered: running it again then catches up.
    """
    started_ms = time.time_ns() // 1_000_000
    bundle = keep_bundle(settings, trained)
    metrics = flat(json.loads((evaluation / "metrics.json").read_text(encoding="utf-8")))
    with closing(open_registry(settings)) as registry:
        champion, why = _decide(registry, bundle, params.register_.tolerance)
        run = track_run(settings, _record(settings, params, bundle, evaluation, metrics, champion, started_ms))
        _register(registry, bundle, metrics, champion, why, run)
    _log.info("registered", extra={"bundle": bundle.bundle_id, "champion": champion, "why": why})
    tag = store_in_bentoml(bundle)
    kept = _back_up(settings, open_backup(settings), bundle, evaluation)
    return Receipt(
        bundle.bundle_id,
        bundle.schema_id,
        champion,
        why,
        run.run_id,
        run.address,
        run.kept,
        tag,
        kept,
        push_snapshots(settings),
    )


def keep_bundle(settings: Settings, trained: Path) -> DetectorBundle:
    """The bundle, verified, in the folder of bundles under its id; it appears there whole or not at all."""
    bundle = load_bundle(trained)
    target = settings.bundles_dir / bundle.bundle_id
    if not target.exists():
        settings.bundles_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=settings.bundles_dir) as draft:
            copy = shutil.copytree(trained, Path(draft) / bundle.bundle_id)
            with suppress(OSError):  # another process was quicker; whatever stands there is verified below
                copy.rename(target)
    return load_bundle(target)


def _decide(registry: Registry, bundle: DetectorBundle, tolerance: float) -> tuple[bool, str]:
    """Whether the bundle is to be champion, and why."""
    champion = registry.champion(bundle.schema_id)
    if champion is None:
        return True, f"first bundle of schema {bundle.schema_id}"
    if champion.bundle_id == bundle.bundle_id:
        return True, "is the champion already"
    mine, best = (facts.get(_COMPARED, 0.0) for facts in (bundle.manifest.training.metrics, champion.validation))
    verdict = "no worse than" if mine >= best - tolerance else "worse than"
    why = f"validation {_COMPARED} {mine:.5f} is {verdict} {best:.5f} of champion {champion.bundle_id}"
    return verdict == "no worse than", why


def _register(
    registry: Registry, bundle: DetectorBundle, metrics: dict[str, float], champion: bool, why: str, run: TrackedRun
) -> None:
    entry = BundleEntry(
        bundle_id=bundle.bundle_id,
        schema_id=bundle.schema_id,
        location=bundle.bundle_id,
        registered_at=datetime.now(UTC),
        validation=bundle.manifest.training.metrics,
        metrics=metrics,
        run_id=run.run_id,
    )
    registry.register(entry, who=getpass.getuser(), why=why)
    present = registry.champion(bundle.schema_id)
    if champion and (present is None or present.bundle_id != bundle.bundle_id):
        registry.promote(bundle.bundle_id, who=getpass.getuser(), why=why)


def _record(
    settings: Settings,
    params: Params,
    bundle: DetectorBundle,
    evaluation: Path,
    metrics: dict[str, float],
    champion: bool,
    started_ms: int,
) -> RunRecord:
    facts = bundle.manifest.training
    figures = hashlib.sha256(json.dumps(metrics, sort_keys=True).encode()).hexdigest()[:8]
    return RunRecord(
        key=f"{bundle.bundle_id}-{figures}",
        name=f"{bundle.schema_id}-{bundle.bundle_id[:8]}",
        experiment=params.register_.experiment,
        schema_id=bundle.schema_id,
        bundle_id=bundle.bundle_id,
        champion=champion,
        started_ms=started_ms,
        ended_ms=time.time_ns() // 1_000_000,
        params=_named(params.model_dump(mode="json", by_alias=True)),
        metrics=metrics | {"threshold": bundle.threshold},
        tags={
            "mlflow.source.git.commit": head_commit(settings.workspace),
            "netwarden.dvc_lock_sha256": file_hash(settings.workspace / "dvc.lock"),
            "netwarden.requirements_lock_sha256": file_hash(settings.workspace / "requirements.lock"),
        },
        dataset={
            "name": facts.dataset,
            "digest": facts.data_hash[:32],
            "source": f"netwarden store, dataset {facts.dataset}",
            "profile": json.dumps(facts.rows),
        },
        artifacts={"bundle": str(bundle.folder), "evaluation": str(evaluation)},
    )


def _named(sections: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Parameters by path, `train.resample.method`."""
    named: dict[str, str] = {}
    for name, value in sections.items():
        named |= _named(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": str(value)}
    return named


def _back_up(settings: Settings, backup: Backup, bundle: DetectorBundle, evaluation: Path) -> dict[str, str]:
    """Keys under which the manifest of the data, the bundle and the report now lie; each names its content."""
    dataset = bundle.manifest.training.dataset
    manifest = settings.manifests_dir / f"{dataset}.json"
    keys = {
        "bundle": f"bundles/{bundle.bundle_id}",
        "report": f"reports/{bundle.bundle_id}/{hashlib.sha256(digest_folder(evaluation).to_json()).hexdigest()[:16]}",
    }
    backup.put_folder(keys["bundle"], bundle.folder)
    backup.put_folder(keys["report"], evaluation)
    if manifest.exists():
        keys["manifest"] = f"manifests/{dataset}/{file_hash(manifest)[:16]}"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(manifest, folder)
            backup.put_folder(keys["manifest"], Path(folder))
    return {"address": backup.address, **keys}
