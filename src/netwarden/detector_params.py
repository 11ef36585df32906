"""Parameters of each detector kind: one frozen section of params.json per kind, under the kind's name.

Boosted trees are the exception: their section is `xgb_classifier`, and it takes any parameter of XGBoost's. A `Range`
or `Choice` beside a parameter is where `netwarden tune` looks for it; without one, tuning leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class Range:
    """Tune between both ends, included; `log`: as likely between 1 and 10 as between 10 and 100."""

    least: float
    most: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Tune among these values."""

    values: tuple[int | float | str | None, ...]


def search_space(section: type[BaseModel], prefix: str = "") -> dict[str, Range | Choice]:
    """Where to look for each parameter of a section, by path: `trees.max_depth`. Empty: there is nothing to tune."""
    space: dict[str, Range | Choice] = {}
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            space |= search_space(field.annotation, f"{prefix}{name}.")
        space |= {f"{prefix}{name}": found for found in field.metadata if isinstance(found, Range | Choice)}
    return space


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class XgbClassifierParams(BaseModel):
    """XGBoost's own parameters by their own names; unknown ones are passed on to XGBoost."""

    model_config = ConfigDict(frozen=True, extra="allow")
    n_estimators: Annotated[int, Range(30, 400, log=True)] = Field(100, ge=1)
    max_depth: Annotated[int, Range(3, 10)] = Field(6, ge=1)
    learning_rate: Annotated[float, Range(0.03, 0.5, log=True)] = Field(0.3, gt=0)


class RandomForestParams(_Frozen):
    n_estimators: Annotated[int, Range(50, 300, log=True)] = Field(100, ge=1, description="Trees")
    max_depth: Annotated[int | None, Choice((None, 8, 12, 18, 26))] = Field(
        None, ge=1, description="Deepest leaf; null: until leaves are pure"
    )
    min_samples_leaf: Annotated[int, Range(1, 50, log=True)] = Field(1, ge=1, description="Fewest rows in a leaf")


class DecisionTreeParams(_Frozen):
    max_depth: Annotated[int | None, Choice((None, 4, 6, 8, 12, 18))] = Field(
        12, ge=1, description="Deepest leaf; null: until leaves are pure"
    )
    min_samples_leaf: Annotated[int, Range(1, 200, log=True)] = Field(20, ge=1, description="Fewest rows in a leaf")


class IsolationForestParams(_Frozen):
    n_estimators: Annotated[int, Range(50, 300, log=True)] = Field(100, ge=1, description="Trees")
    max_samples: Annotated[int, Range(64, 4096, log=True)] = Field(
        256, ge=2, description="Benign rows that each tree is grown on"
    )


class LogisticRegressionParams(_Frozen):
    C: Annotated[float, Range(0.001, 100, log=True)] = Field(
        1.0, gt=0, description="Inverse of the regularisation, as in scikit-learn"
    )
    tol: float = Field(1e-3, gt=0, description="Gradient at which fitting stops")
    max_iter: int = Field(300, ge=1, description="Steps after which it stops in any case")


class StackingParams(_Frozen):
    folds: int = Field(4, ge=2, description="Folds in which rows are held out to weigh both detectors")
    random_forest: RandomForestParams = Field(default_factory=RandomForestParams)
    logistic_regression: LogisticRegressionParams = Field(default_factory=LogisticRegressionParams)


class AutoencoderParams(_Frozen):
    hidden: tuple[int, ...] = Field((64, 16, 64), min_length=1, description="Width of each hidden layer")
    learning_rate: Annotated[float, Range(1e-4, 1e-2, log=True)] = Field(1e-3, gt=0)
    batch_rows: Annotated[int, Range(128, 2048, log=True)] = Field(512, ge=1)
    max_epochs: int = Field(60, ge=1)
    patience: int = Field(5, ge=1, description="Epochs without a better loss on held-out rows before fitting stops")
    masked_share: Annotated[float, Range(0, 0.5)] = Field(
        0.1, ge=0, lt=1, description="Share of values hidden from the network while it learns"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a CUDA device where there is one")


class BlendedTreesParams(_Frozen):
    boosters: Annotated[int, Range(2, 16)] = Field(
        6, ge=1, description="Boosters, each of which sees some of the features"
    )
    feature_share: Annotated[float, Range(0.15, 1)] = Field(
        0.5, gt=0, le=1, description="Share of the features that each of them sees"
    )
    n_estimators: Annotated[int, Range(15, 120, log=True)] = Field(25, ge=1, description="Trees of each")
    max_depth: Annotated[int, Range(3, 9)] = Field(6, ge=1)
    learning_rate: Annotated[float, Range(0.05, 0.5, log=True)] = Field(0.3, gt=0)


class HybridParams(_Frozen):
    trees: BlendedTreesParams = Field(default_factory=BlendedTreesParams)
    family: XgbClassifierParams | None = Field(None, description="Of the head of families; null: xgb_classifier")
    variance_kept: Annotated[float, Range(0.7, 0.995)] = Field(
        0.98, gt=0, lt=1, description="Share of benign variance that the components hold"
    )
    novelty_weight: Annotated[float, Range(0.1, 3, log=True)] = Field(
        1.0, ge=0, description="What surprise of novelty counts beside that of the trees"
    )
    scale_constants: bool = Field(
        False,
        description="Scale numbers that never vary among benign rows as they do among all, rather than ignore them",
    )
    known_share: float = Field(
        0.01, gt=0, lt=1, description="An alert that the trees find rarer than this share of benign rows is known"
    )
