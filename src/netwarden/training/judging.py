"""A dataset judged by a protocol, from the store to results; a look at a test set leaves its line in the repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from netwarden.evaluation.crossing import cross
from netwarden.evaluation.looks import MOST_LOOKS, PAGE, looks_at, record_look
from netwarden.evaluation.protocols import Protocol, protocol_of, without_test_rows
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.sources.stored import read_stored
from netwarden.training.ablation import Resampled, compare_resampling
from netwarden.training.candidate import Candidate
from netwarden.training.experiments import Result, Say, run_protocol
from netwarden.training.lineage import shaping_commit

_LOOK_BUDGET = 0.01  # of the figures that stand in the record of looks


def judge_dataset(
    settings: Settings, protocol: str, candidate: Candidate, seeds: int, say: Say = lambda _: None
) -> list[Result]:
    """Results of a detector and the baselines on its dataset."""
    params, name = candidate.chosen(settings)
    how = candidate.said(settings, seeds)  # before the fits, while which the file may change
    chosen = protocol_of(protocol)
    table, schema = read_stored(settings, name)
    if chosen.looks:
        _tell_of_looks(settings, name, say)
    results = run_protocol(chosen, table, schema, params, range(1, seeds + 1), say=say)
    if chosen.looks:
        _record(settings, name, f"experiments {protocol}", results, "", params, how)
    return results


def judge_at_random(settings: Settings, candidate: Candidate, seeds: int, say: Say = lambda _: None) -> list[Result]:
    """Results of the detector alone on the random split, named so that nobody takes them for an answer."""
    params, name = candidate.chosen(settings)
    table, schema = read_stored(settings, name)
    kind = params.train.detector
    results = run_protocol(protocol_of("random"), table, schema, params, range(1, seeds + 1), (kind,), say)
    return [replace(result, held_out="random split: misleading") for result in results]


def judge_across(
    settings: Settings, candidate: Candidate, judged_by: str, seeds: int, say: Say = lambda _: None
) -> tuple[Protocol, list[Result]]:
    """The protocol, which says what both datasets share, and the results of models fitted on the candidate's."""
    params, name = candidate.chosen(settings)
    how = candidate.said(settings, seeds)
    here, schema = read_stored(settings, name)
    apart = without_test_rows(here, schema, params.transform)
    crossing = cross(name, (apart, schema), judged_by, read_stored(settings, judged_by))
    _tell_of_looks(settings, judged_by, say)
    results = run_protocol(crossing.protocol, crossing.table, crossing.schema, params, range(1, seeds + 1), say=say)
    _record(
        settings,
        judged_by,
        f"experiments {crossing.protocol.name} from {name}",
        results,
        judged_by,
        params,
        how,
    )
    return crossing.protocol, results


def judge_resampling(
    settings: Settings, candidate: Candidate, seeds: int, budget: float, say: Say = lambda _: None
) -> tuple[str, list[Resampled]]:
    """Detector kind, and what each way of resampling is worth to it on the training rows of its dataset."""
    params, name = candidate.chosen(settings)
    at_budget = params.train.model_copy(update={"false_positive_budget": budget, "alerts_per_day": None})
    params = params.model_copy(update={"train": at_budget})
    table, schema = read_stored(settings, name)
    return params.train.detector, compare_resampling(table, schema, params, range(1, seeds + 1), say)


def _tell_of_looks(settings: Settings, dataset: str, say: Say) -> None:
    """How often the test rows were looked at, before it is done once more."""
    looks = looks_at(settings.workspace, dataset)
    say(f"{dataset}: {looks} looks at its test rows with different figures so far, {MOST_LOOKS} at most ({PAGE})")
    if looks >= MOST_LOOKS:
        say(f"{dataset}: unless it repeats one of them, this look is one too many; its table is not to be published")


def _record(
    settings: Settings, dataset: str, what: str, results: Sequence[Result], held_out: str, params: Params, how: str
) -> None:
    kind = params.train.detector
    whole = next(result for result in results if result.held_out == held_out and result.model == kind)
    ending = f"@{_LOOK_BUDGET:g}"
    figures = {name.removesuffix(ending): each.mean for name, each in whole.figures.items() if name.endswith(ending)}
    judged = f"{what}: {kind}, {how}, budget {_LOOK_BUDGET:g}"
    record_look(settings.workspace, datetime.now(UTC), shaping_commit(settings.workspace), dataset, judged, figures)
