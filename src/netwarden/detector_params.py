"""Parameters of each detector kind: one frozen section of params.json per kind, under the kind's name.

Boosted trees are the exception: their section is `xgb_classifier`, and it takes any parameter of XGBoost's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class XgbClassifierParams(BaseModel):
    """XGBoost's own parameters by their own names; unknown ones are passed on to XGBoost."""

    model_config = ConfigDict(frozen=True, extra="allow")
    n_estimators: int = Field(100, ge=1)
    max_depth: int = Field(6, ge=1)
    learning_rate: float = Field(0.3, gt=0)


class RandomForestParams(_Frozen):
    n_estimators: int = Field(100, ge=1, description="Trees")
    max_depth: int | None = Field(None, ge=1, description="Deepest leaf; null: until leaves are pure")
    min_samples_leaf: int = Field(1, ge=1, description="Fewest rows in a leaf")


class DecisionTreeParams(_Frozen):
    max_depth: int | None = Field(12, ge=1, description="Deepest leaf; null: until leaves are pure")
    min_samples_leaf: int = Field(20, ge=1, description="Fewest rows in a leaf")


class IsolationForestParams(_Frozen):
    n_estimators: int = Field(100, ge=1, description="Trees")
    max_samples: int = Field(256, ge=2, description="Benign rows that each tree is grown on")


class LogisticRegressionParams(_Frozen):
    C: float = Field(1.0, gt=0, description="Inverse of the regularisation, as in scikit-learn")
    tol: float = Field(1e-3, gt=0, description="Gradient at which fitting stops")
    max_iter: int = Field(300, ge=1, description="Steps after which it stops in any case")


class StackingParams(_Frozen):
    folds: int = Field(4, ge=2, description="Folds in which rows are held out to weigh both detectors")
    random_forest: RandomForestParams = Field(default_factory=RandomForestParams)
    logistic_regression: LogisticRegressionParams = Field(default_factory=LogisticRegressionParams)


class AutoencoderParams(_Frozen):
    hidden: tuple[int, ...] = Field((64, 16, 64), min_length=1, description="Width of each hidden layer")
    learning_rate: float = Field(1e-3, gt=0)
    batch_rows: int = Field(512, ge=1)
    max_epochs: int = Field(60, ge=1)
    patience: int = Field(5, ge=1, description="Epochs without a better loss on held-out rows before fitting stops")
    masked_share: float = Field(0.1, ge=0, lt=1, description="Share of values hidden from the network while it learns")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a CUDA device where there is one")


class BlendedTreesParams(_Frozen):
    boosters: int = Field(6, ge=1, description="Boosters, each of which sees some of the features")
    feature_share: float = Field(0.5, gt=0, le=1, description="Share of the features that each of them sees")
    n_estimators: int = Field(25, ge=1, description="Trees of each")
    max_depth: int = Field(6, ge=1)
    learning_rate: float = Field(0.3, gt=0)


class HybridParams(_Frozen):
    trees: BlendedTreesParams = Field(default_factory=BlendedTreesParams)
    family: XgbClassifierParams | None = Field(None, description="Of the head of families; null: xgb_classifier")
    variance_kept: float = Field(0.98, gt=0, lt=1, description="Share of benign variance that the components hold")
    novelty_weight: float = Field(1.0, ge=0, description="What surprise of novelty counts beside that of the trees")
    known_share: float = Field(
        0.01, gt=0, lt=1, description="An alert that the trees find rarer than this share of benign rows is known"
    )
