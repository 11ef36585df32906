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
