"""From training rows to a bundle: fit, calibrate, set the threshold, each on rows of its own and never on test rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from netwarden.detector_params import HybridParams
from netwarden.detectors.base import Detector, FitRows, Scores
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
from netwarden.params import Params
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
    return close_bundle(
        folder, rows, fit_and_calibrate(rows, preprocessor, params), preprocessor, schema, params, facts, meter
    )


def close_bundle(
    folder: Path,
    rows: TrainingRows,
    made: Fitted,
    preprocessor: Preprocessor,
    schema: FlowSchema,
    params: Params,
    facts: TrainingFacts,
    meter: MeterStamp | None = None,
) -> DetectorBundle:
    """Bundle of a detector that is fitted and calibrated; `facts.rows`, where given, says how many rows there were."""
    fit = rows.part(FIT)
    fit_scores = made.calibration.apply(made.detector.score(fit.matrix))
    names, counts = np.unique(rows.parts, return_counts=True)
    validation = judge(rows.part(VALIDATION), made)
    return write_bundle(
        folder,
        schema=schema,
        meter=meter,
        preprocessor=preprocessor,
        detector=made.detector,
        calibration=made.calibration,
        threshold=made.threshold.with_recall(validation.scores[validation.attack]),
        reference=describe_training(fit.matrix, fit.attack, fit_scores, made.quiet_scores, preprocessor),
        training=facts.model_copy(
            update={
                "seed": params.train.seed,
                "params": _shaping(params),
                "rows": facts.rows or {str(name): int(count) for name, count in zip(names, counts, strict=True)},
                "metrics": flat(measure(validation, frozenset(rows.labels.tolist()), made.threshold.budget)),
            }
        ),
    )


@dataclass(frozen=True)
class Fitted:
    """A detector that can judge, and is in no bundle yet. `quiet_scores`: of the benign rows the threshold is from."""

    detector: Detector
    calibration: Calibration
    threshold: Threshold
    quiet_scores: Scores


def fit_and_calibrate(rows: TrainingRows, preprocessor: Preprocessor, params: Params) -> Fitted:
    """Detector fitted on the fit rows, calibrated on the calibration rows, its threshold from the threshold rows."""
    return calibrate(fit_detector(fit_rows(rows.part(FIT), preprocessor), params), rows, params)


def calibrate(detector: Detector, rows: TrainingRows, params: Params) -> Fitted:
    """A fitted detector, calibrated on the calibration rows, its threshold from the threshold rows."""
    calibrating = rows.part(CALIBRATION)
    calibration = fit_calibration(detector.score(calibrating.matrix), calibrating.attack)
    quiet = rows.part(THRESHOLD)
    quiet_scores = calibration.apply(detector.score(quiet.matrix[quiet.attack == 0]))
    return Fitted(detector, calibration, choose_threshold(quiet_scores, budget_in_force(params)), quiet_scores)


def judge(rows: TrainingRows, made: Fitted) -> Outcome:
    """What a fitted detector makes of some rows."""
    scores = made.calibration.apply(made.detector.score(rows.matrix))
    alerts = scores >= made.threshold.value
    predicted = np.full(len(scores), BENIGN, dtype=object)
    predicted[alerts] = name_alerts(made.detector, rows.matrix[alerts])
    return Outcome(rows.labels, rows.families, scores, alerts, predicted.astype(str))


def fit_rows(rows: TrainingRows, preprocessor: Preprocessor) -> FitRows:
    """The same rows as a detector kind wants them."""
    return FitRows.of(rows.matrix, rows.labels, rows.families, preprocessor.categorical)


def fit_detector(rows: FitRows, params: Params) -> Detector:
    """Detector of the kind that the parameters name, fitted on the rows as they are resampled."""
    train = params.train
    kind = detector_kind(train.detector)
    fitted = resample(rows, train.resample, train.seed)
    return kind.fit(fitted, section_of(params), train.seed, train.threads)


def section_of(params: Params) -> BaseModel:
    """Parameters of the kind that `params` name; the hybrid's family head is `xgb_classifier` unless it has its own."""
    section: BaseModel = getattr(params, detector_kind(params.train.detector).section)
    if isinstance(section, HybridParams) and section.family is None:
        return section.model_copy(update={"family": params.xgb_classifier})
    return section


def budget_in_force(params: Params) -> float:
    """Share of benign flows that may alert, also where the parameters say it as alerts a day."""
    alerts = params.train.alerts_per_day
    return params.train.false_positive_budget if alerts is None else budget_of(alerts, params.evaluate.flows_per_day)


def _shaping(params: Params) -> dict[str, object]:
    """The sections of params.json that shape a bundle."""
    section = detector_kind(params.train.detector).section
    sections = {"transform", "train", section, *({"xgb_classifier"} if section == "hybrid" else ())}
    return params.model_dump(mode="json", by_alias=True, include=sections)
