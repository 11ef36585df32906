"""Which alerts an address asks for: the filter of /alerts, of its API, and of decisions on all that match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from netwarden.flows.alert import TriageState, Verdict
from netwarden.portal.alerts.known_networks import Direction, KnownNetworks, joined
from netwarden.portal.fields import Blank, Text, unset
from netwarden.sources.filters import SHOWN, Range, Where, Words

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 132: "SCTP"}
_ALERT_ID = re.compile(r"\s*[0-9a-fA-F]{32}\s*")
_YEARS = (1971, 2200)  # of what can be asked for; a timeline around either end still has dates
_NUMBERS = {name.lower(): number for number, name in PROTOCOLS.items()}


def _number_of(value: Any) -> Any:
    return _NUMBERS.get(value.strip().lower(), value) if isinstance(value, str) and value.strip() else unset(value)


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not _YEARS[0] <= value.year < _YEARS[1]:
        raise ValueError(f"name a time from {_YEARS[0]} on and before {_YEARS[1]}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


_Time = Annotated[datetime | None, Blank, AfterValidator(_in_utc)]


_HIDDEN: Where = {"suppressed_by": Range(at_least="0")}  # ids begin with the year


class AlertFilter(BaseModel):
    """A filter, all of which alerts meet."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    text: Annotated[str | None, Blank] = Field(
        None,
        max_length=200,
        description="Words that the alert holds anywhere, all of them; `web*`: that begin so; or its id",
    )
    family: Text = Field(None, description="Of a known attack, such as `dos`")
    verdict: Annotated[Verdict | None, Blank] = None
    score_from: Annotated[float | None, Blank] = Field(None, ge=0, le=1, description="At or above")
    score_to: Annotated[float | None, Blank] = Field(None, ge=0, le=1, description="Below")
    source: Text = Field(None, description="Who began the flow: an address, a network or the name of a machine")
    target: Text = Field(None, description="Who was spoken to, in the same forms")
    direction: Annotated[Direction | None, Blank] = Field(
        None, description="Between our networks (`networks.home` of the settings) and the rest"
    )
    port: Annotated[int | None, Blank] = Field(None, ge=0, le=65_535, description="Of the target")
    protocol: Annotated[int | None, BeforeValidator(_number_of)] = Field(
        None, ge=0, le=255, description="Number, or `tcp`, `udp`, `icmp`, …"
    )
    sensor: Text = None
    since: _Time = Field(None, alias="from", description="Raised at or after; UTC where it names no zone")
    until: _Time = Field(None, alias="to", description="Raised before; UTC where it names no zone")
    state: Annotated[TriageState | None, Blank] = Field(None, description="What was decided")
    suppressed: Annotated[Literal["no", "yes", "all"] | None, Blank] = Field(
        None, description="Those that a suppression hides: `no` (as without it), `yes`: these alone, `all`: these, too"
    )
    suppression: Text = Field(None, description="Those that the suppression of this id hides")

    def where(self, known: KnownNetworks) -> Where:
        """What the stores look for."""
        if self.suppression is not None:
            return {**self.meant(known), "suppressed_by": self.suppression}
        if self.suppressed == "all":
            return self.meant(known)
        return {**self.meant(known), **(_HIDDEN if self.suppressed == "yes" else SHOWN)}

    def meant(self, known: KnownNetworks) -> Where:
        """The filter itself, whether a suppression hides what it finds or not."""
        wanted: dict[str, Any] = {
            "family": self.family,
            "verdict": self.verdict,
            "target_port": self.port,
            "protocol": self.protocol,
            "sensor": self.sensor,
            "state": self.state,
            **_words(self.text),
            "source": None if self.source is None else known.endpoint(self.source),
            "target": None if self.target is None else known.endpoint(self.target),
        }
        found: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
        if self.score_from is not None or self.score_to is not None:
            found["score"] = Range(self.score_from, self.score_to)
        if self.since is not None or self.until is not None:
            found["raised_at"] = Range(self.since, self.until)
        return joined(found, known.ends(self.direction)) if self.direction else found

    def chosen(self) -> dict[str, str]:
        """Field as the address names it → value as text, of those that are set."""
        facts = self.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(AlertFilter.model_fields))
        return {name: str(value) for name, value in facts.items()}

    def address(self, path: str, **changes: str | None) -> str:
        """The address of a path with this filter, but for changes; None drops a field."""
        return _address(path, self.chosen() | changes)


def _words(text: str | None) -> dict[str, Any]:
    """What free text asks for: the one alert of an id, else words."""
    if text is None:
        return {}
    return {"alert_id": text.strip().lower()} if _ALERT_ID.fullmatch(text) else {"text": Words(text)}


class AlertQuery(AlertFilter):
    """A filter, and a page of what it finds."""

    cursor: Text = Field(None, description="Of the page before, which says where this one begins")
    limit: int = Field(50, ge=1, le=1000)
    view: Literal["list", "repeats", "sources"] = Field(
        "list", description="Each alert (pages only); repeats together; or those of a source, whatever their targets"
    )
    sort: Literal["newest", "count"] = Field(
        "newest", description="Of repeats; by source it is always the most alerts first, and these have one page"
    )

    def address(self, path: str, **changes: str | None) -> str:
        """The address of a path with this filter and view, but for changes; None drops a field."""
        view = {} if self.view == "list" else {"view": self.view}
        sort = {} if self.sort == "newest" else {"sort": self.sort}
        facts = self.chosen() | view | sort | changes
        return _address(path, facts if facts.get("view") == "repeats" else facts | {"sort": None})


def _address(path: str, facts: Mapping[str, str | None]) -> str:
    query = urlencode({name: value for name, value in facts.items() if value is not None})
    return f"{path}?{query}" if query else path
