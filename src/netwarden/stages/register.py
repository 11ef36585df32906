"""Stage 6: the bundle is kept, registered, tracked, offered to BentoML and backed up."""

from __future__ import annotations

from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.stages.workspace import enter, output_folder
from netwarden.training.registration import register_bundle


def run(settings: Settings, params: Params) -> str:
    """Receipt of all of it."""
    bundle, evaluation = settings.pipeline_dir / "train" / "bundle", settings.pipeline_dir / "evaluate"
    receipt = register_bundle(settings, params, bundle, evaluation)
    (output_folder(settings, "register") / "receipt.json").write_text(receipt.to_json(), encoding="utf-8")
    return f"{'champion' if receipt.champion else 'challenger'} {receipt.bundle_id}: {receipt.why}"


if __name__ == "__main__":
    enter("register", run)
