"""What resampling is worth: the same detector on the same rows, rare families left as they are, weighted or grown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from netwarden.evaluation.metrics import measure
from netwarden.evaluation.split import VALIDATION
from netwarden.features.preprocessor import Preprocessor
from netwarden.settings import Params, ResampleParams
from netwarden.training.fit import fit_and_calibrate, judge
from netwarden.training.rows import TrainingRows

METHODS: tuple[str, ...] = get_args(ResampleParams.model_fields["method"].annotation)


@dataclass(frozen=True)
class Resampled:
    """Figures of one way of resampling over several seeds."""

    method: str
    family_macro_f1: tuple[float, ...]  # one a seed
    family_recall: dict[str, float]  # mean over seeds
    false_positive_rate: float  # mean over seeds
    fit_s: float  # mean over seeds

    @property
    def mean(self) -> float:
        return float(np.mean(self.family_macro_f1))

    @property
    def spread(self) -> float:
        """Largest less smallest over seeds."""
        return max(self.family_macro_f1) - min(self.family_macro_f1)


def compare_resampling(
    rows: TrainingRows,
    preprocessor: Preprocessor,
    params: Params,
    seeds: Sequence[int],
    judged: TrainingRows | None = None,
) -> list[Resampled]:
    """Every method on the detector that `params` name, judged on the validation rows unless other rows are given."""
    on = rows.part(VALIDATION) if judged is None else judged
    return [_over_seeds(rows, preprocessor, params, method, seeds, on) for method in METHODS]


def _over_seeds(
    rows: TrainingRows,
    preprocessor: Preprocessor,
    params: Params,
    method: str,
    seeds: Sequence[int],
    on: TrainingRows,
) -> Resampled:
    seen = frozenset(rows.labels.tolist())
    figures, seconds = [], []
    for seed in seeds:
        started = time.perf_counter()
        made = fit_and_calibrate(rows, preprocessor, _with(params, method, seed))
        seconds.append(time.perf_counter() - started)
        figures.append(measure(judge(on, made), seen, made.threshold.budget))
    families = figures[0]["family_recall"]
    return Resampled(
        method,
        tuple(each["family_macro_f1"] for each in figures),
        {family: float(np.mean([each["family_recall"][family] for each in figures])) for family in families},
        float(np.mean([each["false_positive_rate"] for each in figures])),
        float(np.mean(seconds)),
    )


def _with(params: Params, method: str, seed: int) -> Params:
    resample = params.train.resample.model_copy(update={"method": method})
    return params.model_copy(update={"train": params.train.model_copy(update={"resample": resample, "seed": seed})})
