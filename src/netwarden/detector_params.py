"""Parameters of each detector kind: one frozen section of params.json per kind, under the kind's name.

Boosted trees are the exception: their section is `xgb_classifier`, and it takes any parameter of XGBoost's.
"""

from __future__ import annotations

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
