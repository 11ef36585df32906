"""From training rows to a bundle: fit, calibrate, set the threshold, each on rows of its own and never on test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netwarden.detectors.base import Detector, FitRows
from netwarden.detectors.bundle import DetectorBundle, TrainingFacts, write_bundle
from netwarden.detectors.kinds import detector_kind
from netwarden.detectors.reference import describe_training
from netwarden.detectors.threshold import Calibration, Threshold, budget_of, choose_threshold, fit_calibration
from netwarden.detectors.verdicts import name_alerts
from netwarden.evaluation.metrics import Outcome, flat, measure
from netwarden.evaluation.split import CALIBRATION, FIT, THRESHOLD, VALIDATION
from netwarden.features.preprocessor import Preprocessor
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import MeterStamp
from netwarden.settings import Params
from netwarden.training.resample import resample
from netwarden.training.rows import TrainingRows


def fit_bundle(
    folder: Path,
    rows: TrainingRows,
    preprocessor: Preprocessor,
    schema: FlowSchema,
    params: Params,
    facts: TrainingFacts,
    meter: MeterStamp | None = None,
) -> DetectorBundle:
    """Bundle written to a new folder; `facts` say where the rows come from, the rest of them is filled in here.

    `meter` made the flows, where one of ours did.
    """
    fit = rows.part(FIT)
    detector = fit_detector(fit_rows(fit, preprocessor), params)
    calibrating = rows.part(CALIBRATION)
    calibration = fit_calibration(detector.score(calibrating.matrix), calibrating.attack)
    quiet = rows.part(THRESHOLD)
    quiet_scores = calibration.apply(detector.score(quiet.matrix[quiet.attack == 0]))
    threshold = choose_threshold(quiet_scores, _budget(params))
    fit_scores = calibration.apply(detector.score(fit.matrix))
    names, counts = np.unique(rows.parts, return_counts=True)
    validation = judge(rows.part(VALIDATION), detector, calibration, threshold)
    return write_bundle(
        folder,
        schema=schema,
        meter=meter,
        preprocessor=preprocessor,
        detector=detector,
        calibration=calibration,
        threshold=threshold,
        reference=describe_training(fit.matrix, fit.attack, fit_scores, quiet_scores, preprocessor),
        training=facts.model_copy(
            update={
                "seed": params.train.seed,
                "params": _shaping(params),
                "rows": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
                "metrics": flat(measure(validation, frozenset(rows.labels.tolist()), threshold.budget)),
            }
        ),
    )


def judge(rows: TrainingRows, detector: Detector, calibration: Calibration, threshold: Threshold) -> Outcome:
    """What a detector that is not in a bundle yet makes of some rows."""
    scores = calibration.apply(detector.score(rows.matrix))
    alerts = scores >= threshold.value
    predicted = np.full(len(scores), BENIGN, dtype=object)
    predicted[alerts] = name_alerts(detector, rows.matrix[alerts])
    return Outcome(rows.labels, rows.families, scores, alerts, predicted.astype(str))


def fit_rows(rows: TrainingRows, preprocessor: Preprocessor) -> FitRows:
    """The same rows as a detector kind wants them."""
    return FitRows.of(rows.matrix, rows.labels, rows.families, preprocessor.categorical)


def fit_detector(rows: FitRows, params: Params) -> Detector:
    """Detector of the kind that the parameters name, fitted on the rows as they are resampled."""
    train = params.train
    kind = detector_kind(train.detector)
    fitted = resample(rows, train.resample, train.seed)
    return kind.fit(fitted, getattr(params, kind.section), train.seed, train.threads)


def _budget(params: Params) -> float:
    alerts = params.train.alerts_per_day
    return params.train.false_positive_budget if alerts is None else budget_of(alerts, params.evaluate.flows_per_day)


def _shaping(params: Params) -> dict[str, object]:
    """The sections of params.json that shape a bundle."""
    section = detector_kind(params.train.detector).section
    return params.model_dump(mode="json", by_alias=True, include={"transform", "train", section})
