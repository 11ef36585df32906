"""What is scored right now: rates, delays and the flows themselves, as the live page and its API tell them."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from netwarden.flows.alert import Verdict
from netwarden.portal.alerts.query import PROTOCOLS
from netwarden.portal.fields import Blank, Text
from netwarden.portal.watch.scored_flows import Lately, ScoredFlow, Second

SERIES_S = 120  # seconds of the lines
_RATE_S = 10  # seconds that a rate is the mean of
_QUIET_S = 15  # without a flow for so long, nothing flows
_NUMBERS = {name.lower(): number for number, name in PROTOCOLS.items()}
_NOVEL = "novel"
_Key = TypeVar("_Key")
State = Literal["flowing", "quiet", "nothing", "away"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LiveFlow(_Answer):
    """A flow that was just scored."""

    number: int = Field(description="Grows with every flow that is kept to be shown")
    scored_at: datetime
    started_at: datetime | None
    source: str | None
    source_port: int | None
    target: str | None
    target_port: int | None
    protocol: str = Field(description="By name where it has one; empty: the flow has none")
    score: float
    verdict: Verdict
    family: str | None
    label: str | None = Field(description="Truth that came with the flow, as a replay's rows have one")
    interim: bool = Field(description="Still open when it was scored")
    alert_id: str | None = Field(description="Of the alert it raised")
    sensor: str
    origin: str = Field(description="live, capture or replay")


class LiveSensor(_Answer):
    """A sensor whose flows were scored."""

    sensor: str
    origin: str = Field(description="live (an interface), capture or replay")
    schema_id: str
    bundle_id: str = Field(description="What scored its latest flows")
    flows: int
    alerts: int
    last_seen: datetime
    quiet: bool = Field(description="No flow for 15 s")


class Live(_Answer):
    """What is scored now. Rates are per second, means of the last ten seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "at": "2026-11-21T10:15:00Z",
                "state": "flowing",
                "detail": "",
                "flows_per_s": 412.3,
                "alerts_per_s": 1.2,
                "flows": 81230,
                "alerts": 240,
                "labelled": 0,
                "delay_ms": {"p50": 38.0, "p95": 91.0},
                "verdicts": {"benign": 411.1, "known_attack": 0.9, "novel": 0.3},
                "families": {"dos": 0.9},
                "protocols": {"TCP": 300.2, "UDP": 112.1},
                "series": {"flows": [400, 410], "alerts": [1, 2]},
                "sensors": [],
                "rows": [],
                "skipped": 0,
                "cursor": 5120,
            }
        }
    )
    at: datetime
    state: State = Field(description="quiet: no flow for 15 s; nothing: none at all; away: the feed cannot be read")
    detail: str = Field(description="Why the feed cannot be read")
    flows_per_s: float
    alerts_per_s: float
    flows: int = Field(description="Since the portal follows the stream, and what the feed still held then")
    alerts: int
    labelled: int = Field(description="Flows whose truth came along; /api/v1/live/truth judges them")
    delay_ms: dict[str, float] = Field(description="p50 and p95 from sensor to stored alerts, of the last minute")
    verdicts: dict[str, float]
    families: dict[str, float] = Field(description="Of alerts")
    protocols: dict[str, float]
    series: dict[str, list[int]] = Field(description="Flows and alerts in each of the last 120 seconds")
    sensors: list[LiveSensor]
    rows: list[LiveFlow] = Field(description="Those that meet the filter, newest first; of busy seconds a selection")
    skipped: int = Field(description="Rows left out because more came than are shown at a time")
    cursor: int = Field(description="Number of the newest flow looked at")


def _network(value: str | None) -> str | None:
    if value is not None:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(f"{value!r} is no address and no network such as 10.0.0.0/8") from None
    return value


_Network = Annotated[str | None, Blank, AfterValidator(_network)]


class LiveQuery(BaseModel):
    """Which flows to show."""

    model_config = ConfigDict(frozen=True)
    family: Text = Field(None, description="Attack type, such as `dos`; `novel`; `attack`: whatever alerts")
    protocol: Text = Field(None, description="`tcp`, `udp`, … or a number")
    source: _Network = Field(None, description="Address or network of who began the flow")
    target: _Network = Field(None, description="Address or network of who was spoken to")

    def admits(self, flow: ScoredFlow) -> bool:
        """Whether a flow meets all of it."""
        return (
            self._of_family(flow)
            and (self.protocol is None or flow.protocol == _number(self.protocol))
            and _within(flow.source, self.source)
            and _within(flow.target, self.target)
        )

    def _of_family(self, flow: ScoredFlow) -> bool:
        if self.family is None:
            return True
        if self.family == "attack":
            return flow.alert_id is not None
        return flow.verdict == _NOVEL if self.family == _NOVEL else flow.family == self.family


def live(known: Lately, asked: LiveQuery, after: int = 0, limit: int = 100) -> Live:
    """What is scored now, with flows behind a cursor that meet a filter."""
    now = datetime.now(UTC)
    end = int(now.timestamp())
    lately = [known.seconds.get(at, Second()) for at in range(end - _RATE_S, end)]
    series = [known.seconds.get(at, Second()) for at in range(end - SERIES_S, end)]
    newest = known.rows[-1].number if known.rows else 0
    after = after if after <= newest else 0  # a number of the portal before its restart
    wanted = [flow for flow in known.rows if flow.number > after and asked.admits(flow)]
    return Live(
        at=now,
        state=_state(known, now),
        detail=known.fault,
        flows_per_s=sum(second.flows for second in lately) / _RATE_S,
        alerts_per_s=sum(_alerts(second) for second in lately) / _RATE_S,
        flows=known.flows,
        alerts=known.alerts,
        labelled=sum(tally.labelled for tally in known.tallies),
        delay_ms=_delays(known.delays_s),
        verdicts=_rates(second.verdicts for second in lately),
        families=_rates(second.families for second in lately),
        protocols={_name(number): rate for number, rate in _rates(second.protocols for second in lately).items()},
        series={"flows": [second.flows for second in series], "alerts": [_alerts(second) for second in series]},
        sensors=sensors(known, now)[:20],
        rows=[_shown(flow) for flow in reversed(wanted[-limit:])],
        skipped=max(0, len(wanted) - limit),
        cursor=newest,
    )


def sensors(known: Lately, now: datetime) -> list[LiveSensor]:
    """Those whose flows were scored, the latest first."""
    return [LiveSensor(**vars(each), quiet=_is_quiet(each.last_seen, now)) for each in known.watched]


def _is_quiet(last_at: datetime, now: datetime) -> bool:
    return (now - last_at).total_seconds() >= _QUIET_S


def _state(known: Lately, now: datetime) -> State:
    if known.fault:
        return "away"
    if known.last_at is None:
        return "nothing"
    return "quiet" if _is_quiet(known.last_at, now) else "flowing"


def _alerts(second: Second) -> int:
    return second.flows - second.verdicts["benign"]


def _rates(counts: Iterator[Counter[_Key]]) -> dict[_Key, float]:
    total: Counter[_Key] = sum(counts, Counter())
    return {name: count / _RATE_S for name, count in total.most_common()}


def _delays(delays_s: tuple[float, ...]) -> dict[str, float]:
    if not delays_s:
        return {}
    p50, p95 = np.percentile(delays_s, (50, 95)) * 1000
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def _shown(flow: ScoredFlow) -> LiveFlow:
    return LiveFlow(**{**vars(flow), "protocol": "" if flow.protocol is None else _name(flow.protocol)})


def _name(protocol: int) -> str:
    return PROTOCOLS.get(protocol, str(protocol))


def _number(protocol: str) -> int | None:
    text = protocol.strip().lower()
    return int(text) if text.isdecimal() else _NUMBERS.get(text)


def _within(address: str | None, wanted: str | None) -> bool:
    if wanted is None:
        return True
    if address is None:
        return False
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False
