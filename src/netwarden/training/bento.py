"""Bundles in BentoML's model store, as plain folders under `netwarden:<bundle id>`."""

from __future__ import annotations

import os
import shutil

from netwarden.detectors.bundle import DetectorBundle

MODEL = "netwarden"


def store_in_bentoml(bundle: DetectorBundle) -> str:
    """Tag of the bundle in BentoML's store (BENTOML_HOME, else ~/bentoml), where it is put unless it is there."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import bentoml  # noqa: PLC0415 - takes a second
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    tag = f"{MODEL}:{bundle.bundle_id}"
    try:
        return str(bentoml.models.get(tag).tag)
    except NotFound:
        pass
    manifest = bundle.manifest
    versions = manifest.libraries
    with bentoml.models.create(
        tag,
        module="netwarden.scoring.model",
        labels={"schema": bundle.schema_id, "kind": manifest.kind},
        metadata={"bundle_id": bundle.bundle_id, "threshold": bundle.threshold, "features": len(manifest.features)},
        context=bentoml.models.ModelContext(framework_name="netwarden", framework_versions=versions),
    ) as model:
        shutil.copytree(bundle.folder, model.path_of("bundle"))
    return str(model.tag)
