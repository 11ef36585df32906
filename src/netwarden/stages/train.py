"""Stage 4: a detector bundle from the training rows: resampled, fitted, calibrated, with its threshold."""

from __future__ import annotations

import json

from netwarden.detectors.bundle import TrainingFacts
from netwarden.features.preprocessor import load_preprocessor
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import MeterStamp
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.stages.workspace import enter, output_folder
from netwarden.training.fit import fit_bundle
from netwarden.training.lineage import shaping_commit
from netwarden.training.rows import load_training_rows


def run(settings: Settings, params: Params) -> str:
    """Bundle written; its id and what its threshold did on held-out benign rows."""
    transformed = settings.pipeline_dir / "transform"
    schema = FlowSchema.model_validate_json((settings.pipeline_dir / "ingest" / "schema.json").read_bytes())
    stated = json.loads((transformed / "facts.json").read_bytes())
    facts = TrainingFacts(
        dataset=params.ingest.dataset,
        data_hash=stated["data_hash"],
        git_commit=shaping_commit(settings.workspace),
    )
    bundle = fit_bundle(
        output_folder(settings, "train") / "bundle",
        load_training_rows(transformed / "training.npz"),
        load_preprocessor(transformed / "preprocessor.npz"),
        schema,
        params,
        facts,
        MeterStamp(**stated["meter"]) if stated["meter"] else None,
    )
    threshold = bundle.manifest.threshold
    return f"bundle {bundle.bundle_id}: {threshold.realised:.2%} of {threshold.rows} held-out benign rows alert"


if __name__ == "__main__":
    enter("train", run)
