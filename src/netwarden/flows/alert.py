"""The alert record: a flow whose score reached the threshold, and what an analyst needs to judge it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["benign", "known_attack", "novel"]
VERDICTS: tuple[Verdict, ...] = ("benign", "known_attack", "novel")
TriageState = Literal["new", "true_positive", "false_positive", "benign_positive", "duplicate"]
TRIAGE_STATES: tuple[TriageState, ...] = ("new", "true_positive", "false_positive", "benign_positive", "duplicate")


class Alert(BaseModel):
    """One alert. Endpoints are None where the flow table has none (NSL-KDD)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert_id: str
    flow_id: str
    bundle_id: str
    schema_id: str
    origin: str = Field("upload", description="upload or api; of streams live, capture or replay")
    sensor: str = ""
    raised_at: datetime = Field(description="When it was scored, UTC")
    started_at: datetime | None = Field(None, description="First packet of the flow, UTC")
    score: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    verdict: Verdict
    family: str | None = None
    source: str | None = None
    source_port: int | None = None
    target: str | None = None
    target_port: int | None = None
    protocol: int | None = None
    interim: bool = Field(False, description="Raised before the flow ended; the final record confirms or withdraws it")
    withdrawn_at: datetime | None = Field(None, description="When the final record came below the threshold, UTC")
    truth: str | None = Field(None, description="Label that came with the flow, as a replay's rows have one")
    state: TriageState = "new"
    suppressed_by: str | None = Field(None, description="Id of the suppression that hides it")
    features: dict[str, Any] = Field(default_factory=dict)
