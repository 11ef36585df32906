"""Which alerts an address asks for: the filter of /alerts, of its API, and of decisions on all that match."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from netwarden.flows.alert import TriageState, Verdict
from netwarden.sources.filters import Range, Where

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 132: "SCTP"}
_NUMBERS = {name.lower(): number for number, name in PROTOCOLS.items()}


def _unset(value: Any) -> Any:
    """None for the empty text that a form sends for a field nobody filled."""
    return None if isinstance(value, str) and not value.strip() else value


def _number_of(value: Any) -> Any:
    return _NUMBERS.get(value.strip().lower(), value) if isinstance(value, str) and value.strip() else _unset(value)


def _in_utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


_Text = Annotated[str | None, BeforeValidator(_unset)]
_Time = Annotated[datetime | None, BeforeValidator(_unset), AfterValidator(_in_utc)]


class AlertQuery(BaseModel):
    """A filter, all of which alerts meet, and a page of what it finds."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    family: _Text = Field(None, description="Of a known attack, such as `dos`")
    verdict: Annotated[Verdict | None, BeforeValidator(_unset)] = None
    score_from: Annotated[float | None, BeforeValidator(_unset)] = Field(None, ge=0, le=1)
    source: _Text = Field(None, description="Address of who began the flow")
    target: _Text = Field(None, description="Address of who was spoken to")
    port: Annotated[int | None, BeforeValidator(_unset)] = Field(None, ge=0, le=65_535, description="Of the target")
    protocol: Annotated[int | None, BeforeValidator(_number_of)] = Field(
        None, ge=0, le=255, description="Number, or `tcp`, `udp`, `icmp`, …"
    )
    sensor: _Text = None
    since: _Time = Field(None, alias="from", description="Raised at or after; UTC where it names no zone")
    until: _Time = Field(None, alias="to", description="Raised before; UTC where it names no zone")
    state: Annotated[TriageState | None, BeforeValidator(_unset)] = Field(None, description="What was decided")
    cursor: _Text = Field(None, description="Of the page before, which says where this one begins")
    limit: int = Field(50, ge=1, le=1000)

    def where(self) -> Where:
        """What the stores look for."""
        wanted: dict[str, Any] = {
            "family": self.family,
            "verdict": self.verdict,
            "source": self.source,
            "target": self.target,
            "target_port": self.port,
            "protocol": self.protocol,
            "sensor": self.sensor,
            "state": self.state,
        }
        found: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
        if self.score_from is not None:
            found["score"] = Range(at_least=self.score_from)
        if self.since is not None or self.until is not None:
            found["raised_at"] = Range(self.since, self.until)
        return found

    def chosen(self) -> dict[str, str]:
        """Field as the address names it → value as text, of those that are set."""
        facts = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"cursor", "limit"})
        return {name: str(value) for name, value in facts.items()}

    def address(self, path: str, **changes: str | None) -> str:
        """The address of a path with this filter, but for changes; None drops a field."""
        facts = {name: value for name, value in (self.chosen() | changes).items() if value is not None}
        return f"{path}?{urlencode(facts)}" if facts else path
