"""What changes a model: params.json, one section per stage and per detector kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from netwarden.detector_params import (
    AutoencoderParams,
    DecisionTreeParams,
    HybridParams,
    IsolationForestParams,
    LogisticRegressionParams,
    RandomForestParams,
    StackingParams,
    XgbClassifierParams,
)
from netwarden.errors import ConfigError
from netwarden.sections import Section, first_fault


class IngestParams(Section):
    dataset: str = Field("lab", description="Dataset name in the store, as ETL wrote it")
    schema_id: str = Field("", description="Schema to read it with; empty: the one its manifest names")


class ValidateParams(Section):
    max_missing_share: float = Field(0.2, ge=0, le=1, description="Largest share of missing values a column may have")
    max_out_of_range_share: float = Field(0.0, ge=0, le=1, description="Largest share of rows outside a column's range")
    min_rows_per_class: int = Field(20, ge=2, description="Fewest rows of benign and of attack a split may have")
    max_feature_auc: float = Field(
        0.9999, gt=0.5, le=1, description="A single feature that tells attacks better than this is taken for a leak"
    )
    warn_feature_auc: float = Field(
        0.98, gt=0.5, le=1, description="ROC AUC from which a single feature is worth a warning"
    )
    max_identifier_auc: float = Field(
        0.9, gt=0.5, le=1, description="ROC AUC from which identifiers that tell attacks are worth a warning"
    )


class TransformParams(Section):
    seed: int = Field(7, ge=0, description="Seed of every split below")
    test_share: float = Field(0.2, gt=0, lt=1, description="Test share where the schema's split policy draws one")
    validation_share: float = Field(0.1, gt=0, lt=0.5, description="Share of training rows kept to compare models")
    calibration_share: float = Field(0.05, gt=0, lt=0.5, description="Share of training rows kept to calibrate scores")
    threshold_share: float = Field(0.1, gt=0, lt=0.5, description="Share of training rows kept to set the threshold")
    features: Literal["", "all", "stable"] = Field(
        "", description="Features to train on; stable: same in every build of the meter; empty: as the schema says"
    )
    leave_out: tuple[str, ...] = Field(
        (), description="Patterns of features not to train on; those that match no feature of the schema do nothing"
    )


class ResampleParams(Section):
    method: Literal["none", "class_weights", "smote", "smotenc"] = Field(
        "smotenc", description="How rare families come to count: as they are, by weight, or grown with synthetic rows"
    )
    target_share: float = Field(
        0.1, gt=0, le=1, description="Families smaller than this share of the largest count or grow up to it"
    )
    neighbours: int = Field(5, ge=1, description="Neighbours that a synthetic row is drawn between")


class TrainParams(Section):
    detector: str = Field("hybrid", description="Detector kind")
    seed: int = Field(7, ge=0, description="Seed of resampling and of the detector")
    threads: int = Field(0, ge=0, description="Threads for fitting; 0: all cores")
    false_positive_budget: float = Field(0.01, gt=0, lt=1, description="Share of benign flows that may alert")
    alerts_per_day: float | None = Field(
        None,
        gt=0,
        description="False alerts a day at evaluate.flows_per_day; set, it is the budget instead of the share",
    )
    resample: ResampleParams = Field(default_factory=ResampleParams)


class EvaluateParams(Section):
    worst_rows: int = Field(50, ge=0, description="How many confidently wrong rows the report lists")
    permutation_rows: int = Field(4000, ge=0, description="Rows that importance is measured on; 0: skip it")
    flows_per_day: int = Field(1_000_000, ge=1, description="Benign flows a day, for false alerts per day")


class RegisterParams(Section):
    experiment: str = Field("netwarden", description="MLflow experiment")
    tolerance: float = Field(0.0, ge=0, description="How much worse on validation a new champion may be")


class Params(Section):
    """Everything in params.json. Unknown sections and keys are refused by name."""

    ingest: IngestParams = Field(default_factory=IngestParams)
    validate_: ValidateParams = Field(default_factory=ValidateParams, alias="validate")
    transform: TransformParams = Field(default_factory=TransformParams)
    train: TrainParams = Field(default_factory=TrainParams)
    hybrid: HybridParams = Field(default_factory=HybridParams)
    xgb_classifier: XgbClassifierParams = Field(default_factory=XgbClassifierParams)
    random_forest: RandomForestParams = Field(default_factory=RandomForestParams)
    decision_tree: DecisionTreeParams = Field(default_factory=DecisionTreeParams)
    logistic_regression: LogisticRegressionParams = Field(default_factory=LogisticRegressionParams)
    stacking: StackingParams = Field(default_factory=StackingParams)
    isolation_forest: IsolationForestParams = Field(default_factory=IsolationForestParams)
    autoencoder: AutoencoderParams = Field(default_factory=AutoencoderParams)
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams)
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")


def load_params(path: Path) -> Params:
    """Parameters of the pipeline from params.json.

    Raises ConfigError that names the file and the key.
    """
    try:
        return Params.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run from the folder that holds dvc.yaml and params.json") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_fault(error)}") from None


def params_json_schema() -> str:
    """JSON schema of params.json, for forms and documentation."""
    return json.dumps(Params.model_json_schema(by_alias=True), indent=2)
