"""A dataset judged by a protocol, from the store to results; a look at a test set leaves its line in the repository."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from netwarden.evaluation.looks import LOOKED_AT, record_look
from netwarden.evaluation.protocols import protocol_of
from netwarden.settings import Settings, load_params
from netwarden.sources.stored import read_stored
from netwarden.training.experiments import Result, Say, run_protocol
from netwarden.training.lineage import shaping_commit

LOOK_BUDGET = 0.01  # of the figures that stand in the record of looks


def judge_dataset(
    settings: Settings, protocol: str, dataset: str, detector: str, seeds: int, say: Say = lambda _: None
) -> list[Result]:
    """Results of a detector and the baselines on a dataset of the store, with the parameters of params.json.

    `dataset` and `detector` are the pipeline's where they are empty.
    """
    params = load_params(settings.workspace / "params.json")
    name, kind = dataset or params.ingest.dataset, detector or params.train.detector
    params = params.model_copy(update={"train": params.train.model_copy(update={"detector": kind})})
    chosen = protocol_of(protocol)
    table, schema = read_stored(settings, name)
    results = run_protocol(chosen, table, schema, params, range(1, seeds + 1), say=say)
    if chosen.looks:
        judged = f"experiments {protocol}: {kind}, {seeds} seeds, budget {LOOK_BUDGET:g}"
        figures, commit = _looked_at(results, kind), shaping_commit(settings.workspace)
        record_look(settings.workspace, datetime.now(UTC), commit, name, judged, figures)
    return results


def _looked_at(results: Sequence[Result], model: str) -> dict[str, float]:
    whole = next(result for result in results if not result.held_out and result.model == model)
    found = {name: whole.figures.get(f"{name}@{LOOK_BUDGET:g}") for name in LOOKED_AT}
    return {name: figure.mean for name, figure in found.items() if figure is not None}
